"""Bulk questions and engines that fail: what passes is tried again, what does not is an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.bundle import TOKENIZER, load_manifest
from engine.contracts import Tokens
from engine.tokens import TextCodec
from service.bulk.answering import answers, running
from service.hosting.thread import ThreadHost
from service.runtime import Model
from service.settings import Settings
from service.solving import Fallback
from tests.fakes import RightEngine
from tests.service.app import LIMITS

QUESTIONS = [f"{a}*x = {3 * a}" for a in range(2, 20)]


class Failing:
    """Raises in the first `times` steps of an engine."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, _: list[Tokens]) -> None:
        if self.left:
            self.left -= 1
            raise RuntimeError("a fault of the engine")


def answered(
    bundle: Path, questions: list[str], *, failures: int = 0, **knobs: Any
) -> tuple[list[dict[str, Any]], list[float]]:
    """The results, and for how long was waited before another try."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def asked() -> AsyncIterator[str]:
        for question in questions:
            yield question

    async def main() -> list[dict[str, Any]]:
        codec = TextCodec(bundle / TOKENIZER)
        engine = RightEngine(codec, Failing(failures))
        model = Model(load_manifest(bundle), codec, [ThreadHost(engine, LIMITS, provider="fake")])
        settings = replace(Settings(), **knobs)
        async with running(settings, model) as runtime:
            results = answers(runtime, asked(), Fallback.NONE, pause=pause)
            return [result async for result in results]

    return asyncio.run(main()), pauses


def test_results_are_in_order_with_few_questions_under_way(bundle: Path) -> None:
    questions = [*QUESTIONS, "what?", "x*x = 4", *QUESTIONS]
    results, pauses = answered(bundle, questions, max_queue=2)
    right = ["3"] * len(QUESTIONS)
    assert [result.get("answer") for result in results] == [*right, None, None, *right]
    assert results[len(QUESTIONS)]["error"].startswith("no equation at character 1")
    assert pauses == []


def test_a_system_has_its_values(bundle: Path) -> None:
    results, _ = answered(bundle, ["x + y = 5; x - y = 2", "Solve x = 2, x + y = 5 for y."])
    assert [result["answer"] for result in results] == [None, "3"]
    assert [result["solution"] for result in results] == [{"x": "7/2", "y": "3/2"}, {"y": "3"}]


def test_a_question_whose_engine_failed_is_tried_again(bundle: Path) -> None:
    results, pauses = answered(bundle, QUESTIONS, failures=1)
    assert {result["answer"] for result in results} == {"3"}
    assert pauses
    assert set(pauses) == {1.0}


def test_an_engine_that_fails_for_good_is_an_error_in_place(bundle: Path) -> None:
    results, pauses = answered(bundle, QUESTIONS[:1], failures=1_000_000)
    assert results == [{"error": "the engine failed"}]
    assert pauses == [1.0, 2.0, 4.0, 8.0]


def test_what_reading_raises_ends_the_run(bundle: Path) -> None:
    async def broken() -> AsyncIterator[str]:
        yield "x = 1"
        raise OSError("the disk is gone")

    async def main() -> str:
        codec = TextCodec(bundle / TOKENIZER)
        host = ThreadHost(RightEngine(codec), LIMITS, provider="fake")
        model = Model(load_manifest(bundle), codec, [host])
        async with running(Settings(), model) as runtime:
            try:
                async with aclosing(answers(runtime, broken(), Fallback.NONE)) as results:
                    found = [result async for result in results]
            except OSError as error:
                return str(error)
        raise AssertionError(f"nothing was raised after {found}")

    assert asyncio.run(main()) == "the disk is gone"
