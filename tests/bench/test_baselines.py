"""The real baselines take part in the comparison of engines, with the shipped model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASELINES = ROOT / os.environ.get("BASELINES", ".venv-baselines")
EXACT = ("pytorch", "optimum", "ctranslate2-fp32")


@pytest.mark.baselines
def test_each_baseline_in_fp32_gives_the_tokens_of_pytorch(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "bench.engines", "--quick", "--only", "mini", *EXACT, "batch-1",
        "--layout", "1x1", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"),
        "--baselines-python", str(BASELINES / "bin" / "python"),
    ]  # fmt: skip
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    (report,) = json.loads((tmp_path / "out" / "engines.json").read_text())["workloads"].values()
    assert report["excluded"] == {}
    assert report["agreement"] == dict.fromkeys(EXACT, 1.0)
