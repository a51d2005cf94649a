"""Bodies of requests to `/generate`, and of its responses."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, StrictBool, model_validator

from engine.contracts import FinishReason
from service.api.generation import GenerationSettings
from service.api.schemas import BatchProblem, ModelName, Strict, TimeoutMs, TimingMs, is_none
from service.generating.unfinished import Piece
from service.generating.written import Written, WrittenText, WrittenToken


class GenerateRequest(Strict, GenerationSettings):
    text: str | None = Field(
        None,
        min_length=1,
        description="What the model reads, as it is.",
        examples=["translate English to German: The house is small."],
    )
    texts: Annotated[list[str], Field(min_length=1, fail_fast=True)] | None = Field(
        None, description="Several texts instead, answered in order."
    )
    stream: StrictBool | None = Field(
        None,
        description="Server-sent events, as the text is written. For one text; beams, and several "
        "answers, are sent whole at the end.",
    )
    timeout_ms: TimeoutMs = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise ValueError("expected either text or texts")
        if self.stream and self.texts is not None:
            raise ValueError("stream is for one text; expected text, not texts")
        return self

    @property
    def sources(self) -> list[str]:
        """The texts to read: `texts`, or `text` alone."""
        return [self.text or ""] if self.texts is None else self.texts


class TokenCandidate(BaseModel):
    """A token that the model could have written."""

    id: int
    text: str
    logprob: float


class Token(BaseModel):
    """A token of an answer; the last is the end token, where the model wrote it."""

    id: int
    text: str
    logprob: float | None = Field(description="Null for a token of the prefix.")
    top: list[TokenCandidate] = Field(description="The likeliest tokens here, as many as asked.")

    @classmethod
    def of(cls, token: WrittenToken) -> Token:
        top = [
            TokenCandidate(id=one.id, text=one.text, logprob=_rounded(one.logprob))
            for one in token.top
        ]
        logprob = None if token.logprob is None else _rounded(token.logprob)
        return cls(id=token.id, text=token.text, logprob=logprob, top=top)


class GeneratedText(BaseModel):
    """One answer to a text."""

    text: str
    tokens: int = Field(description="Tokens of the answer, without the end token.")
    finish_reason: FinishReason = Field(
        description="end: the model came to an end; length: it was stopped at the most tokens; "
        "stop: at one of the stop texts."
    )
    logprob: float = Field(description="The log-probability of the answer, its end included.")
    score: float | None = Field(description="Of beams, which are ranked by it; null otherwise.")
    token_logprobs: list[Token] | None = Field(
        None, exclude_if=is_none, description="With `logprobs`: the tokens one by one."
    )


class GenerateResponse(GeneratedText):
    alternatives: list[GeneratedText] = Field(
        description="The other answers, with `num_return_sequences`; of beams, the best first."
    )
    seed: int | None = Field(description="It repeats the answer, where it was sampled.")
    source_tokens: int = Field(description="Tokens that the model read, its end token included.")
    truncated: bool = Field(description="Whether the text was cut, with `truncate`.")
    unknown: list[str] = Field(
        description="Parts of the text that the model's vocabulary does not have: the model read "
        "an unknown token for each."
    )
    model: ModelName
    timing_ms: TimingMs

    @classmethod
    def of(cls, written: Written, model: ModelName, *, with_tokens: bool) -> GenerateResponse:
        best, *others = [_fields(text, with_tokens=with_tokens) for text in written.texts]
        return cls(
            **best,
            alternatives=[GeneratedText(**other) for other in others],
            seed=written.seed,
            source_tokens=len(written.source.tokens),
            truncated=written.source.truncated,
            unknown=list(written.source.unknown),
            model=model,
            timing_ms=TimingMs.of(written.timings, written.total_s),
        )


class GenerateAnswer(GenerateResponse):
    """The answer to one of several texts."""

    kind: Literal["answer"]

    @classmethod
    def in_place(cls, answer: GenerateResponse) -> GenerateAnswer:
        return cls.model_construct(kind="answer", **dict(answer))


GenerateResult = Annotated[GenerateAnswer | BatchProblem, Field(discriminator="kind")]


class GenerateResults(BaseModel):
    """The answers to `texts`."""

    results: list[GenerateResult] = Field(
        description="In the order of the texts: an answer or a problem each, told by `kind`."
    )


class TextPiece(BaseModel):
    """A piece of a text that is still being generated."""

    text: str
    token_logprobs: list[Token] | None = Field(
        None,
        exclude_if=is_none,
        description="With `logprobs`: the tokens whose text ends in this piece.",
    )

    @classmethod
    def of(cls, piece: Piece, *, with_tokens: bool) -> TextPiece:
        tokens = [Token.of(token) for token in piece.tokens]
        return cls(text=piece.text, token_logprobs=tokens if with_tokens else None)


def _fields(written: WrittenText, *, with_tokens: bool) -> dict[str, Any]:
    """Return the values of a `GeneratedText`."""
    return {
        "text": written.text,
        "tokens": len(written.ids),
        "finish_reason": written.finish_reason,
        "logprob": _rounded(written.logprob),
        "score": None if written.score is None else _rounded(written.score),
        "token_logprobs": [Token.of(token) for token in written.tokens] if with_tokens else None,
    }


def _rounded(logprob: float) -> float:
    return round(logprob, 6)  # what fp32 can tell apart
