"""The types that callers and implementations of an engine share. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

Tokens = Sequence[int]
Choice = tuple[int, float]  # a token and its log-probability

MOST_LOGPROBS = 5  # of `Decoding.top_logprobs`
MOST_BEAMS = 16
# Together they keep every score within fp32, and lengths to the power of a penalty within a double:
# an overflow would be the end of all rows of a batch.
_TEMPERATURES = (1e-20, 1e20)
_REPETITION_PENALTIES = (1e-3, 1e3)
_LENGTH_PENALTIES = (-20, 20)
_MOST_BIAS = 1e6
_SHOWN = 40  # characters of a value in an error


@dataclass(frozen=True)
class Decoding:
    """The settings of one prompt's decoding, named and meant as in transformers' GenerationConfig.

    Greedy unless `do_sample`, or `num_beams` above 1. What is generated does not include the
    prompt's forced tokens, which repetitions count in.

    Raises `ValueError` that names the field and what was expected.
    """

    max_new_tokens: int | None = None  # None: the bundle's limit, which nothing exceeds
    min_new_tokens: int = 0
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0  # 0: all tokens
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None  # of sampling; None is drawn by the service
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    num_return_sequences: int = 1
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    bad_words: tuple[tuple[int, ...], ...] = ()
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop: tuple[str, ...] = ()  # texts at which the answer is cut
    top_logprobs: int = 0  # the likeliest tokens that are reported at each position

    def __post_init__(self) -> None:
        most = self.max_new_tokens
        if most is not None:
            _require("max_new_tokens", most, most >= 1, "1 or more")
        self._require_ranges()
        self._require_lists()
        _require(
            "num_beams", self.num_beams, 1 <= self.num_beams <= MOST_BEAMS, f"1 to {MOST_BEAMS}"
        )
        if self.do_sample:
            _require("num_beams", self.num_beams, self.num_beams == 1, "1 with do_sample")
        given, most = self.num_return_sequences, self.most_answers
        expected = f"1 to {most}" if most > 1 else "1 without do_sample or more num_beams"
        _require("num_return_sequences", given, 1 <= given <= most, expected)

    def _require_ranges(self) -> None:
        def at_least(name: str, least: int) -> None:
            value = getattr(self, name)
            _require(name, value, value >= least, f"{least} or more")

        def within(name: str, least: float, most: float) -> None:
            value = getattr(self, name)
            _require(name, value, least <= value <= most, f"{least:g} to {most:g}")

        at_least("min_new_tokens", 0)
        at_least("top_k", 0)
        at_least("no_repeat_ngram_size", 0)
        within("temperature", *_TEMPERATURES)
        within("top_p", 0, 1)
        within("min_p", 0, 1)
        within("repetition_penalty", *_REPETITION_PENALTIES)
        within("length_penalty", *_LENGTH_PENALTIES)
        early = self.early_stopping
        _require("early_stopping", early, early in (True, False, "never"), 'true, false or "never"')
        if self.seed is not None:
            _require("seed", self.seed, 0 <= self.seed < 1 << 64, "0 to 2^64 - 1")
        within("top_logprobs", 0, MOST_LOGPROBS)

    def _require_lists(self) -> None:
        for words in self.bad_words:
            _require("bad_words", words, bool(words) and min(words) >= 0, "token ids of each")
        for token, bias in self.logit_bias:
            fits = token >= 0 and abs(bias) <= _MOST_BIAS
            expected = f"token ids and numbers within {_MOST_BIAS:g}"
            _require("logit_bias", (token, bias), fits, expected)
        for text in self.stop:
            _require("stop", text, bool(text), "texts of a character or more")

    @property
    def most_answers(self) -> int:
        """The most that `num_return_sequences` may be."""
        # More answers than beams would be equal ones.
        return MOST_BEAMS if self.do_sample else self.num_beams

    @property
    def rows(self) -> int:
        """The number of an engine's rows that it takes."""
        return self.num_return_sequences if self.do_sample else self.num_beams

    @cached_property
    def plain(self) -> bool:
        """True for the greedy answer of the model as it is, up to `max_new_tokens`."""
        most = self.max_new_tokens
        return self == (GREEDY if most is None else Decoding(max_new_tokens=most))


def _require(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r:.{_SHOWN}}; expected {expected}")


GREEDY = Decoding()


