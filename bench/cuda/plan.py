"""The steps of a comparison on a GPU, in the order of their worth. Pure; standard library only.

The order decides what a run that is cut off has found: for each shape the reference and our own
engine come first, and within an engine large batches of short answers.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_SEED = 13
_FIRST_ORDINARY = 3  # ids below are padding, unknown and other special tokens
PARITY = "parity"
TRACE = "trace"
TIMES = "times"


@dataclass(frozen=True)
class Case:
    """One measurement: `questions` of `source_tokens` each, answered in `new_tokens` steps.

    At most `rows` are decoded together. With `least_source_tokens` the sources differ in length.
    """

    rows: int
    source_tokens: int
    new_tokens: int
    questions: int = 0  # 0: one batch, of `rows`
    least_source_tokens: int = 0  # 0: all of `source_tokens`

    @property
    def name(self) -> str:
        kind = f"stream of {self.questions}, " if self.questions else ""
        return f"{kind}{self.rows} rows, {self.source_tokens} in, {self.new_tokens} out"

    def sources(self, vocabulary: int) -> list[list[int]]:
        """Return sources of random ids, the same for every engine; the last id is the end token."""
        chance = random.Random(_SEED)
        least = self.least_source_tokens or self.source_tokens
        return [
            [
                chance.randrange(_FIRST_ORDINARY, vocabulary - 1)
                for _ in range(chance.randint(least, self.source_tokens) - 1)
            ]
            + [vocabulary - 1]
            for _ in range(self.questions or self.rows)
        ]


_ROWS = (32, 128, 1, 8, 512)
CASES = (
    *(Case(rows, 40, 4) for rows in _ROWS[:2]),
    *(Case(rows, 40, 16) for rows in _ROWS[:2]),
    Case(1, 40, 4),
    Case(1, 40, 16),
    Case(128, 40, 16, questions=1024, least_source_tokens=20),
    Case(32, 256, 64),
    *(Case(rows, 40, new_tokens) for rows in _ROWS[3:] for new_tokens in (4, 16)),
    *(Case(rows, 256, 64) for rows in (128, 1, 8, 512)),
)
# For a try on a CPU: each kind of case once.
SMALL_CASES = (Case(4, 20, 4), Case(1, 20, 4), Case(4, 20, 4, questions=10, least_source_tokens=8))
PARITY_CASE = Case(64, 40, 16, least_source_tokens=20)


@dataclass(frozen=True)
class Engine:
    """An engine in one precision, and our own with one kind of kernels."""

    label: str
    kind: str  # ours, pytorch, ctranslate2 or optimum
    limit_s: float  # of its process for one shape
    options: Mapping[str, str] = field(default_factory=dict)
    shapes: Collection[str] = ()  # empty: all
    timed: bool = True  # False: compared with the reference alone
    usual: bool = True  # False: runs only where it is asked for by name

    @property
    def ours(self) -> bool:
        return self.kind == "ours"


REFERENCE = Engine("pytorch-fp32", "pytorch", 60.0, {"dtype": "float32"}, timed=False)


def engines(device: str, kernels: Sequence[str]) -> list[Engine]:
    """Return the engines in the order of their turns; ours has a variant for each of `kernels`.

    On a CPU CTranslate2 has no float16, and compiling is left to PyTorch's eager mode.
    """
    gpu = device == "cuda"
    return [
        *(
            Engine(f"ours-fp16-{name}", "ours", 75.0, {"precision": "fp16", "kernels": name})
            for name in kernels
        ),
        Engine("ours-fp16-attention24", "ours", 75.0,
               {"precision": "fp16", "kernels": "none", "cross_attention": "24"}, usual=False),
        Engine("ctranslate2-fp16", "ctranslate2", 60.0,
               {"compute_type": "float16" if gpu else "float32"}),
        Engine("pytorch-bf16-compiled", "pytorch", 100.0, {"dtype": "bfloat16", "compiled": "1"}),
        Engine("pytorch-bf16", "pytorch", 45.0, {"dtype": "bfloat16"}),
        Engine("pytorch-fp16", "pytorch", 30.0, {"dtype": "float16"}, timed=False),
        Engine("optimum", "optimum", 120.0, {"dtype": "fp16" if gpu else "fp32"},
               shapes=("flan-base", "tiny")),
    ]  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One process: an engine on a shape, for `parity` alone, a `trace`, or parity and `times`."""

    shape: str
    engine: Engine
    work: str
    limit_s: float


def steps(shapes: Sequence[str], chosen: Sequence[Engine], real: Collection[str]) -> list[Step]:
    """Return the steps for `shapes` in turn; those in `real` have trained weights and no times.

    Optimum comes last: it exports the model first. It and the compiled engine are timed alone, as
    they take a minute for the first answer.
    """
    ordered: list[Step] = []
    for shape in shapes:
        here = [engine for engine in chosen if not engine.shapes or shape in engine.shapes]
        ordered.append(Step(shape, REFERENCE, PARITY, REFERENCE.limit_s))
        if shape not in real and shape == next(one for one in shapes if one not in real):
            ordered += _traces(shape, here)
        for engine in here:
            work = TIMES if engine.timed and shape not in real else PARITY
            if shape in real and (engine.kind == "optimum" or "compiled" in engine.options):
                continue
            ordered.append(Step(shape, engine, work, engine.limit_s))
    return sorted(ordered, key=lambda step: step.engine.kind == "optimum")


def _traces(shape: str, here: Sequence[Engine]) -> Iterator[Step]:
    """Yield a trace of each of our variants: placement and kernels say what to fix first."""
    for engine in here:
        if engine.ours:
            yield Step(shape, engine, TRACE, 40.0)


def none_of_ours_ran(ended: Sequence[tuple[Step, str]], following: Step) -> bool:
    """Return True where a shape is done and every variant of ours failed: what is left would only
    measure others.
    """
    ours = [status for step, status in ended if step.engine.ours]
    return bool(ours) and "done" not in ours and following.shape != ended[-1][0].shape


def limit_s(step: Step, left_s: float) -> float | None:
    """Return the time that a step may take of the `left_s` that are left; None: too little."""
    least_s = min(10.0, step.limit_s)  # loading alone takes longer
    return min(step.limit_s, left_s) if left_s >= least_s else None
