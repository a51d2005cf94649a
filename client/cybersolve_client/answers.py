"""Dataclasses for the service's responses. Members that a newer service adds are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Fallback = Literal["none", "exact"]
Verdict = Literal["correct", "wrong", "unverifiable"]
_CONTEXT = 30  # characters shown on either side of a fault


@dataclass(frozen=True)
class Model:
    name: str
    version: str


@dataclass(frozen=True)
class Answer:
    """An answer of the model to one question, with its exact verdict.

    `answer` is None where all variables of a system are asked for, where no value can be right, and
    where the model wrote no readable one. A service of version 1.0 sends no `solution`.
    """

    answer: str | None  # value of the variable asked for
    solution: Mapping[str, str] | None  # value of each variable asked for
    variable: str | None  # the one asked for; None where all variables of a system are
    verdict: Verdict
    reason: str | None  # why the verdict is not `correct`, if it has a reason
    source: Literal["model", "exact"]
    equation: str
    work: tuple[str, ...] | None  # the model's own steps
    confidence: float | None  # calibrated, before verification; None for an exact answer
    tries: int
    model: Model
    timing_ms: Mapping[str, float]  # queue, inference, total
    request_id: str

    @property
    def correct(self) -> bool:
        return self.verdict == "correct"


@dataclass(frozen=True)
class Token:
    """A token of a text, or one that the model could have written."""

    id: int
    text: str
    logprob: float | None  # None for a token of the prefix
    top: tuple[Token, ...] = ()  # the likeliest tokens of its position


@dataclass(frozen=True)
class Piece:
    """A piece of a streamed text, and the tokens whose text ends in it.

    The last piece has the end token too, so that the pieces have all tokens of the text. Its text
    is empty if no other text was left.
    """

    text: str
    token_logprobs: tuple[Token, ...] | None  # with `logprobs`


@dataclass(frozen=True)
class Text:
    """One text that the model generated."""

    text: str
    tokens: int
    finish_reason: str  # `end`, `length` if it was cut off, or `stop` at a stop text
    logprob: float
    score: float | None  # of beams
    token_logprobs: tuple[Token, ...] | None  # with `logprobs`


@dataclass(frozen=True)
class Generation(Text):
    """A complete text, and the others with `num_return_sequences`."""

    alternatives: tuple[Text, ...]
    seed: int | None  # repeats a sampled text
    source_tokens: int
    truncated: bool  # whether the source was cut, with `truncate`
    unknown: tuple[str, ...]  # parts of the source that the vocabulary does not have
    model: Model
    timing_ms: Mapping[str, float]
    request_id: str


@dataclass(frozen=True)
class Info:
    """The served model and the limits of the service."""

    name: str
    version: str
    solves: bool  # whether the model solves equations; others map text to text
    precision: str
    provider: str | None  # None until an engine runs
    kernels: str | None  # level of the CPU kernels, or none; None until an engine runs
    parameters: int
    max_source_tokens: int
    max_new_tokens: int
    max_batch_questions: int
    max_body_bytes: int
    default_timeout_ms: float
    provenance: Mapping[str, Any]
    processes: int = 1  # HTTP processes that share the port; a server before 1.1 has one
    decoding: Mapping[str, Any] = field(default_factory=dict)  # the model's own settings


@dataclass(frozen=True)
class Problem:
    """The reason for which there is no answer (RFC 9457).

    `span` and `expected` are set for a question that was not understood.
    """

    status: int
    title: str
    detail: str
    type: str = "about:blank"
    span: tuple[int, int] | None = None  # characters [start, end) of the question
    expected: str | None = None
    errors: tuple[Mapping[str, Any], ...] = ()  # faults of the body, each with its location
    request_id: str | None = None

    def drawing(self, question: str) -> str:
        """Return `question` around the fault, with carets under it; empty without a span."""
        if self.span is None:
            return ""
        start, end = self.span
        left, right = max(0, start - _CONTEXT), min(len(question), start + _CONTEXT)
        head, tail = "..." if left else "", "..." if right < len(question) else ""
        text = "".join(each if each.isprintable() else "?" for each in question[left:right])
        carets = "^" * max(1, min(end, right) - start)
        return f"  {head}{text}{tail}\n  {' ' * (len(head) + start - left)}{carets}"


def read_answer(body: Mapping[str, Any], request_id: str) -> Answer:
    """Return the answer. Raises `KeyError` or `TypeError` otherwise, as the functions below."""
    work = body["work"]
    return Answer(
        answer=body["answer"],
        solution=None if body.get("solution") is None else dict(body["solution"]),
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
        **_text_fields(body),
        alternatives=tuple(Text(**_text_fields(other)) for other in body["alternatives"]),
        seed=body["seed"],
        source_tokens=body["source_tokens"],
        truncated=body["truncated"],
        unknown=tuple(body["unknown"]),
        model=_read_model(body["model"]),
        timing_ms=dict(body["timing_ms"]),
        request_id=request_id,
    )


def read_piece(body: Mapping[str, Any]) -> Piece:
    return Piece(text=body["text"], token_logprobs=_read_tokens(body))


def _text_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "text": body["text"],
        "tokens": body["tokens"],
        "finish_reason": body["finish_reason"],
        "logprob": body["logprob"],
        "score": body["score"],
        "token_logprobs": _read_tokens(body),
    }


def _read_tokens(body: Mapping[str, Any]) -> tuple[Token, ...] | None:
    tokens = body.get("token_logprobs")
    return None if tokens is None else tuple(map(_read_token, tokens))


def _read_token(body: Mapping[str, Any]) -> Token:
    top = tuple(_read_token(other) for other in body.get("top", ()))
    return Token(id=body["id"], text=body["text"], logprob=body["logprob"], top=top)


def read_info(body: Mapping[str, Any]) -> Info:
    known = {name: body[name] for name in Info.__dataclass_fields__ if name in body}
    return Info(**known)


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