@dataclass(frozen=True)
class Prompt:
    """The source of one answer, with its end token, and the tokens that the answer must begin with.

    Equal prompts have equal answers, but for sampling without a seed.
    """

    source: tuple[int, ...]
    forced: tuple[int, ...] = ()
    decoding: Decoding = GREEDY

    def __hash__(self) -> int:
        """Leave out the settings, which are many and mostly the same: each look-up hashes anew."""
        return hash((self.source, self.forced))

    def __reduce__(self) -> tuple[type[Prompt], tuple[Any, ...]]:
        """Leave out default settings, which each message to an engine would repeat."""
        parts = (self.source, self.forced, self.decoding)
        return Prompt, parts[:2] if self.decoding is GREEDY else parts

    @property
    def rows(self) -> int:
        """The number of an engine's rows that it takes."""
        return self.decoding.rows


class FinishReason(StrEnum):
    END = "end"  # the model wrote its end token
    LENGTH = "length"  # the limit of tokens was reached
    STOP = "stop"  # the text has one of the texts to stop at


@dataclass(frozen=True)
class Hypothesis:
    """One answer that an engine decoded for a prompt.

    `logprobs`, `runners_up` and `runner_up_logprobs` have an entry for each token, and one more for
    the end token where the answer ended by itself. Log-probabilities are natural and the model's
    own, whatever settings changed the choice; that of a forced token is NaN where it was not among
    the two likeliest.
    """

    tokens: list[int]  # without the end token
    logprobs: list[float]
    runners_up: list[int]  # the likeliest other token at each position
    runner_up_logprobs: list[float]
    # The `top_logprobs` likeliest tokens at each position, the likeliest first; empty without.
    alternatives: list[list[Choice]] = field(default_factory=list)
    score: float | None = None  # of beams: the one they are ordered by
    stopped: bool = False  # at one of `Decoding.stop`, which the last tokens complete

    @property
    def logprob(self) -> float:
        """The log-probability of the whole answer: the sum over its tokens."""
        return sum(self.logprobs)

    @property
    def ended(self) -> bool:
        """True where the model wrote its end token."""
        return len(self.logprobs) > len(self.tokens)

    @property
    def finish_reason(self) -> FinishReason:
        if self.stopped:
            return FinishReason.STOP
        return FinishReason.END if self.ended else FinishReason.LENGTH


@dataclass(frozen=True)
class Answer:
    """The hypotheses of one prompt, `num_return_sequences` of them, beams the best first."""

    hypotheses: tuple[Hypothesis, ...]

    @property
    def best(self) -> Hypothesis:
        """The first hypothesis; greedy decoding has no other."""
        return self.hypotheses[0]


class Progress(NamedTuple):
    """The next tokens of an answer that is being decoded, reported as in `Hypothesis`."""

    tokens: list[int]
    logprobs: list[float]
    alternatives: list[list[Choice]]  # empty without `top_logprobs`


class OutOfMemory(RuntimeError):
    """The device has no memory for this step or for these prompts; fewer rows may have."""


class Engine(Protocol):
    """Sequence-to-sequence decoding, step by step; prompts join and leave between steps.

    One thread at a time calls it. `key` is the caller's name for a prompt. A prompt's answer does
    not depend on the other rows. Any method may raise; all rows are then lost, and the engine can
    be used again after `clear`. `OutOfMemory` says that fewer rows may succeed.
    """

    @property
    def rows(self) -> int:
        """The most rows that the engine decodes at once; a prompt takes `Prompt.rows`."""
        ...

    @property
    def active(self) -> int:
        """The number of rows being decoded."""
        ...

    def join(self, prompts: Mapping[Hashable, Prompt]) -> None:
        """Start decoding these prompts, whose rows are at most `rows - active`."""
        ...

    def step(self) -> dict[Hashable, Answer]:
        """Decode one token in every row. Remove and return the finished prompts' answers."""
        ...

    def written(self, key: Hashable, since: int) -> Progress:
        """Return what an active prompt has decoded after its first `since` tokens.

        Nothing for a prompt of several rows. The last token of an answer comes with the answer.
        """
        ...

    def leave(self, keys: Collection[Hashable]) -> None:
        """Remove the rows of these prompts; their answers are no longer wanted."""
        ...

    def clear(self) -> None:
        """Remove every row."""
        ...
