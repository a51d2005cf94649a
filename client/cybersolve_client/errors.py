"""Why a call has no answer, and which error each status is."""

from __future__ import annotations

from collections.abc import Mapping

from cybersolve_client.answers import Problem


class CyberSolveError(Exception):
    """A call without an answer. `problem` is what the server said, where it said something."""

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem

    @property
    def request_id(self) -> str | None:
        """What to quote to those who run the server."""
        return self.problem.request_id if self.problem else None


class InvalidRequest(CyberSolveError):
    """The server does not take this request, and will not another time. `problem` says why."""


class NotUnderstood(InvalidRequest):
    """The question is not an equation that the service reads. `str` draws where it is at fault."""

    def __init__(self, problem: Problem, question: str) -> None:
        where = f"{problem.detail}; expected {problem.expected}"
        super().__init__(f"{where}\n{problem.drawing(question)}", problem)
        self.question = question
        self.span = problem.span
        self.expected = problem.expected


class Unauthorized(CyberSolveError):
    """The server wants an API key, or another one."""


class DeadlineExceeded(CyberSolveError):
    """The time of the call was over before its answer was there."""


class ServerError(CyberSolveError):
    """The server failed, or said what this client cannot read."""


class _Transient(CyberSolveError):
    """Worth asking again. `retry_after_s`: not before that, where the server said so."""

    def __init__(
        self, message: str, problem: Problem | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, problem)
        self.retry_after_s = retry_after_s


class Overloaded(_Transient):
    """The server has too much to do."""


class Unavailable(_Transient):
    """The server is not ready yet, or shuts down."""


class ConnectionFailed(CyberSolveError):
    """The connection broke before the answer was there."""


class ConnectionRefused(ConnectionFailed, _Transient):
    """Nothing listens there, or cannot be reached."""


TRANSIENT = _Transient
_BY_STATUS: Mapping[int, type[CyberSolveError]] = {
    401: Unauthorized,
    403: Unauthorized,
    408: DeadlineExceeded,
    504: DeadlineExceeded,
}


def error_of(problem: Problem, question: str, retry_after_s: float | None) -> CyberSolveError:
    """The error that `problem` is; `question` is what was asked, if it was one question."""
    status = problem.status
    if status == 422 and problem.span is not None:
        return NotUnderstood(problem, question)
    if status in (429, 503):
        busy = Overloaded if status == 429 else Unavailable
        return busy(problem.detail, problem, retry_after_s)
    kind = _BY_STATUS.get(status, InvalidRequest if 400 <= status < 500 else ServerError)
    return kind(problem.detail, problem)
