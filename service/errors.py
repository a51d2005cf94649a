"""Why an accepted or refused request has no answer. `service.api.problems` gives each a status."""

from __future__ import annotations


class ServiceError(Exception):
    """A request that ends without an answer. `str(error)` is for the caller: no internals."""


class Overloaded(ServiceError):
    """The queue is full, or too long for the deadline; nothing was done for this request."""

    def __init__(self, retry_after_s: float, detail: str = "the queue is full") -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class NotReady(ServiceError):
    """The model is not warm yet, or the worker is dead."""

    def __init__(self) -> None:
        super().__init__("the model is not ready")


class ShuttingDown(ServiceError):
    """The service drains and takes no new requests."""

    def __init__(self) -> None:
        super().__init__("the service is shutting down")


class DeadlineExceeded(ServiceError):
    """The deadline passed before the answer was there."""

    def __init__(self) -> None:
        super().__init__("the deadline passed before the answer was there")


class EngineFailed(ServiceError):
    """The engine raised, crashed or hung while it worked on this request's batch."""

    def __init__(self) -> None:
        super().__init__("the engine failed")


class EngineNotStarted(Exception):
    """An engine that did not start this time; says why, in one line for the log."""


class CallerGone(ServiceError):
    """The caller disconnected before the answer was there; nobody reads this."""

    def __init__(self) -> None:
        super().__init__("the caller has gone")


class LimitExceeded(ServiceError):
    """More than the model or the service takes, whatever the text says."""


class QuestionTooLong(LimitExceeded):
    """More tokens than the model reads, or terms and digits beyond its prompt format."""


class EngineRefused(Exception):
    """An engine that cannot be had with these settings; says why, in one line for the operator."""
