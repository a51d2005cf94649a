"""`bench.cuda` and `bench.memory` with small models on this machine's processor."""

import json
import sys
from pathlib import Path

import pytest

from bench import cuda
from bench.memory import __main__ as memory
from engine.sessions import has_cuda

ROOT = Path(__file__).resolve().parents[2]


def test_engines_are_checked_and_measured_on_a_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same code runs with `cuda`. Missing baselines are excluded, and stderr says so."""
    arguments = ["--device", "cpu", "--shape", "tiny", "--rounds", "1", "--cache", str(tmp_path)]
    assert cuda.main([*arguments, "--baselines-python", str(tmp_path / "python")]) == 0
    out, err = capsys.readouterr()
    scenarios = json.loads(out.splitlines()[-1])["scenarios"]
    assert set(scenarios) == {"tiny/batch-1", "tiny/batch-8", "tiny/batch-32"}
    for found in scenarios.values():
        assert set(found) == {
            "pytorch",
            "pytorch-bf16",
            "pytorch-bf16-compiled",
            "ours-fp32",
            "ours-fp16",
        }
        assert all(one["per_s"] > 0 for one in found.values())
    for baseline in ("optimum", "optimum-fp16", "ctranslate2-fp16"):
        assert f"left out: {baseline}: cannot load" in err


@pytest.mark.skipif(has_cuda(), reason="ONNX Runtime has CUDA here")
def test_without_a_gpu_the_command_fails_with_a_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cuda.main([]) == 1
    assert "this ONNX Runtime has no CUDA" in capsys.readouterr().err


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
