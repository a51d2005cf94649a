"""The text of an engine's hypotheses: cut at stop texts, and token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.contracts import FinishReason, Hypothesis, Progress
from engine.tokens import TextCodec
from service.contracts import Timings
from service.generating.shown import UNFINISHED, cut
from service.generating.source import Source

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

    The first `forced` of all are the prefix. A token that ends within a character adds no text; the
    one that completes the character adds it.
    """
    ids = [*before, *progress.tokens]
    tops = progress.alternatives or [[]] * len(progress.tokens)
    found = []
    for at, (logprob, top) in enumerate(
        zip(progress.logprobs, tops, strict=True), start=len(before)
    ):
        added = _adding(codec, ids[max(0, at - _CONTEXT) : at])
        # A special token adds no text, so it is shown as the vocabulary spells it.
        candidates = [Candidate(id_, added(id_) or codec.spelling(id_), of) for id_, of in top]
        known = logprob if at >= forced else None
        found.append(WrittenToken(ids[at], added(ids[at]), known, tuple(candidates)))
    return found


def _adding(codec: TextCodec, context: Sequence[int]) -> Callable[[int], str]:
    """Return a function from a token to the text that it adds to the tokens before, `context`."""
    begun = len(codec.decode(context).rstrip(UNFINISHED))
    return lambda id_: codec.decode([*context, id_]).rstrip(UNFINISHED)[begun:]
