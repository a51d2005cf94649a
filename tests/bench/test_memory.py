"""`bench.memory` with small models."""

import json
import sys
from pathlib import Path

import pytest

from bench.memory import __main__ as memory

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_loading_and_serving(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--questions", "400", "--cache", str(tmp_path), "--skip-base"]
    assert memory.main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert "cores" in report["machine"]
    assert report["commit"]
    graphs = [ROOT / "models/cybersolve-mini" / f"{name}.onnx" for name in ("encoder", "decoder")]
    size = sum(path.stat().st_size for path in graphs) / 2**20
    loading = report["loading"]["mini"]
    assert loading["weights_mib"] == pytest.approx(size, abs=0.1)
    assert loading["peak_mib"] > 0
    assert loading["ratio"] == pytest.approx(loading["peak_mib"] / size, abs=0.02)
    assert len(report["serving_mib"]) == 10
    assert all(resident > report["empty_mib"] for resident in report["serving_mib"])
