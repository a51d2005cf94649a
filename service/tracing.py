"""W3C trace context: the trace that a request belongs to, as its caller says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_TRACEPARENT = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})"
    rb"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)


@dataclass(frozen=True)
class TraceContext:
    """The caller's place in its trace. Ids are lower-case hex, 32 and 16 digits."""

    trace_id: str
    parent_id: str
    sampled: bool


def trace_context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """What `traceparent` says, or `None` where there is none, or not one, or it is not valid.

    https://www.w3.org/TR/trace-context-1/#traceparent-header: an invalid one is as none; a version
    from the future may have more behind what this one knows.
    """
    given = [value for name, value in headers if name == b"traceparent"]
    if len(given) != 1 or (match := _TRACEPARENT.fullmatch(given[0])) is None:
        return None
    version, trace, parent = match["version"], match["trace"], match["parent"]
    if version == b"ff" or (version == b"00" and match["more"]):
        return None
    if not trace.strip(b"0") or not parent.strip(b"0"):
        return None
    sampled = bool(int(match["flags"], 16) & 1)
    return TraceContext(trace.decode(), parent.decode(), sampled)
