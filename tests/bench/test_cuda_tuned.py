"""`bench.cuda.tuned` on this machine's processor: a tiny model is fine-tuned, served and asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cuda.tuned import __main__ as tuned
from engine.sessions import has_cuda


def test_a_model_is_fine_tuned_served_and_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    status = tuned.main([
        "--device", "cpu", "--shape", "tiny", "--rate", "0.003",
        "--callers", "1", "8", "--turn-seconds", "0.2",
        "--out", str(out), "--cache", str(tmp_path / "cache"),
    ])  # fmt: skip
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (status, report["status"]) == (0, "done")
    assert json.loads(out.read_text()) == report
    losses = [entry["loss"] for entry in report["training"] if "loss" in entry]
    assert losses[-1] < losses[0]
    served = report["served"]
    assert served["equal_to_pytorch"] == served["texts"] == 128
    for callers in ("1 callers", "8 callers"):
        assert served[callers]["per_s"] > 0
        assert served[callers]["failed"] == 0


def test_without_time_nothing_starts_and_the_report_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = tuned.main([
        "--device", "cpu", "--shape", "tiny", "--seconds", "0.001",
        "--out", str(tmp_path / "report.json"), "--cache", str(tmp_path / "cache"),
    ])  # fmt: skip
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (status, report["status"]) == (1, "base: not reached")


@pytest.mark.skipif(has_cuda(), reason="ONNX Runtime has CUDA here")
def test_without_a_gpu_the_command_fails_with_a_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tuned.main([]) == 1
    assert "this ONNX Runtime has no CUDA" in capsys.readouterr().err
