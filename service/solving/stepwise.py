"""Answer a system or a composed question in several steps, each of which the model writes.

`equations.planner` decides what is asked next; the answer is verified against the question as
asked. One request may have many jobs. Its first ones are admitted like those of any question; the
later ones wait for their turn, as the request has been admitted as a whole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from math import prod
from operator import add

from equations import planner
from equations.planner import NO_ANSWER, Planned
from equations.reading.question import Question
from equations.steps import Step
from equations.system import Outcome, Solutions
from equations.verify import Verdict
from equations.work import Work
from service.contracts import Timings
from service.errors import QuestionTooLong
from service.phases import Phases
from service.solving.solution import STEPS, Solution, Source
from service.solving.writing import Writer, Written, slowest

_UNWRITTEN = Work(None, None, None)


class Stepwise:
    """Solve systems with the model that `writer` asks."""

    def __init__(self, writer: Writer, phases: Phases) -> None:
        self._writer = writer
        self._phases = phases

    async def solve(
        self, question: Question, started_s: float, timeout_s: float, *, wait: bool
    ) -> Solution:
        """Return the model's answer, verified; `started_s` is on the clock `time.perf_counter`.

        Raises `QuestionTooLong` where no right steps lead to the answer within what the model
        reads, and what `submit` raises.
        """
        exact = question.solve()
        self._require_readable(question, exact)
        deadline_s = started_s + timeout_s
        rounds: list[list[Written]] = []
        planning = planner.plan(question.system, question.asked)
        try:
            steps = next(planning)
            while True:
                works = await self._round(steps, rounds, deadline_s, wait=wait or bool(rounds))
                steps = planning.send(works)
        except StopIteration as end:
            planned: Planned = end.value
        with self._phases.span("verify"):
            solution = self._solution(question, exact, planned, rounds)
        return replace(solution, total_s=time.perf_counter() - started_s)

    def _require_readable(self, question: Question, exact: Solutions) -> None:
        planned, steps = planner.rehearse(question.system, question.asked)
        for step in steps:
            self._writer.encode(step.prompt)
        wanted = {*question.wanted()}
        if exact.values.keys() >= wanted and not planned.values.keys() >= wanted:
            raise QuestionTooLong("the model does not read a system that takes such steps")

    async def _round(
        self, steps: Sequence[Step], rounds: list[list[Written]], deadline_s: float, *, wait: bool
    ) -> list[Work]:
        """Have the model write steps at the same time, and note them; a failure ends them all."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._write(step, deadline_s, wait=wait)) for step in steps
                ]
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from faults
        results = [task.result() for task in tasks]
        rounds.append([written for written in results if written is not None])
        return [_UNWRITTEN if written is None else written.work for written in results]

    async def _write(self, step: Step, deadline_s: float, *, wait: bool) -> Written | None:
        """Return a right text for a step if one is found; `None` where a wrong step before it made
        it too long for the model.
        """
        try:
            source = self._writer.encode(step.prompt)
        except QuestionTooLong:
            return None
        left_s = max(0.0, deadline_s - time.perf_counter())
        written = await self._writer.write(source, left_s, wait=wait)
        if self._writer.max_tries == 1 or step.correct(written.work):
            return written
        left_s = deadline_s - time.perf_counter()
        return await self._writer.try_again(written, step.correct, left_s)

    def _solution(
        self,
        question: Question,
        exact: Solutions,
        planned: Planned,
        rounds: Sequence[Sequence[Written]],
    ) -> Solution:
        texts = [written for texts in rounds for written in texts]
        names = question.wanted()
        found = planned.values.keys() >= {*names}
        values = {name: str(planned.values[name]) for name in names} if found else None
        verdict, reason = _judged(exact, names, values, planned.reason)
        unverifiable = verdict is Verdict.UNVERIFIABLE
        hidden = unverifiable and planned.reason != reason  # steps to values that cannot be right
        return Solution(
            values=None if unverifiable else values,
            variable=question.asked,
            verdict=verdict,
            reason=reason,
            source=Source.MODEL,
            equation=question.render(),
            work=None if hidden else planned.lines or None,
            text=STEPS.join(written.text for written in texts),
            logprob=sum(written.hypothesis.logprob for written in texts),
            confidence=None if hidden else self._confidence(texts),
            tries=max((written.tries for written in texts), default=0),
            timings=_one_after_the_other(rounds),
        )

    def _confidence(self, texts: Sequence[Written]) -> float | None:
        """Return the probability that every step is right; a wrong one is seldom made up for."""
        steps = [self._writer.confidence(self._writer.score(written)) for written in texts]
        known = [confidence for confidence in steps if confidence is not None]
        return prod(known) if known else None


def _one_after_the_other(rounds: Sequence[Sequence[Written]]) -> Timings:
    """Return the timings of rounds, each as long as the slowest of its steps."""
    return reduce(
        add,
        (slowest([written.timings for written in texts]) for texts in rounds if texts),
        Timings(0.0, 0.0),
    )


def _judged(
    exact: Solutions, names: Sequence[str], values: dict[str, str] | None, stopped: str | None
) -> tuple[Verdict, str | None]:
    """Return the verdict on values, and its reason; `stopped` says why the plan has none."""
    if not exact.values.keys() >= {*names}:
        return Verdict.UNVERIFIABLE, exact.outcome.value
    if values is None:
        found = stopped in (Outcome.NONE, Outcome.INFINITE)
        return Verdict.WRONG, f"the model found {stopped}" if found else NO_ANSWER
    right = all(values[name] == str(exact.values[name]) for name in names)
    return (Verdict.CORRECT if right else Verdict.WRONG), None
