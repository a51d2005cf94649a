"""A bundle's answers, from the code that serves it: first greedy, then the second try."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from engine.bundle import BundleError
from equations.verify import Verdict
from service.errors import QuestionTooLong
from service.runtime import Model, Runtime, load_model
from service.settings import Settings
from service.solving import Solution, Solver
from training.data import Problem
from training.errors import RunError
from training.prediction import Prediction, judged

_TIMEOUT_S = 600.0  # of one question, whatever waits before it
_AT_ONCE = 512


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
        """Greedy answers, and those that came out wrong again with alternatives."""
        runtime = Runtime(self._settings, self._model)
        try:
            await runtime.start()
            greedy = Solver(
                self._model.manifest, self._model.codec, runtime.batcher.submit, max_tries=1
            )
            firsts = await self._each(problems, greedy)
            wrong = [
                problem
                for problem, first in zip(problems, firsts, strict=True)
                if self._second_try and first is not None and first.verdict is Verdict.WRONG
            ]
            found = dict(zip(wrong, await self._each(wrong, runtime.solver), strict=True))
        finally:
            await runtime.stop()
        return [
            _prediction(problem, first, found.get(problem))
            for problem, first in zip(problems, firsts, strict=True)
        ]

    async def _each(self, problems: Sequence[Problem], solver: Solver) -> list[Solution | None]:
        places = asyncio.Semaphore(_AT_ONCE)
        bar = tqdm(total=len(problems), unit="q", disable=not self._show_progress)

        async def one(problem: Problem) -> Solution | None:
            async with places:
                solution = await _solve(solver, problem)
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
