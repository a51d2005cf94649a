"""The throughput by the number of HTTP processes, measured for a moment."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.shards import main


@pytest.mark.ops
def test_every_number_of_processes_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moment = ["--seconds", "1", "--rounds", "1", "--callers", "8", "--log", str(tmp_path)]
    assert main([*moment, "--one-core", "--processes", "1", "2"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found["by_processes"]) == {"1 on one core", "1", "2"}
    for turn in found["by_processes"].values():
        assert turn["per_s"] > 0
        assert turn["failed"] == 0
    assert found["times_one_core"] > 0


def test_the_load_leaves_a_core_for_the_servers(capsys: pytest.CaptureFixture[str]) -> None:
    cores = len(os.sched_getaffinity(0))
    assert main(["--load-cores", str(cores)]) == 1
    assert capsys.readouterr().err == f"error: --load-cores is {cores} of {cores}\n"
