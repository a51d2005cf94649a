"""Draw the learning curve of a run: loss by step, and exact match where it was measured."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw(log: Path, out: Path) -> None:
    """Read the log of `training.train` and write a PNG."""
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    loss_axis = figure.subplots()
    exact_axis = loss_axis.twinx()
    losses = [(entry["step"], entry["loss"]) for entry in entries if "loss" in entry]
    scores = [(entry["step"], entry["exact_match"]) for entry in entries if "exact_match" in entry]
    held_out = [
        (one["step"], one["validation_loss"]) for one in entries if "validation_loss" in one
    ]
    if losses:
        loss_axis.plot(*zip(*losses, strict=True), color="tab:blue")
    if held_out:
        loss_axis.plot(*zip(*held_out, strict=True), color="tab:blue", linestyle="--", marker=".")
    if losses or held_out:
        loss_axis.set_yscale("log")
    if scores:
        exact_axis.plot(*zip(*scores, strict=True), color="tab:orange", marker="o")
    loss_axis.set_xlabel("step")
    loss_axis.set_ylabel("loss: training, validation (dashed)", color="tab:blue")
    exact_axis.set_ylabel("exact match, monitored items", color="tab:orange")
    exact_axis.set_ylim(0, 1)
    figure.savefig(out, dpi=120)
