"""Read a streamed generation: server-sent events (html.spec.whatwg.org), one JSON object each.

Lines end in LF or CRLF. httpx would also split at characters that a JSON text may contain.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from cybersolve_client.answers import Generation, Piece, read_generation, read_piece, read_problem
from cybersolve_client.clock import Deadline
from cybersolve_client.errors import ConnectionFailed, DeadlineExceeded, ServerError, error_of


class Events:
    """A parser of events that is fed bytes as they arrive."""

    def __init__(self, request_id: str, deadline: Deadline) -> None:
        self.generation: Generation | None = None
        self._request_id = request_id
        self._deadline = deadline
        self._rest = b""
        self._kind = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Piece]:
        """Return the pieces of text that `chunk` completes.

        Raises the error that ended the stream, and `DeadlineExceeded`.
        """
        if self._deadline.left_s == 0.0:
            raise DeadlineExceeded("the time of the call was over before the text was")
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            piece = self._line(line.removesuffix(b"\r").decode())
            if piece is not None:
                yield piece

    def finish(self) -> None:
        """Raise `ConnectionFailed` if the stream ended before the text did."""
        if self.generation is None:
            raise ConnectionFailed("the stream ended before the text did")

    def _line(self, line: str) -> Piece | None:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                self._kind = value
            elif name == "data":
                self._data.append(value)
            return None
        kind, data = self._kind, "\n".join(self._data)
        self._kind, self._data = "", []
        return self._event(kind, data) if data else None

    def _event(self, kind: str, data: str) -> Piece | None:
        try:
            body = json.loads(data)
            if kind in ("", "message"):
                return read_piece(body)
            if kind == "done":
                self.generation = read_generation(body, self._request_id)
            problem = read_problem(body, self._request_id) if kind == "error" else None
        except (ValueError, KeyError, TypeError) as error:
            raise ServerError(f"an event that cannot be read: {data[:100]}") from error
        if problem is not None:
            raise error_of(problem, "", None)
        return None
