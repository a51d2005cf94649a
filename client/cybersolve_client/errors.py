"""Errors of a call, and the one that each status maps to."""

from __future__ import annotations

from collections.abc import Mapping

from cybersolve_client.answers import Answer, Problem

TOO_LONG = "urn:problem-type:cybersolve:too-long-for-model"  # the `type` of such a problem


class CyberSolveError(Exception):
    """A call without an answer. `problem` is what the server said, where it said something.

    `outcomes` of a failed `solve_many` are those of the batches before, in order: the call may go
    on with the questions from `len(outcomes)`.
    """

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem
        self.outcomes: tuple[Answer | Problem, ...] = ()

    @property
    def request_id(self) -> str | None:
        """The id to quote to the operators of the server."""
        return self.problem.request_id if self.problem else None


class InvalidRequest(CyberSolveError):
    """The request cannot be sent, or the server will never accept it. `problem` says why."""


class NotUnderstood(InvalidRequest):
    """The question is not an equation that the service reads. `str` draws its span."""

    def __init__(self, problem: Problem, question: str) -> None:
        where = f"{problem.detail}; expected {problem.expected}"
        super().__init__(f"{where}\n{problem.drawing(question)}", problem)
        self.question = question
        self.span = problem.span
        self.expected = problem.expected


class TooLongForModel(InvalidRequest):
    """The model cannot read the question or text: too many tokens, terms or digits.

    An equation is solved all the same with `fallback="exact"`.
    """


class Unauthorized(CyberSolveError):
    """The server expects an API key, or a different one."""


class DeadlineExceeded(CyberSolveError):
    """The timeout of the call passed before its answer arrived."""


class ServerError(CyberSolveError):
    """The server failed, or its response cannot be read."""


class _Transient(CyberSolveError):
    """Retried. `retry_after_s` is the server's `Retry-After`, where it sent one."""

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
    """No connection could be made, so nothing was sent; `str` is the system's reason."""


class ConnectionRefused(CannotConnect):
    """The host is there, but nothing listens on the port."""


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
    """Return the error for `problem`; `question` is the one of the request, if it had one."""
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
