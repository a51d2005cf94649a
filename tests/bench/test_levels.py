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


def test_the_table_has_a_line_for_each_scenario_and_a_column_for_each_level() -> None:
    def run(ours: float, theirs: float) -> dict[str, object]:
        found = {"ours-int8": {"per_s": ours}, "ctranslate2-int8": {"per_s": theirs}}
        scenarios = {"mini/batch-1": found, "mini/batch-8": {}}
        return {"machine": "m", "commit": "c", "rounds": 3, "scenarios": scenarios}

    text = by_level.table({"avx2": run(30, 20), "avx512": run(50, 20)})
    assert "| | avx2 int8 | avx2 fp32 | avx512 int8 | avx512 fp32 |" in text
    assert "| mini/batch-1 | 1.50 | - | 2.50 | - |" in text
    assert "| mini/batch-8 | - | - | - | - |" in text


def test_a_level_runs_in_a_process_of_its_own_that_finds_the_bench(tmp_path: Path) -> None:
    """`--help` ends it before it measures, so that all it lacks is the file of figures."""
    with pytest.raises(FileNotFoundError, match=r"engines\.json"):
        by_level.main(["--out", str(tmp_path), "--", "--help"])
