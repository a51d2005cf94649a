"""The comparison of ways to mend wrong answers counts what is mended and what is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.alternatives import Bench, main
from engine.bundle import TOKENIZER
from engine.contracts import Answer, Decoding, Prompt
from engine.echo import EchoEngine, hypothesis
from engine.tokens import TextCodec
from tests.fakes import answer_ids, doubtful_answer
from training import data

MENDED, RIGHT, HOPELESS = "Solve 3*x = 12 for x.", "Solve 2*x = 10 for x.", "Solve 4*x = 12 for x."
QUESTIONS = [MENDED, RIGHT, "Solve x*x = 4 for x.", HOPELESS]  # the third is not linear


class Stubborn(EchoEngine):
    """Answers 5 to every question, and 4 to every further attempt."""

    def __init__(self, codec: TextCodec) -> None:
        super().__init__()
        self._codec = codec

    def _answer_of(self, prompt: Prompt) -> Answer:
        four = hypothesis(answer_ids(self._codec, "x0: q0=4"))
        further = [four] * prompt.decoding.num_return_sequences
        return Answer(
            tuple(further) if prompt.forced else (doubtful_answer(self._codec), *further[1:])
        )


@pytest.fixture
def bench(bundle: Path) -> Bench:
    made = Bench(bundle)
    made.engine = Stubborn(TextCodec(bundle / TOKENIZER))
    return made


@pytest.mark.parametrize(("most", "written"), [(9, 3 + 7), (4, 3 + 4), (1, 1 + 1)])
def test_deviations_end_with_the_round_that_mends(bench: Bench, most: int, written: int) -> None:
    """The other question has 4 that deviate from the first answer, and 3 from those that follow."""
    wrong = bench.wrong(QUESTIONS)
    assert [one.equation.solution() for one in wrong] == [4, 3]
    assert bench.deviations(wrong, most) == (1, written)


@pytest.mark.parametrize(("beams", "mended"), [(1, 0), (3, 1)])
def test_beams_are_all_written(bench: Bench, beams: int, mended: int) -> None:
    decoding = Decoding(num_beams=beams, num_return_sequences=beams)
    assert bench.together(bench.wrong(QUESTIONS), decoding) == (mended, 2 * beams)


def test_the_command_compares_every_way_with_a_real_engine(
    bundle: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Random weights answer nothing right, so that every way writes as much as it may."""
    file = data.split_file(dataset, data.TEST_SPLIT)
    arguments = [str(bundle), str(file), "--questions", "4", "--most", "2"]
    monkeypatch.setattr(sys, "argv", ["bench.alternatives", *arguments])
    main()
    figures = json.loads(capsys.readouterr().out)
    ways = {way: figures.pop(way) for way in ("deviations", "beams", "samples")}
    assert figures == {"split": file.parent.name, "questions": 4, "wrong": 4}
    for way in ways.values():
        assert way.pop("cpu_s") >= 0
        assert way == {"mended": 0, "written": 8}
