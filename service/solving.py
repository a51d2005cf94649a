"""A question to a verified answer: parse, prompt, generate, read, verify; try again where wrong.

Knows nothing of HTTP: the API, the command line and tests use it alike.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from equations import work
from equations.linear import Equation, render
from equations.parser import parse
from equations.prompt import PROMPT_FORMATS, OutOfRange
from equations.verify import Verdict, verify
from service.contracts import Answered, Prompt, Timings
from service.engine.bundle import Manifest
from service.engine.tokens import TextCodec
from service.errors import QuestionTooLong
from service.second_try import alternatives

Submit = Callable[[Prompt, float], Awaitable[Answered]]
_NO_ANSWER = "the model gave no answer"


class Fallback(StrEnum):
    """What to do when the model's answer is not correct."""

    NONE = "none"  # give it all the same, honestly judged
    EXACT = "exact"  # solve the equation exactly, where it has one solution


class Source(StrEnum):
    MODEL = "model"
    EXACT = "exact"


@dataclass(frozen=True)
class Solution:
    """One question, answered and judged."""

    answer: str | None
    variable: str
    verdict: Verdict
    reason: str | None
    source: Source
    equation: str  # in the dataset's wording, with integer terms
    work: list[str] | None
    text: str  # what the model wrote
    logprob: float | None  # of that text; null where the model was not asked
    confidence: float | None  # calibrated probability that the model's answer is right
    tries: int  # answers that the model gave and that were verified
    timings: Timings
    total_s: float


class Solver:
    """Answers questions with the model of one bundle; `submit` is the batcher's.

    A question whose first answer is wrong has up to `max_tries` answers tried in all.
    """

    def __init__(
        self, manifest: Manifest, codec: TextCodec, submit: Submit, *, max_tries: int
    ) -> None:
        self._codec = codec
        self._submit = submit
        self._max_tries = max_tries
        self._eos_id = manifest.architecture.eos_id
        self._prompt = PROMPT_FORMATS[manifest.prompt_format]
        self._writes_work = manifest.target_format == "work"
        self._max_source_tokens = manifest.limits.max_source_tokens
        self._calibration = manifest.calibration

    async def solve(
        self, question: str, *, timeout_s: float, fallback: Fallback = Fallback.NONE
    ) -> Solution:
        """Raises `EquationError`, `QuestionTooLong`, and what `submit` raises."""
        started = time.perf_counter()
        equation = parse(question).with_integers()
        try:
            source = self._encode(equation)
        except QuestionTooLong:
            if fallback is Fallback.NONE or equation.solution() is None:
                raise
            return _exact(equation, started)
        answered = await self._submit(Prompt(source), timeout_s)
        solution = self._judge(equation, answered)
        if solution.verdict is Verdict.WRONG and self._worth_another_try(equation):
            deadline_s = timeout_s - (time.perf_counter() - started)
            solution = await self._try_again(equation, source, answered, solution, deadline_s)
        if solution.verdict is Verdict.WRONG and fallback is Fallback.EXACT:
            return _exact(equation, started, solution)
        return replace(solution, total_s=time.perf_counter() - started)

    def _encode(self, equation: Equation) -> tuple[int, ...]:
        try:
            source = self._codec.encode(self._prompt(equation))
        except OutOfRange as error:
            raise QuestionTooLong(f"the model does not read {error}") from error
        if len(source) > self._max_source_tokens:
            most = self._max_source_tokens
            raise QuestionTooLong(f"{len(source)} tokens; the model reads at most {most}")
        return source

    def _worth_another_try(self, equation: Equation) -> bool:
        """Not where the model could not write the solution if it knew it."""
        solution = equation.solution()
        expressible = not self._writes_work or work.expressible(solution)
        return self._max_tries > 1 and expressible

    async def _try_again(
        self,
        equation: Equation,
        source: tuple[int, ...],
        first: Answered,
        greedy: Solution,
        left_s: float,
    ) -> Solution:
        """The likeliest correct alternative, or else the first answer again."""
        prompts = alternatives(
            source, first.hypothesis, most=self._max_tries - 1, eos_id=self._eos_id
        )
        outcomes = await asyncio.gather(
            *(self._submit(prompt, max(left_s, 0.0)) for prompt in prompts),
            return_exceptions=True,
        )
        answers = [outcome for outcome in outcomes if isinstance(outcome, Answered)]
        tries = 1 + len(answers)
        if not answers:
            return greedy
        timings = Timings(
            first.timings.queue_s + max(answer.timings.queue_s for answer in answers),
            first.timings.inference_s + max(answer.timings.inference_s for answer in answers),
        )
        judged = [self._judge(equation, answer) for answer in answers]
        correct = [solution for solution in judged if solution.verdict is Verdict.CORRECT]
        best = max(correct, key=lambda solution: solution.logprob or 0.0, default=greedy)
        return replace(best, tries=tries, timings=timings)

    def _judge(self, equation: Equation, answered: Answered) -> Solution:
        text = self._codec.decode(answered.hypothesis.tokens)
        answer, lines = self._read(text, equation.variable)
        verification = verify(equation, answer or "")
        reason = verification.reason
        if answer is None and verification.verdict is Verdict.WRONG:
            reason = _NO_ANSWER
        logprob = answered.hypothesis.logprob
        return Solution(
            answer=answer,
            variable=equation.variable,
            verdict=verification.verdict,
            reason=reason,
            source=Source.MODEL,
            equation=render(equation),
            work=lines,
            text=text,
            logprob=logprob,
            confidence=self._confidence(logprob),
            tries=1,
            timings=answered.timings,
            total_s=0.0,  # until it is given
        )

    def _confidence(self, logprob: float) -> float | None:
        """The share of right answers among those as likely, when the bundle was made."""
        if not self._calibration:
            return None
        knots = np.array(self._calibration)
        return float(np.interp(logprob, knots[:, 0], knots[:, 1]))

    def _read(self, text: str, variable: str) -> tuple[str | None, list[str] | None]:
        if not self._writes_work:
            return text.strip() or None, None
        written = work.read(text)
        return written.answer, written.lines(variable)


def _exact(equation: Equation, started: float, model: Solution | None = None) -> Solution:
    """The exact solution, where the model's own is wrong or it could not be asked."""
    return Solution(
        answer=str(equation.solution()),
        variable=equation.variable,
        verdict=Verdict.CORRECT,
        reason=None,
        source=Source.EXACT,
        equation=render(equation),
        work=None,
        text=model.text if model else "",
        logprob=model.logprob if model else None,
        confidence=model.confidence if model else None,
        tries=model.tries if model else 0,
        timings=model.timings if model else Timings(0.0, 0.0),
        total_s=time.perf_counter() - started,
    )
