"""Answer one question: read it, have the model write, verify, and try again where that is wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from engine.bundle import Manifest
from engine.tokens import TextCodec
from equations.linear import Equation, render
from equations.parser import parse_any, several_unknowns
from equations.planner import NO_ANSWER
from equations.reading.question import Question
from equations.system import Outcome
from equations.verify import Verdict, Verification, verify
from equations.work import Work
from service.contracts import Submit
from service.errors import QuestionTooLong
from service.phases import Phases
from service.solving.solution import Fallback, Solution, Source
from service.solving.stepwise import Stepwise
from service.solving.writing import Writer, Written


class Solver:
    """Solve questions with the model of one bundle; `submit` is the batcher's.

    If a text of the model is wrong, up to `max_tries` are tried in its place, the first included.
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
        self._phases = phases or Phases()
        self._writer = Writer(manifest, codec, submit, max_tries=max_tries)
        self._stepwise = Stepwise(self._writer, self._phases)

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
        started_s = time.perf_counter()
        asked = parse_any(question)
        try:
            if isinstance(asked, Question):
                if not self._writer.takes_steps:
                    raise several_unknowns(asked, question)
                solution = await self._stepwise.solve(asked, started_s, timeout_s, wait=wait)
            else:
                solution = await self._single(
                    asked.with_integers(), started_s, timeout_s, wait=wait
                )
        except QuestionTooLong:
            values = _exact_values(asked)
            if fallback is Fallback.NONE or values is None:
                raise
            solution = _unread(asked, values, started_s)
        if solution.verdict is Verdict.WRONG and fallback is Fallback.EXACT:
            solution = _exact(solution, _exact_values(asked))
        return solution

    async def _single(
        self, equation: Equation, started_s: float, timeout_s: float, *, wait: bool
    ) -> Solution:
        """Answer one equation in one variable with one text of the model."""
        source = self._writer.encode(lambda: self._writer.format.prompt(equation))
        written = await self._writer.write(source, timeout_s, wait=wait)
        with self._phases.span("verify"):
            verification = _verify(equation, written.work)
        if verification.verdict is Verdict.WRONG and self._worth_another_try(equation):
            left_s = timeout_s - (time.perf_counter() - started_s)
            written = await self._writer.try_again(
                written, lambda work: _verify(equation, work).verdict is Verdict.CORRECT, left_s
            )
            verification = _verify(equation, written.work)
        return self._solution(equation, written, verification, started_s)

    def _worth_another_try(self, equation: Equation) -> bool:
        """Return whether alternatives may help: the model must be able to write the solution."""
        return self._writer.max_tries > 1 and self._writer.format.expressible(equation.solution())

    def _solution(
        self, equation: Equation, written: Written, verification: Verification, started_s: float
    ) -> Solution:
        answer, variable = written.work.answer, equation.variable
        verdict, reason = verification.verdict, verification.reason
        work = written.work.lines(variable)
        score = self._writer.score(written)
        confidence = self._writer.confidence(score)
        if verdict is Verdict.UNVERIFIABLE:
            answer = None
            if not _finds(written.work, reason):
                work = confidence = None  # of an answer that is not given
        elif verdict is Verdict.WRONG and answer is None:
            reason = NO_ANSWER
        return Solution(
            values=None if answer is None else {variable: answer},
            variable=variable,
            verdict=verdict,
            reason=reason,
            source=Source.MODEL,
            equation=render(equation),
            work=work,
            text=written.text,
            logprob=written.hypothesis.logprob,
            score=score,
            confidence=confidence,
            tries=written.tries,
            timings=written.timings,
            total_s=time.perf_counter() - started_s,
        )


def _verify(equation: Equation, work: Work) -> Verification:
    return verify(equation, work.answer or "")


def _finds(work: Work, reason: str | None) -> bool:
    """Return whether the steps lead to what is true of an equation without a single solution."""
    return work.coefficient == 0 and bool(work.constant) == (reason == Outcome.NONE)


def _exact_values(asked: Equation | Question) -> dict[str, str] | None:
    """Return the exact value of every variable asked for; `None` where one has no single value."""
    if isinstance(asked, Question):
        found: Mapping[str, object] = asked.solve().values
        names = asked.wanted()
    else:
        solution = asked.solution()
        names = [asked.variable]
        found = {} if solution is None else {asked.variable: solution}
    return {name: str(found[name]) for name in names} if found.keys() >= {*names} else None


def _unread(asked: Equation | Question, values: Mapping[str, str], started_s: float) -> Solution:
    """Return the exact solution of a question that the model cannot read."""
    if isinstance(asked, Question):
        variable, equation = asked.asked, asked.render()
    else:
        variable, equation = asked.variable, render(asked.with_integers())
    return Solution(
        values=values,
        variable=variable,
        verdict=Verdict.CORRECT,
        reason=None,
        source=Source.EXACT,
        equation=equation,
        work=None,
        total_s=time.perf_counter() - started_s,
    )


def _exact(wrong: Solution, values: Mapping[str, str] | None) -> Solution:
    """Return the exact solution in place of a wrong one: the work and the confidence go with it."""
    return replace(
        wrong,
        values=values,
        verdict=Verdict.CORRECT,
        reason=None,
        source=Source.EXACT,
        work=None,
        confidence=None,
    )
