"""W3C trace context, by the rules of https://www.w3.org/TR/trace-context-1/."""

from __future__ import annotations

import pytest

from service.tracing import TraceContext, trace_context

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("given", "sampled"),
    [
        (f"00-{TRACE}-{PARENT}-01", True),
        (f"00-{TRACE}-{PARENT}-00", False),
        (f"00-{TRACE}-{PARENT}-ff", True),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", True),
    ],
)
def test_a_valid_parent_is_continued(given: str, sampled: bool) -> None:
    headers = [(b"host", b"test"), (b"traceparent", given.encode())]
    assert trace_context(headers) == TraceContext(TRACE, PARENT, sampled)


@pytest.mark.parametrize(
    "given",
    [
        "",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"cc-{TRACE}-{PARENT}-01more",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
        f" 00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
    ],
)
def test_an_invalid_parent_is_none(given: str) -> None:
    assert trace_context([(b"traceparent", given.encode())]) is None


def test_two_parents_are_none() -> None:
    header = (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())
    assert trace_context([header, header]) is None
