"""What the service says, as values. Members that a newer service adds are left aside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Fallback = Literal["none", "exact"]
Verdict = Literal["correct", "wrong", "unverifiable"]
_CONTEXT = 30  # characters drawn on either side of a fault


@dataclass(frozen=True)
class Model:
    name: str
    version: str


@dataclass(frozen=True)
class Answer:
    """One question, answered by the model and judged exactly."""

    answer: str | None  # None where the model wrote no readable answer
    variable: str
    verdict: Verdict
    reason: str | None  # why that verdict, where it does not explain itself
    source: Literal["model", "exact"]
    equation: str
    work: tuple[str, ...] | None  # the model's own steps
    confidence: float | None  # how sure the model was before its answer was verified
    tries: int
    model: Model
    timing_ms: Mapping[str, float]  # queue, inference, total
    request_id: str

    @property
    def correct(self) -> bool:
        return self.verdict == "correct"


@dataclass(frozen=True)
class Generation:
    """A whole text that the model wrote."""

    text: str
    tokens: int
    finish_reason: str  # end, or length where it was cut off
    model: Model
    timing_ms: Mapping[str, float]
    request_id: str


@dataclass(frozen=True)
class Info:
    """The model served, and the limits in force."""

    name: str
    version: str
    solves: bool  # equations, rather than any other task of text to text
    precision: str
    provider: str | None  # None until an engine runs
    parameters: int
    max_source_tokens: int
    max_new_tokens: int
    max_batch_questions: int
    max_body_bytes: int
    default_timeout_ms: float
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """Why there is no answer (RFC 9457). `span` and `expected`: a question was not understood."""

    status: int
    title: str
    detail: str
    type: str = "about:blank"
    span: tuple[int, int] | None = None  # characters [start, end) of the question
    expected: str | None = None
    errors: tuple[Mapping[str, Any], ...] = ()  # faults of a body, by place
    request_id: str | None = None

    def drawing(self, question: str) -> str:
        """The neighbourhood of the fault in `question`, and carets under it; empty without one."""
        if self.span is None:
            return ""
        start, end = self.span
        left, right = max(0, start - _CONTEXT), min(len(question), start + _CONTEXT)
        head, tail = "..." if left else "", "..." if right < len(question) else ""
        text = "".join(each if each.isprintable() else "?" for each in question[left:right])
        carets = "^" * max(1, min(end, right) - start)
        return f"  {head}{text}{tail}\n  {' ' * (len(head) + start - left)}{carets}"


def read_answer(body: Mapping[str, Any], request_id: str) -> Answer:
    """Raises `KeyError` or `TypeError` for what is no answer, as the functions below."""
    work = body["work"]
    return Answer(
        answer=body["answer"],
        variable=body["variable"],
        verdict=body["verdict"],
        reason=body["reason"],
        source=body["source"],
        equation=body["equation"],
        work=None if work is None else tuple(work),
        confidence=body["confidence"],
        tries=body["tries"],
        model=_read_model(body["model"]),
        timing_ms=dict(body["timing_ms"]),
        request_id=request_id,
    )


def read_generation(body: Mapping[str, Any], request_id: str) -> Generation:
    return Generation(
        text=body["text"],
        tokens=body["tokens"],
        finish_reason=body["finish_reason"],
        model=_read_model(body["model"]),
        timing_ms=dict(body["timing_ms"]),
        request_id=request_id,
    )


def read_info(body: Mapping[str, Any]) -> Info:
    return Info(**{name: body[name] for name in Info.__dataclass_fields__})


def read_problem(body: Mapping[str, Any], request_id: str) -> Problem:
    span = body.get("span")
    return Problem(
        status=int(body["status"]),
        title=body["title"],
        detail=body["detail"],
        type=body.get("type", "about:blank"),
        span=None if span is None else (int(span[0]), int(span[1])),
        expected=body.get("expected"),
        errors=tuple(body.get("errors") or ()),
        request_id=body.get("request_id", request_id),
    )


def _read_model(body: Mapping[str, Any]) -> Model:
    return Model(name=body["name"], version=body["version"])
