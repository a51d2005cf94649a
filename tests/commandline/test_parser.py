"""The command line of every command: ranges, one-line errors, defaults in help."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable

import pytest

import service.cli
from commandline.parser import Parser
from commandline.ranges import COUNT, COUNT_OR_NONE, SHARE, integer, number, several

TRAINING = ["data", "import", "train", "finetune", "card", "evaluate", "calibrate"]
EXPORT = ["export", "describe", "parity", "single"]
COMMANDS = [
    *(("training", name) for name in TRAINING),
    *(("model_export", name) for name in EXPORT),
    *(("loadtest", name) for name in ("rate", "callers", "ceiling")),
    ("bench.engines", ""),
    ("bench.servers", ""),
    ("bench.cuda", ""),
    ("bench.cuda.wheels", "pack"),
    ("bench.cuda.wheels", "install"),
    ("bench.memory", ""),
    *(("service.cli", name) for name in ("serve", "solve", "batch")),
]


def main_of(module: str) -> Callable[[list[str]], int]:
    if module == "service.cli":
        return service.cli.main
    found: Callable[[list[str]], int] = importlib.import_module(f"{module}.__main__").main
    return found


def error_of(capsys: pytest.CaptureFixture[str], module: str, *words: str) -> str:
    """Return the one line that a mistake in the arguments gives."""
    with pytest.raises(SystemExit, match="2"):
        main_of(module)(list(words))
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("module", "words", "expected"),
    [
        ("training", "data --train -5", "argument --train: '-5'; expected a whole number of at"),
        ("training", "data --workers 0", "argument --workers: '0'"),
        ("training", "data --seed -1", "argument --seed: '-1'"),
        ("training", "train --batch-tokens 0", "argument --batch-tokens: '0'"),
        ("training", "train --lr nan", "argument --lr: 'nan'; expected a number over 0"),
        ("training", "train --warmup-steps 0", "argument --warmup-steps: '0'"),
        ("training", "finetune --base b --batch-size -5", "argument --batch-size: '-5'"),
        ("training", "finetune --base b --share 7", "argument --share: '7'; expected a number over "
         "0 and at most 1"),
        ("training", "finetune --base b --phases 3:inf", "argument --phases: phases '3:inf'; "
         "expected at least one epoch, and finite rates over 0"),
        ("training", "finetune --base b --accumulate 0", "argument --accumulate: '0'"),
        ("training", "evaluate m --limit -3", "argument --limit: '-3'"),
        ("model_export", "export r --out o --parity 0", "argument --parity: '0'"),
        ("model_export", "export r --out o --least-equal 1.5", "argument --least-equal: '1.5'"),
        ("model_export", "export r", "the following arguments are required: --out"),
        ("loadtest", "rate --rates 5,x", "argument --rates: 'x'; expected a number over 0"),
        ("loadtest", "callers --callers 1.5", "argument --callers: '1.5'"),
        ("bench.engines", "--rounds 0", "argument --rounds: '0'"),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused_in_one_line(
    module: str, words: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error_of(capsys, module, *words.split()).startswith(f"error: {expected}")


@pytest.mark.parametrize(("module", "name"), COMMANDS)
def test_help_shows_every_default(
    module: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Check every option that takes a value; a required one has no brackets in the usage."""
    with pytest.raises(SystemExit, match="0"):
        main_of(module)([name, "--help"] if name else ["--help"])
    usage, _, text = re.sub(r"\s+", " ", capsys.readouterr().out).partition(" options: ")
    options = re.findall(r"(--[\w-]+) ([A-Z{][^ ]*(?: \.\.\.\])?) (.*?)(?= --[a-z]|$)", text)
    silent = [
        flag
        for flag, _, described in options
        if "default" not in described and re.search(rf"\[{flag}\b", usage)
    ]
    assert not silent


def test_defaults_that_a_preset_decides_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main_of("training")(["finetune", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(default: 3:0.0003,2:0.0001 of research, 3:0.0001 of downsampled)" in text
    assert "(default: 128 of research, 32 of downsampled)" in text


@pytest.mark.parametrize("text", ["-1", "0.5", "", "x", "1e3"])
def test_counts_are_whole_numbers(text: str) -> None:
    parser = Parser()
    parser.add_argument("n", type=COUNT)
    with pytest.raises(SystemExit):
        parser.parse_args(["--", text])


def test_what_lies_within_a_range_is_read() -> None:
    assert (COUNT("1"), COUNT_OR_NONE("0"), integer(2, 4)("4")) == (1, 0, 4)
    assert (SHARE("1"), number(or_zero=True)("0"), several(COUNT)("1,2")) == (1.0, 0.0, [1, 2])
