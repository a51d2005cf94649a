"""Systems and composed questions, answered by a model step by step, as `equations.planner` plans.

`training.served` has the model of a bundle answer the steps; what they come to is judged here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from engine.contracts import Hypothesis, Prompt
from engine.tokens import TextCodec
from equations import planner, work
from equations.parser import parse_question
from equations.planner import Planned
from equations.prompt import OutOfRange
from equations.steps import Step
from service.alternatives import Alternatives
from training.data import Problem

Ask = Callable[[Prompt], Awaitable[Hypothesis]]
_NOTHING = work.Work(None, None, None)


@dataclass
class Stepwise:
    """A model that answers planned steps; with `most_tries` over 1, wrong steps are tried again."""

    codec: TextCodec
    eos_id: int
    ask: Ask
    most_tries: int = 1
    texts: list[str] = field(default_factory=list)  # of the steps, in their order
    logprob: float = 0.0

    async def solve(self, problem: Problem) -> str | None:
        """The answer to a question, or `None`."""
        question = parse_question(problem.question)
        planned = await self._planned(planner.plan(question.system, question.asked))
        value = planned.values.get(question.asked or "")
        return None if value is None else str(value)

    async def _planned(self, planning: planner.Planning) -> Planned:
        try:
            steps = next(planning)
            while True:
                steps = planning.send(await asyncio.gather(*map(self._answer, steps)))
        except StopIteration as end:
            planned: Planned = end.value
            return planned

    async def _answer(self, step: Step) -> work.Work:
        """What the model wrote, or what a further try got right."""
        try:
            source = self.codec.encode(step.prompt())
        except OutOfRange:
            return _NOTHING
        search = Alternatives(source, eos_id=self.eos_id)
        prompt = Prompt(source)
        first: work.Work | None = None
        for _ in range(self.most_tries):
            hypothesis = await self.ask(prompt)
            text = self.codec.decode(hypothesis.tokens)
            written = work.read(text)
            if first is None:
                first = written
                self.texts.append(text)
                self.logprob += hypothesis.logprob
            if step.correct(written):
                return written
            search.add(prompt, hypothesis)
            following = search.take(1)
            if not following:
                break
            (prompt,) = following
        return first or _NOTHING
