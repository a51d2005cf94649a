"""Prepare the questions for all servers, and compare their answers with the expected ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.servers.candidate.answering import Answering
from engine.contracts import Hypothesis
from engine.generate import generate
from engine.loading import load_engine
from equations.parser import parse
from training.data import TEST_SPLIT, read, split_file
from training.data import generate as write_questions

_SEED = 23
_SPARE = 1.2  # questions drawn for each one kept
_ROWS = 32
_NEAR_TIE = 0.02  # in log-probability; int8 may differ by as much in another batch
_MOST_UNSURE = 0.005  # by how much confidences may differ for the same reason
_OWN = ("timing_ms", "confidence")


@dataclass(frozen=True)
class Workload:
    """Different questions, and the expected body of the answer to each."""

    questions: list[str]
    answers: list[dict[str, Any]]


def prepare(bundle: Path, cache: Path, count: int) -> Workload:
    """Generate `count` questions whose answers do not depend on rounding.

    Raises `ValueError` where too few are left of those drawn.
    """
    drawn = int(count * _SPARE) + 8
    folder = cache / f"questions-{drawn}"
    if not split_file(folder, TEST_SPLIT).exists():
        write_questions(folder, train=0, test=drawn, seed=_SEED, workers=1)
    asked = dict.fromkeys(problem.question for problem in read(split_file(folder, TEST_SPLIT)))
    answering = Answering(bundle, rows=_ROWS)
    sure = _sure(bundle, answering, list(asked))[:count]
    if len(sure) < count:
        raise ValueError(f"{len(sure)} of {drawn} questions are no near ties; {count} needed")
    return Workload(sure, answering.answer(sure))


def _sure(bundle: Path, answering: Answering, questions: Sequence[str]) -> list[str]:
    engine, _ = load_engine(bundle, threads=1, rows=_ROWS, provider="cpu")
    prompts = [answering.prompt(parse(question).with_integers()) for question in questions]
    answers = generate(engine, prompts)
    return [q for q, answer in zip(questions, answers, strict=True) if _lead(answer.best)]


def _lead(hypothesis: Hypothesis) -> bool:
    """Return whether every token leads the next likely one clearly."""
    pairs = zip(hypothesis.logprobs, hypothesis.runner_up_logprobs, strict=True)
    return all(first - second > _NEAR_TIE for first, second in pairs)


def wrong(workload: Workload, bodies: Iterable[tuple[int, bytes]]) -> list[str]:
    """Return a line for each body that differs from the expected answer."""
    faults = []
    for number, body in bodies:
        fault = _fault(workload.answers[number], body)
        if fault:
            faults.append(f"{workload.questions[number]!r}: {fault}")
    return faults


def _fault(expected: dict[str, Any], body: bytes) -> str | None:
    try:
        found = json.loads(body)
    except ValueError:
        return f"no JSON: {body[:80]!r}"
    if isinstance(found, list) and len(found) == 1:  # as BentoML's batchable APIs answer
        found = found[0]
    if not isinstance(found, dict) or found.keys() != expected.keys():
        return f"other fields: {body[:200]!r}"
    for name, value in expected.items():
        if name not in _OWN and found[name] != value:
            return f"{name} is {found[name]!r}, expected {value!r}"
    sure, expected_sure = found["confidence"], expected["confidence"]
    if (sure is None) != (expected_sure is None):
        return f"confidence is {sure!r}, expected {expected_sure!r}"
    if sure is not None and abs(sure - expected_sure) > _MOST_UNSURE:
        return f"confidence is {sure!r}, expected {expected_sure!r}"
    return None
