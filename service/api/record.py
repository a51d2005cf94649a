"""The record of one request, for its log line and its trace.

The outermost middleware creates it in the scope's state, and routes add to it. No client sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.types import Scope

from service.contracts import Timings

UNMATCHED = "unmatched"  # one label for all unknown paths, or clients could add series
_MOST_CHARACTERS = 200  # of a path in the log


@dataclass
class RequestRecord:
    """The record of one request. `key` is the name of its API key, never the key itself."""

    request_id: str
    method: str
    path: str  # as it was sent, without the query
    client: str | None
    trace_id: str | None
    key: str | None = None
    questions: Sequence[str] = ()
    timings: Timings | None = None
    route: str = UNMATCHED
    status: int = 500  # if the request ends without a response
    sent_bytes: int = 0
    duration_s: float = 0.0

    @classmethod
    def of(cls, scope: Scope, request_id: str, trace_id: str | None) -> RequestRecord:
        """Create the record of `scope` and keep it in its state."""
        path = (scope.get("raw_path") or scope["path"].encode())[:_MOST_CHARACTERS]
        shown = path.decode("ascii", "backslashreplace")
        client = scope.get("client")
        record = cls(request_id, scope["method"], shown, client and client[0], trace_id)
        state = scope.setdefault("state", {})
        state["record"], state["request_id"] = record, request_id
        return record

    def fields(self, *, with_questions: bool) -> dict[str, Any]:
        """Return the fields of the log line that have values, in a fixed order."""
        fields: dict[str, Any] = {
            "request_id": self.request_id,
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "duration_ms": _ms(self.duration_s),
            "bytes": self.sent_bytes,
        }
        if self.timings is not None:
            fields["queue_ms"] = _ms(self.timings.queue_s)
            fields["inference_ms"] = _ms(self.timings.inference_s)
        for name in ("client", "key", "trace_id"):
            if (value := getattr(self, name)) is not None:
                fields[name] = value
        if with_questions and self.questions:
            fields["questions"] = self.questions
        return fields


def record_of(request: Request) -> RequestRecord:
    record: RequestRecord = request.state.record
    return record


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)
