"""The engines that are compared, their precisions, and the thread layouts that are tried."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """`workers` answer a batch each at a time, with `threads` for each."""

    workers: int
    threads: int

    def __str__(self) -> str:
        return f"{self.workers}x{self.threads}"

    @classmethod
    def read(cls, text: str) -> Layout:
        """Parse WORKERSxTHREADS. Raises `ValueError`."""
        workers, times, threads = text.partition("x")
        if not times:
            raise ValueError(f"{text!r}: expected WORKERSxTHREADS")
        return cls(int(workers), int(threads))


@dataclass(frozen=True)
class Entry:
    """An engine in one precision. The answers of an `exact` one (fp32) must equal PyTorch's."""

    label: str
    engine: str  # as `bench.engines.candidate` knows it
    python: Path
    exact: bool
    layouts: Sequence[Layout]
    shapes: Sequence[str] = ()  # only these workloads; empty: all
    options: Mapping[str, str] = field(default_factory=dict)  # of its `prepare` task


@dataclass(frozen=True)
class OursEntry:
    """A bundle of ours; by default the one that each workload's checkpoint is exported to."""

    label: str
    precision: str = "fp32"
    bundle: Path | None = None
    exact: bool = False
    shapes: Sequence[str] = ()
    layouts: Sequence[Layout] = ()  # empty: the common ones

    @classmethod
    def read(cls, text: str) -> OursEntry:
        """Parse LABEL=BUNDLE, a bundle of the mini shape. Raises `ValueError`."""
        label, equals, folder = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: expected LABEL=BUNDLE")
        return cls(f"ours-{label}", bundle=Path(folder), shapes=("mini",))


OURS = (OursEntry("ours-fp32", exact=True), OursEntry("ours-int8", precision="int8"))


def layouts(cores: int) -> list[Layout]:
    """Return the layouts to try: all cores for one batch, or one batch for each core."""
    return [Layout(1, cores), Layout(cores, 1)] if cores > 1 else [Layout(1, 1)]


def entries(
    ours: Sequence[OursEntry], baselines_python: Path, common: Sequence[Layout]
) -> list[Entry]:
    """Return the entries in the order of their turns."""
    own_python = Path(sys.executable)
    baselines = [
        Entry("pytorch", "pytorch", own_python, True, common),
        Entry("optimum", "optimum", baselines_python, True, common),
    ]
    for label, compute_type in (("fp32", "float32"), ("int8", "int8")):
        options = {"compute_type": compute_type}
        exact = label == "fp32"
        baselines.append(
            Entry(f"ctranslate2-{label}", "ctranslate2", baselines_python, exact, common,
                  options=options)
        )  # fmt: skip
    return baselines + [
        Entry(
            one.label,
            "ours",
            own_python,
            one.exact,
            one.layouts or common,
            one.shapes,
            {"bundle": str(one.bundle)} if one.bundle else {"precision": one.precision},
        )
        for one in ours
    ]
