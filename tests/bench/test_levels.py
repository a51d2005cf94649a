"""Engines kept to a level of instructions, and the table of all levels."""

from pathlib import Path

import pytest

from bench.engines import by_level, levels
from engine import kernels


def test_a_level_keeps_every_engine_to_it() -> None:
    for level in levels.here():
        found = levels.environment(level)
        assert found["CYBERSOLVE_KERNELS"] == level
        assert found["CT2_FORCE_CPU_ISA"] == ("AVX2" if "avx512" not in level else "AVX512")
        assert len(found) == 5


def test_a_level_that_the_processor_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "levels", lambda: ("avx2",))
    with pytest.raises(kernels.LevelMissing, match="kernels avx512"):
        levels.environment("avx512")
    assert levels.here() == ["avx2"]


def run(excluded: dict[str, str], **per_s: float) -> dict[str, object]:
    found = {label.replace("_", "-"): {"per_s": rate} for label, rate in per_s.items()}
    scenarios = {"mini/batch-1": found, "mini/batch-8": {}}
    workloads = {"mini": {"excluded": excluded}}
    return {
        "machine": "m", "commit": "c", "rounds": 3, "scenarios": scenarios, "workloads": workloads
    }  # fmt: skip


def test_the_table_has_a_line_for_each_scenario_and_a_column_for_each_level() -> None:
    text = by_level.table(
        {
            "avx2": run({}, ours_int8=30, ctranslate2_int8=20),
            "avx512": run({}, ours_int8=50, ours_fp32=30, ctranslate2_int8=20, ctranslate2_fp32=25),
        }
    )
    assert "| | avx2 int8 | avx2 fp32 | avx512 int8 | avx512 fp32 |" in text
    assert "| mini/batch-1 | 1.50 | - | 2.00 | 1.20 |" in text  # int8 beside the faster precision
    assert text.endswith("| mini/batch-8 | - | - | - | - |\n")


def test_the_table_says_which_engine_a_level_leaves_out() -> None:
    wrong = {"ctranslate2-int8": "answers 64 of 64 differently"}
    text = by_level.table({"avx2": run(wrong, ours_int8=30, ctranslate2_fp32=20)})
    assert "| mini/batch-1 | 1.50 | - |" in text
    assert text.endswith("\n\navx2, mini: ctranslate2-int8 answers 64 of 64 differently.\n")


def test_a_level_runs_in_a_process_of_its_own_that_finds_the_bench(tmp_path: Path) -> None:
    """`--help` ends it before it measures, so that all it lacks is the file of figures."""
    with pytest.raises(FileNotFoundError, match=r"engines\.json"):
        by_level.main(["--out", str(tmp_path), "--", "--help"])
