"""Errors of a call, and the table from status to error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybersolve_client.answers import Problem

TOO_LONG = "urn:problem-type:cybersolve:too-long-for-model"  # the `type` of such a problem


class CyberSolveError(Exception):
    """A call without an answer. `problem` is the server's problem, if it sent one.

    `outcomes` of a failed `solve_many` or `generate_many` are the results of earlier batches, in
    order. To continue, send the questions or texts from `len(outcomes)` on.
    """

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem
        self.outcomes: tuple[Any, ...] = ()  # Answer or Generation, or Problem

    @property
    def request_id(self) -> str | None:
        """Return the request id, for support requests to the server's operators."""
        return self.problem.request_id if self.problem else None


class InvalidRequest(CyberSolveError):
    """The request cannot be sent, or the server will never accept it; see `problem`."""


class NotUnderstood(InvalidRequest):
    """The question is not an equation that the service understands. `str` marks its span."""

    def __init__(self, problem: Problem, question: str) -> None:
        where = f"{problem.detail}; expected {problem.expected}"
        super().__init__(f"{where}\n{problem.drawing(question)}", problem)
        self.question = question
        self.span = problem.span
        self.expected = problem.expected


class TooLongForModel(InvalidRequest):
    """The model cannot read the question or text: too many tokens, terms or digits.

    With `fallback="exact"` such an equation is solved exactly.
    """


class Unauthorized(CyberSolveError):
    """The server expects an API key, or a different one."""


class DeadlineExceeded(CyberSolveError):
    """The timeout of the call passed before its answer arrived."""


class ServerError(CyberSolveError):
    """The server failed, or its response cannot be read."""


class _Transient(CyberSolveError):
    """An error that is retried. `retry_after_s` is the server's `Retry-After`, if it sent one."""

    def __init__(
        self, message: str, problem: Problem | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, problem)
        self.retry_after_s = retry_after_s


class Overloaded(_Transient):
    """The server is overloaded."""


class Unavailable(_Transient):
    """The server is not ready yet, or is shutting down."""


class ConnectionFailed(CyberSolveError):
    """The connection broke before the answer arrived, or could not be made."""


class CannotConnect(ConnectionFailed, _Transient):
    """No connection could be made, so nothing was sent. `str` is the operating system's reason."""


class ConnectionRefused(CannotConnect):
    """The host responds, but nothing listens on the port."""


class HostNotFound(CannotConnect):
    """The host's name has no address (DNS)."""


class TLSFailed(ConnectionFailed):
    """The TLS handshake failed: a certificate that is not trusted, or a port without TLS."""


TRANSIENT = _Transient
_BY_STATUS: Mapping[int, type[CyberSolveError]] = {
    401: Unauthorized,
    403: Unauthorized,
    408: DeadlineExceeded,
    504: DeadlineExceeded,
}


def error_of(problem: Problem, question: str, retry_after_s: float | None) -> CyberSolveError:
    """Return the error for `problem`; `question` is that of the request, if it had one."""
    status = problem.status
    if status == 422 and problem.span is not None:
        return NotUnderstood(problem, question)
    if problem.type == TOO_LONG:
        return TooLongForModel(problem.detail, problem)
    if status in (429, 503):
        busy = Overloaded if status == 429 else Unavailable
        return busy(problem.detail, problem, retry_after_s)
    kind = _BY_STATUS.get(status, InvalidRequest if 400 <= status < 500 else ServerError)
    return kind(problem.detail, problem)
