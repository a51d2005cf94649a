"""The text of an engine's hypotheses: cut at stop texts, and token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.contracts import Choice, FinishReason, Hypothesis, Progress
from engine.tokens import TextCodec
from service.contracts import Timings
from service.generating.source import Source

# Bytes of a character whose last token is not generated yet.
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
_CONTEXT = 4  # tokens before another that its text may depend on: the bytes of one character


@dataclass(frozen=True)
class Candidate:
    """A token that the model could have written at a position."""

    id: int
    text: str
    logprob: float


@dataclass(frozen=True)
class WrittenToken:
    """A token of an answer; the texts of all make up the answer's text before it is cut."""

    id: int
    text: str
    logprob: float | None  # None for a token of the prefix
    top: tuple[Candidate, ...]  # the likeliest tokens of this position, best first
    ends: bool = False  # the end token, which is no part of the text


@dataclass(frozen=True)
class WrittenText:
    """One answer to one text."""

    text: str
    ids: tuple[int, ...]  # without the end token
    finish_reason: FinishReason
    logprob: float  # the sum over its tokens, without those of the prefix
    score: float | None  # of beams, which are ranked by it
    mean_logprob: float  # by token, as OpenAI's `best_of` ranks answers
    # The end token last, where the model wrote it; empty unless the request wants details.
    tokens: tuple[WrittenToken, ...] = ()


@dataclass(frozen=True)
class Written:
    """The answers to one text, best first. `seed` repeats them where they were sampled."""

    texts: tuple[WrittenText, ...]
    source: Source
    seed: int | None
    timings: Timings
    total_s: float

    @property
    def best(self) -> WrittenText:
        return self.texts[0]


def written_text(
    codec: TextCodec, hypothesis: Hypothesis, *, forced: int, stops: Sequence[str]
) -> WrittenText:
    """Return `hypothesis`, whose first `forced` tokens are the prefix, as text.

    It is cut before the first of `stops`, which the prefix alone may contain.
    """
    begun = len(codec.decode(hypothesis.tokens[:forced]))
    logprobs = hypothesis.logprobs[forced:]
    return WrittenText(
        text=cut(codec.decode(hypothesis.tokens), stops, begun),
        ids=tuple(hypothesis.tokens),
        finish_reason=hypothesis.finish_reason,
        logprob=sum(logprobs),
        score=hypothesis.score,
        mean_logprob=sum(logprobs) / max(1, len(logprobs)),
    )


def written_tokens(
    codec: TextCodec, before: Sequence[int], progress: Progress, *, forced: int
) -> list[WrittenToken]:
    """Return the tokens of `progress` one by one, which follow those of `before`.

    The first `forced` of all are the prefix.
    """
    ids = [*before, *progress.tokens]
    tops = progress.alternatives or [[]] * len(progress.tokens)
    return [
        WrittenToken(
            ids[at],
            _added(codec, ids[:at], ids[at]),
            logprob if at >= forced else None,
            _candidates(codec, ids[:at], top),
        )
        for at, (logprob, top) in enumerate(
            zip(progress.logprobs, tops, strict=True), start=len(before)
        )
    ]


def token_texts(codec: TextCodec, ids: Sequence[int]) -> list[str]:
    """Return the text that each token adds to that of the tokens before it.

    A token that ends within a character adds nothing; the one that completes it adds it.
    """
    return [_added(codec, ids[:index], id_) for index, id_ in enumerate(ids)]


def cut(text: str, stops: Sequence[str], begun: int = 0) -> str:
    """Return `text` before the first of `stops` that ends after its first `begun` characters."""
    starts = [(stop, max(0, begun - len(stop) + 1)) for stop in stops]
    places = [place for stop, start in starts if (place := text.find(stop, start)) >= 0]
    return text[: min(places)] if places else text


def shown_so_far(text: str, stops: Sequence[str], begun: int = 0) -> str:
    """Return what may be shown of a text that is still being written.

    Held back are an unfinished character, and an ending that may become one of `stops`.
    """
    if text.endswith(_UNFINISHED):
        return ""
    if (whole := cut(text, stops, begun)) != text:
        return whole
    held = max((_overlap(text, stop) for stop in stops), default=0)
    return text[: len(text) - held]


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest beginning of `stop` that ends `text`."""
    most = min(len(text), len(stop) - 1)
    return next((size for size in range(most, 0, -1) if text.endswith(stop[:size])), 0)


def _candidates(
    codec: TextCodec, before: Sequence[int], top: Sequence[Choice]
) -> tuple[Candidate, ...]:
    # A special token adds no text, so it is shown as the vocabulary spells it.
    return tuple(
        Candidate(id_, _added(codec, before, id_) or codec.spelling(id_), logprob)
        for id_, logprob in top
    )


def _added(codec: TextCodec, before: Sequence[int], id_: int) -> str:
    context = list(before[-_CONTEXT:])
    head = codec.decode(context).rstrip(_UNFINISHED)
    return codec.decode([*context, id_]).rstrip(_UNFINISHED)[len(head) :]
