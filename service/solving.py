"""A question to a verified answer: parse, prompt, generate, read, verify.

Knows nothing of HTTP: the API, the command line and tests use it alike.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from equations import work
from equations.linear import Equation, render
from equations.parser import parse
from equations.prompt import PROMPT_FORMATS, OutOfRange
from equations.verify import Verdict, verify
from service.contracts import Answered, Timings, Tokens
from service.engine.bundle import Manifest
from service.engine.tokens import TextCodec
from service.errors import QuestionTooLong

Submit = Callable[[Tokens, float], Awaitable[Answered]]
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
    timings: Timings
    total_s: float


class Solver:
    """Answers questions with the model of one bundle; `submit` is the batcher's."""

    def __init__(self, manifest: Manifest, codec: TextCodec, submit: Submit) -> None:
        self._codec = codec
        self._submit = submit
        self._prompt = PROMPT_FORMATS[manifest.prompt_format]
        self._writes_work = manifest.target_format == "work"
        self._max_source_tokens = manifest.limits.max_source_tokens

    async def solve(
        self, question: str, *, timeout_s: float, fallback: Fallback = Fallback.NONE
    ) -> Solution:
        """Raises `EquationError`, `QuestionTooLong`, and what `submit` raises."""
        started = time.perf_counter()
        equation = parse(question).with_integers()
        try:
            answered = await self._submit(self._encode(equation), timeout_s)
        except QuestionTooLong:
            if fallback is Fallback.NONE or equation.solution() is None:
                raise
            answered = Answered([], Timings(0.0, 0.0))
        solution = self._judge(equation, answered, started)
        if fallback is Fallback.EXACT and solution.verdict is Verdict.WRONG:
            return _exact(solution, equation, started)
        return solution

    def _encode(self, equation: Equation) -> Tokens:
        try:
            source = self._codec.encode(self._prompt(equation))
        except OutOfRange as error:
            raise QuestionTooLong(f"the model does not read {error}") from error
        if len(source) > self._max_source_tokens:
            most = self._max_source_tokens
            raise QuestionTooLong(f"{len(source)} tokens; the model reads at most {most}")
        return source

    def _judge(self, equation: Equation, answered: Answered, started: float) -> Solution:
        text = self._codec.decode(answered.tokens)
        answer, lines = self._read(text, equation.variable)
        verification = verify(equation, answer or "")
        reason = verification.reason
        if answer is None and verification.verdict is Verdict.WRONG:
            reason = _NO_ANSWER
        return Solution(
            answer=answer,
            variable=equation.variable,
            verdict=verification.verdict,
            reason=reason,
            source=Source.MODEL,
            equation=render(equation),
            work=lines,
            timings=answered.timings,
            total_s=time.perf_counter() - started,
        )

    def _read(self, text: str, variable: str) -> tuple[str | None, list[str] | None]:
        if not self._writes_work:
            return text.strip() or None, None
        written = work.read(text)
        return written.answer, written.lines(variable)


def _exact(solution: Solution, equation: Equation, started: float) -> Solution:
    """The exact solution in place of a wrong one; a wrong answer implies that there is one."""
    return Solution(
        answer=str(equation.solution()),
        variable=equation.variable,
        verdict=Verdict.CORRECT,
        reason=None,
        source=Source.EXACT,
        equation=solution.equation,
        work=None,
        timings=solution.timings,
        total_s=time.perf_counter() - started,
    )
