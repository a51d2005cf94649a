"""Errors that end a request without an answer. `service.api.problems` maps each to a status."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_PARTS = 3  # of a text, named in an error


class ServiceError(Exception):
    """A request ends without an answer. `str(error)` is for the client and has no internals."""


class Overloaded(ServiceError):
    """The queue is full, or too long for the deadline; the request was rejected before any work."""

    def __init__(self, retry_after_s: float, detail: str = "the queue is full") -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class NotReady(ServiceError):
    """The model is not warm yet, or no engine is up."""

    def __init__(self) -> None:
        super().__init__("the model is not ready")


class ShuttingDown(ServiceError):
    """The service drains and accepts no new requests."""

    def __init__(self) -> None:
        super().__init__("the service is shutting down")


class DeadlineExceeded(ServiceError):
    """The deadline passed before the answer."""

    def __init__(self) -> None:
        super().__init__("the deadline passed before the answer was there")


class EngineFailed(ServiceError):
    """The engine raised, crashed or hung while it worked on this request's batch."""

    def __init__(self) -> None:
        super().__init__("the engine failed")


class EngineFull(ServiceError):
    """The engine's device had no memory for this request's batch; a smaller batch follows."""

    def __init__(self) -> None:
        super().__init__("the engine's memory is full")


class EngineNotStarted(Exception):
    """An engine did not start this time; says why, in one line for the log."""


class ClientDisconnected(ServiceError):
    """The client disconnected before its answer; nobody reads this."""

    def __init__(self) -> None:
        super().__init__("the client disconnected")


class LimitExceeded(ServiceError):
    """The request exceeds a limit of the model or the service."""


class QuestionTooLong(LimitExceeded):
    """The question has more tokens than the model reads, or does not fit its prompt format."""


class InvalidSetting(ServiceError):
    """A setting of the decoding is out of range, or has no effect with the others."""


class UnknownText(LimitExceeded):
    """The text has parts that the vocabulary of a model that solves does not have."""

    def __init__(self, model: str, parts: Sequence[str]) -> None:
        shown = ", ".join(f"{part!r:.20}" for part in parts[:_MOST_PARTS])
        more = ", ..." if len(parts) > _MOST_PARTS else ""
        super().__init__(
            f"{model} reads prompts of its own, which have no {shown}{more}; /solve takes questions"
        )


class EngineRefused(Exception):
    """An engine cannot start with these settings; says why, in one line for the operator."""
