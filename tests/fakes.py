"""Fakes by hand: a clock that tests turn, an observer that remembers, an engine that is right."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from random import Random

from engine.contracts import Answer, Hypothesis, Progress, Prompt, Tokens
from engine.echo import EchoEngine
from engine.tokens import TextCodec
from equations import work
from equations.parser import parse
from equations.prompt import SUMS, read_digits, write_digits


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Remembering:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.depth = 0
        self.refusals: list[str] = []
        self.left: list[str] = []
        self.reuses: list[str] = []
        self.waits_s: list[float] = []
        self.joins: list[int] = []
        self.steps: list[int] = []
        self.answers = 0
        self.ends: list[str] = []

    def queued(self, depth: int) -> None:
        self.depth = depth

    def refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def abandoned(self, reason: str) -> None:
        self.left.append(reason)

    def reused(self, how: str) -> None:
        self.reuses.append(how)

    def joined(self, waits_s: list[float], lengths: list[int]) -> None:
        self.waits_s += waits_s
        self.joins.append(len(lengths))

    def stepped(self, rows: int, busy_s: float) -> None:
        self.steps.append(rows)

    def engine_ended(self, reason: str) -> None:
        self.ends.append(reason)

    def finished(self, encode_s: float, decode_s: float, tokens: int) -> None:
        self.answers += 1


# Tests of wrong answers ask this: `RightEngine` writes nothing for it.
UNANSWERED = write_digits(parse("2x = 1"))


class RightEngine(EchoEngine):
    """Answers every `digits` prompt but `UNANSWERED` with its true worked form."""

    def __init__(
        self,
        codec: TextCodec,
        before: Callable[[list[Tokens]], None] | None = None,
        *,
        rows: int = 64,
    ) -> None:
        super().__init__(before, rows=rows, answer=self._work)
        self._codec = codec

    def _work(self, prompt: Prompt) -> Tokens:
        asked = self._codec.decode(prompt.source)
        if asked == UNANSWERED:
            return []
        divide = not asked.startswith(f"{SUMS} ")
        equation = read_digits(asked.removeprefix(f"{SUMS} "))
        try:
            text = work.write(equation, Random(0), divide=divide)
        except ValueError:
            return []
        return self._codec.encode(text)[:-1]


def answer_ids(codec: TextCodec, text: str) -> list[int]:
    """Return the tokens of an answer with this text, without the end token."""
    return list(codec.encode(text)[:-1])


def doubtful_answer(codec: TextCodec) -> Hypothesis:
    """Return the answer 5, whose quotient is the most uncertain, and after it the answer itself.

    The runners-up there are the quotient 1 and the answer 4.
    """
    tokens = answer_ids(codec, "x0: q1=0 q0=5")
    runners_up = [*answer_ids(codec, "k0: q0=1 q0=4"), tokens[0]]
    return Hypothesis(tokens, [-0.01, -0.5, -0.2, -0.01], runners_up, [-9.0, -0.9, -3.0, -9.0])


class WritingEngine(EchoEngine):
    """Echoes texts with the settings that show in an answer, and log-probabilities by rule.

    A sampled answer is the source turned by its seed; of beams, each is a token shorter than the
    one before. The n-th answer has the log-probability -(n + 1) / 4 at each token.
    """

    def __init__(
        self,
        codec: TextCodec,
        before: Callable[[list[Tokens]], None] | None = None,
        *,
        rows: int = 64,
    ) -> None:
        super().__init__(before, rows=rows)
        self._codec = codec
        self.joined: list[Prompt] = []

    def join(self, prompts: Mapping[Hashable, Prompt]) -> None:
        super().join(prompts)
        self.joined += prompts.values()
        for key, prompt in prompts.items():
            self._steps_left[key] = len(self._hypothesis(prompt, 0).logprobs)

    def written(self, key: Hashable, since: int) -> Progress:
        prompt = self._prompts[key]
        if prompt.rows > 1:
            return Progress([], [], [])
        whole = self._hypothesis(prompt, 0)
        decoded = slice(since, len(whole.logprobs) - self._steps_left[key])
        return Progress(whole.tokens[decoded], whole.logprobs[decoded], whole.alternatives[decoded])

    def _answer_of(self, prompt: Prompt) -> Answer:
        count = prompt.decoding.num_return_sequences
        return Answer(tuple(self._hypothesis(prompt, rank) for rank in range(count)))

    def _hypothesis(self, prompt: Prompt, rank: int) -> Hypothesis:
        decoding, tokens = prompt.decoding, list(prompt.source[:-1])
        if decoding.do_sample:
            assert decoding.seed is not None, "the service draws a seed"
            turned = (decoding.seed + rank) % len(tokens)
            tokens = tokens[turned:] + tokens[:turned]
        else:
            tokens = tokens[: len(tokens) - rank]
        ended = decoding.max_new_tokens is None or len(tokens) < decoding.max_new_tokens
        tokens = [*prompt.forced, *tokens[: decoding.max_new_tokens]]
        for length in range(len(prompt.forced) + 1, len(tokens) + 1):
            text = self._codec.decode(tokens[:length])
            begun = len(self._codec.decode(prompt.forced))
            if any(stop in text[max(0, begun - len(stop) + 1) :] for stop in decoding.stop):
                return self._scored(prompt, tokens[:length], rank, stopped=True)
        return self._scored(prompt, tokens, rank, ended=ended)

    def _scored(
        self,
        prompt: Prompt,
        tokens: list[int],
        rank: int,
        *,
        ended: bool = False,
        stopped: bool = False,
    ) -> Hypothesis:
        count, logprob = len(tokens) + ended, -(rank + 1) / 4
        ranked = [(number + 5, logprob - number) for number in range(prompt.decoding.top_logprobs)]
        return Hypothesis(
            tokens,
            [logprob] * count,
            [0] * count,
            [-99.0] * count,
            alternatives=[ranked] * count if ranked else [],
            score=logprob if prompt.decoding.num_beams > 1 else None,
            stopped=stopped,
        )
