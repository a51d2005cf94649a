"""A bundle's answers, from the code that serves it: first greedy, then the second try."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from engine.bundle import BundleError
from engine.contracts import Hypothesis, Prompt
from equations.verify import Verdict
from service.errors import QuestionTooLong
from service.runtime import Model, Runtime, load_model
from service.settings import Settings
from service.solving import Solution, Solver
from training.data import Problem
from training.errors import RunError
from training.prediction import Prediction, judged
from training.stepwise import Stepwise

_TIMEOUT_S = 600.0  # of one question, whatever waits before it
_AT_ONCE = 512
_T = TypeVar("_T")
STEPS = " ; "  # between the worked forms of a question in several steps


class Bundle:
    """Implements `training.prediction.Predictor`, with or without the second try.

    Raises `RunError` for what does not load.
    """

    def __init__(
        self, folder: Path, *, second_try: bool = True, show_progress: bool = False
    ) -> None:
        self._settings = Settings(model=folder, cached_answers=0, max_queue=100 * _AT_ONCE)
        try:
            self._model: Model = load_model(self._settings)
        except BundleError as error:
            raise RunError(str(error)) from error
        self._second_try = second_try
        self._show_progress = show_progress

    def predict(self, problems: Sequence[Problem]) -> list[Prediction]:
        return asyncio.run(self._predict(problems))

    async def _predict(self, problems: Sequence[Problem]) -> list[Prediction]:
        runtime = Runtime(self._settings, self._model)
        systems = [problem for problem in problems if problem.is_system]
        single = [problem for problem in problems if not problem.is_system]
        try:
            await runtime.start()
            solved = await self._each(systems, lambda problem: self._by_steps(runtime, problem))
            made = dict(zip(systems, solved, strict=True))
            made |= zip(single, await self._single(runtime, single), strict=True)
        finally:
            await runtime.stop()
        return [made[problem] for problem in problems]

    async def _single(self, runtime: Runtime, problems: Sequence[Problem]) -> list[Prediction]:
        """One equation in one variable each: greedy, then those again that came out wrong."""
        greedy = Solver(
            self._model.manifest, self._model.codec, runtime.batcher.submit, max_tries=1
        )
        firsts = await self._each(problems, lambda problem: _solve(greedy, problem))
        wrong = [
            problem
            for problem, first in zip(problems, firsts, strict=True)
            if self._second_try and first is not None and first.verdict is Verdict.WRONG
        ]
        seconds = await self._each(wrong, lambda problem: _solve(runtime.solver, problem))
        found = dict(zip(wrong, seconds, strict=True))
        return [
            _prediction(problem, first, found.get(problem))
            for problem, first in zip(problems, firsts, strict=True)
        ]

    async def _by_steps(self, runtime: Runtime, problem: Problem) -> Prediction:
        """A system or a composed question: greedy, then each step again that came out wrong."""

        async def ask(prompt: Prompt) -> Hypothesis:
            return (await runtime.batcher.submit(prompt, _TIMEOUT_S)).hypothesis

        codec, eos_id = self._model.codec, self._model.manifest.architecture.eos_id
        greedy = Stepwise(codec, eos_id, ask)
        answer = await greedy.solve(problem)
        made = judged(problem, STEPS.join(greedy.texts), answer, greedy.logprob)
        if made.exact or not self._second_try:
            return made
        again = Stepwise(codec, eos_id, ask, self._settings.max_tries)
        return replace(made, second=await again.solve(problem))

    async def _each(
        self, problems: Sequence[Problem], solve: Callable[[Problem], Awaitable[_T]]
    ) -> list[_T]:
        places = asyncio.Semaphore(_AT_ONCE)
        bar = tqdm(total=len(problems), unit="q", disable=not self._show_progress)

        async def one(problem: Problem) -> _T:
            async with places:
                solution = await solve(problem)
            bar.update()
            return solution

        with bar:
            return await asyncio.gather(*map(one, problems))


async def _solve(solver: Solver, problem: Problem) -> Solution | None:
    """`None` for a question that the model cannot read."""
    try:
        return await solver.solve(problem.question, timeout_s=_TIMEOUT_S)
    except QuestionTooLong:
        return None


def _prediction(problem: Problem, first: Solution | None, second: Solution | None) -> Prediction:
    if first is None:
        return judged(problem, "", None)
    mended = second is not None and second.verdict is Verdict.CORRECT
    return Prediction(
        problem=problem,
        text=first.text,
        answer=first.answer,
        verdict=first.verdict,
        logprob=first.logprob,
        score=first.score,
        confidence=first.confidence,
        second=second.answer if second is not None and mended else None,
    )
