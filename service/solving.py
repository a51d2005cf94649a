"""Solve a question: parse, prompt, generate, read and verify; try alternatives to a wrong answer.

This module knows nothing of HTTP; the API, the command line and tests use it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from engine.bundle import BundleError, Manifest
from engine.contracts import Prompt
from engine.tokens import TextCodec
from equations.formats import FORMATS, Format
from equations.linear import Equation, render
from equations.parser import parse
from equations.prompt import OutOfRange
from equations.verify import Verdict, verify
from service.alternatives import Alternatives
from service.confidence import choices, confidence, score
from service.contracts import Answered, Submit, Timings
from service.errors import QuestionTooLong
from service.phases import Phases

_NO_ANSWER = "the model gave no answer"
_TRY_S = 60.0  # longer than any deadline
_TRIES_AT_ONCE = 3  # more at once correct less for each try; fewer take longer


class Fallback(StrEnum):
    """The action to take if the model's answer is not correct."""

    NONE = "none"  # return it with its verdict
    EXACT = "exact"  # solve the equation exactly, if it has one solution


class Source(StrEnum):
    MODEL = "model"
    EXACT = "exact"


@dataclass(frozen=True)
class Solution:
    """The answer to one question, with its verdict."""

    answer: str | None
    variable: str
    verdict: Verdict
    reason: str | None
    source: Source
    equation: str  # in the dataset's wording, with integer terms
    work: list[str] | None
    text: str  # the model's output
    logprob: float | None  # of the output; null if the model was not used
    score: float | None  # the value that the confidence is calibrated on
    confidence: float | None  # calibrated probability that the model's answer is right
    tries: int  # verified answers of the model
    timings: Timings
    total_s: float


def format_of(manifest: Manifest) -> Format:
    """Return the prompt format that a bundle's model reads. Raises `BundleError` if unknown."""
    format_ = FORMATS.get(manifest.prompt_format)
    if format_ is None:
        raise BundleError(f"unknown prompt format {manifest.prompt_format!r}")
    if manifest.target_format != format_.target:
        raise BundleError(f"unknown target format {manifest.target_format!r}")
    return format_


class Solver:
    """Solve questions with the model of one bundle; `submit` is the batcher's.

    If the first answer is wrong, up to `max_tries` answers are tried in all.
    """

    def __init__(
        self,
        manifest: Manifest,
        codec: TextCodec,
        submit: Submit,
        *,
        max_tries: int,
        phases: Phases | None = None,
    ) -> None:
        self._codec = codec
        self._submit = submit
        self._max_tries = max_tries
        self._phases = phases or Phases()
        self._eos_id = manifest.architecture.eos_id
        self._format = format_of(manifest)
        self._max_source_tokens = manifest.limits.max_source_tokens
        self._calibration = manifest.calibration
        self._choices = choices(codec.token_id)

    async def solve(
        self,
        question: str,
        *,
        timeout_s: float,
        fallback: Fallback = Fallback.NONE,
        wait: bool = False,
    ) -> Solution:
        """Return the model's answer to `question`, verified; `wait` is for `submit`.

        Raises `EquationError`, `QuestionTooLong`, and what `submit` raises.
        """
        started = time.perf_counter()
        equation = parse(question).with_integers()
        try:
            source = self._encode(equation)
        except QuestionTooLong:
            if fallback is Fallback.NONE or equation.solution() is None:
                raise
            return _exact(equation, started)
        answered = await self._submit(Prompt(source), timeout_s, wait=wait)
        with self._phases.span("verify"):
            solution = self._judge(equation, answered, started)
        if solution.verdict is Verdict.WRONG and self._worth_another_try(equation):
            left_s = timeout_s - (time.perf_counter() - started)
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    solution = await self._try_again(equation, answered, solution, source)
            solution = replace(solution, total_s=time.perf_counter() - started)
        if solution.verdict is Verdict.WRONG and fallback is Fallback.EXACT:
            return _exact(equation, started, solution)
        return solution

    def _encode(self, equation: Equation) -> tuple[int, ...]:
        try:
            source = self._codec.encode(self._format.prompt(equation))
        except OutOfRange as error:
            raise QuestionTooLong(f"the model does not read {error}") from error
        if len(source) > self._max_source_tokens:
            most = self._max_source_tokens
            raise QuestionTooLong(f"{len(source)} tokens; the model reads at most {most}")
        return source

    def _worth_another_try(self, equation: Equation) -> bool:
        """Return whether alternatives may help: the model must be able to write the solution."""
        return self._max_tries > 1 and self._format.expressible(equation.solution())

    async def _try_again(
        self, equation: Equation, first: Answered, greedy: Solution, source: tuple[int, ...]
    ) -> Solution:
        """Return a correct alternative, or else the first answer."""
        search = Alternatives(source, eos_id=self._eos_id)
        search.add(Prompt(source), first.hypothesis)
        best, timings, tries = greedy, first.timings, 1
        while best is greedy and tries < self._max_tries:
            prompts = search.take(min(_TRIES_AT_ONCE, self._max_tries - tries))
            answers = await self._answers(prompts)
            if not answers:
                break
            tries += len(answers)
            slowest = max(answers.values(), key=lambda answer: answer.timings.total_s)
            timings = timings + slowest.timings
            for prompt, answered in answers.items():
                search.add(prompt, answered.hypothesis)
                solution = self._judge(equation, answered, started=0.0)  # `solve` sets the total
                if solution.verdict is Verdict.CORRECT and best is greedy:
                    best = solution
        return replace(best, tries=tries, timings=timings)

    async def _answers(self, prompts: list[Prompt]) -> dict[Prompt, Answered]:
        """Return the answers to `prompts`, likeliest first, without those that failed."""
        outcomes = await asyncio.gather(
            *(self._submit(prompt, _TRY_S) for prompt in prompts), return_exceptions=True
        )
        pairs = zip(prompts, outcomes, strict=True)
        return {prompt: answer for prompt, answer in pairs if isinstance(answer, Answered)}

    def _judge(self, equation: Equation, answered: Answered, started: float) -> Solution:
        text = self._codec.decode(answered.hypothesis.tokens)
        written = self._format.read(text)
        verification = verify(equation, written.answer or "")
        reason = verification.reason
        if written.answer is None and verification.verdict is Verdict.WRONG:
            reason = _NO_ANSWER
        logprob = answered.hypothesis.logprob
        certainty = score(answered.hypothesis, self._choices)
        return Solution(
            answer=written.answer,
            variable=equation.variable,
            verdict=verification.verdict,
            reason=reason,
            source=Source.MODEL,
            equation=render(equation),
            work=written.lines(equation.variable),
            text=text,
            logprob=logprob,
            score=certainty,
            confidence=confidence(self._calibration, certainty) if self._calibration else None,
            tries=1,
            timings=answered.timings,
            total_s=time.perf_counter() - started,
        )


def _exact(equation: Equation, started: float, model: Solution | None = None) -> Solution:
    """Return the exact solution, for a wrong answer or a question that the model cannot read."""
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
        score=model.score if model else None,
        confidence=model.confidence if model else None,
        tries=model.tries if model else 0,
        timings=model.timings if model else Timings(0.0, 0.0),
        total_s=time.perf_counter() - started,
    )
