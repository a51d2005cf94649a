"""Copies that a GPU makes later: each is complete before anything reads it or frees its source."""

from __future__ import annotations

import ctypes
from pathlib import Path

from engine.bundle import Limits
from engine.contracts import Decoding, Prompt
from engine.cuda_runtime import Lines
from engine.generate import generate
from engine.ort import OrtEngine
from tests.engine.test_step_calls import ROWS, open_plain, prompts, with_limits


class LateCopier:
    """Copies on the host, and not before `wait`: the latest that a GPU may."""

    def __init__(self) -> None:
        self.waits = 0
        self._copies: list[tuple[int, int, int]] = []

    def copy(self, to: Lines, of: Lines, *, width: int, lines: int, parts: int) -> None:
        self._copies += [
            (
                to.address + (part * to.part + line) * to.pitch,
                of.address + (part * of.part + line) * of.pitch,
                width,
            )
            for part in range(parts)
            for line in range(lines)
        ]

    def wait(self) -> None:
        self.waits += 1
        for to, of, width in self._copies:
            ctypes.memmove(to, of, width)
        self._copies.clear()


def test_late_copies_change_no_answer(writer: Path) -> None:
    """Rows join, move, are copied to each other as beams are, and outgrow their slots."""
    model = with_limits(open_plain(writer), Limits(64, 70))
    long = Decoding(min_new_tokens=60, repetition_penalty=1.5)
    asked = [*prompts(), Prompt((9, 8, 7, 1), decoding=long), Prompt((20, 1), decoding=long)]
    expected = generate(OrtEngine(model, rows=ROWS), asked)
    late = OrtEngine(model, rows=ROWS, copier=LateCopier())
    assert generate(late, asked) == expected
    assert max(len(answer.best.tokens) for answer in expected) >= 60


def test_a_join_waits_once_for_the_copies_of_all_its_rows(writer: Path) -> None:
    copier = LateCopier()
    engine = OrtEngine(open_plain(writer), rows=ROWS, copier=copier)
    engine.join({key: Prompt((*range(5, 8 + key), 1)) for key in range(ROWS - 3)})
    before = copier.waits
    beams = Prompt((8, 9, 1), decoding=Decoding(num_beams=2))
    engine.join({"beams": beams, "one more": Prompt((7, 1))})
    assert copier.waits - before == 1
