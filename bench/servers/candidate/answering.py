"""Answer one batch of questions inside a baseline server.

It parses, writes prompts, generates greedily, reads and verifies: the work of `POST /solve` for
each question, with the same code and the same fields in the answer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.bundle import TOKENIZER, read_manifest
from engine.contracts import Hypothesis, Prompt
from engine.generate import generate
from engine.loading import load_engine, warm_up
from engine.tokens import TextCodec
from equations.formats import FORMATS
from equations.linear import Equation, render
from equations.parser import parse
from equations.verify import Verdict, verify
from service.confidence import choices, confidence, score


class Answering:
    """Answers batches with the model in the bundle at `folder`, on one thread."""

    def __init__(self, folder: Path, *, rows: int) -> None:
        self._engine, _ = load_engine(folder, threads=1, rows=rows, provider="cpu")
        warm_up(self._engine, folder)
        self._manifest = read_manifest(folder)
        self._codec = TextCodec(folder / TOKENIZER)
        self._format = FORMATS[self._manifest.prompt_format]
        self._choices = choices(self._codec.token_id)

    def answer(self, questions: Sequence[str]) -> list[dict[str, Any]]:
        """Return an answer for each question, in order. Raises `EquationError`."""
        started = time.perf_counter()
        equations = [parse(question).with_integers() for question in questions]
        answers = generate(self._engine, [self.prompt(equation) for equation in equations])
        elapsed_ms = round(1000 * (time.perf_counter() - started), 3)
        timing = {"queue": 0.0, "inference": elapsed_ms, "total": elapsed_ms}
        return [
            self._judge(equation, answer.best) | {"timing_ms": timing}
            for equation, answer in zip(equations, answers, strict=True)
        ]

    def prompt(self, equation: Equation) -> Prompt:
        return Prompt(self._codec.encode(self._format.prompt(equation)))

    def _judge(self, equation: Equation, hypothesis: Hypothesis) -> dict[str, Any]:
        manifest = self._manifest
        written = self._format.read(self._codec.decode(hypothesis.tokens))
        verification = verify(equation, written.answer or "")
        reason = verification.reason
        if written.answer is None and verification.verdict is Verdict.WRONG:
            reason = "the model gave no answer"
        sure = (
            confidence(manifest.calibration, score(hypothesis, self._choices))
            if manifest.calibration
            else None
        )
        return {
            "answer": written.answer,
            "solution": None if written.answer is None else {equation.variable: written.answer},
            "variable": equation.variable,
            "verdict": verification.verdict,
            "reason": reason,
            "source": "model",
            "equation": render(equation),
            "work": written.lines(equation.variable),
            "confidence": None if sure is None else round(sure, 4),
            "tries": 1,
            "model": {"name": manifest.name, "version": manifest.version},
        }
