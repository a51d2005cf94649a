"""Plan a fine-tuning run: settings, the research's presets, learning rates by step. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from training.errors import RunError


@dataclass(frozen=True)
class Phase:
    """Epochs with an optimiser of their own, whose learning rate falls linearly to zero."""

    epochs: int
    lr: float


@dataclass(frozen=True)
class Settings:
    """The settings that, with the data, determine the weights of a run."""

    base: str
    phases: tuple[Phase, ...] = (Phase(3, 3e-4), Phase(2, 1e-4))
    batch_size: int = 128  # examples a step, over all processes
    share: float = 1.0  # of the training data
    prompt_format: str | None = "text"  # None: pairs of one's own
    precision: str = "auto"  # of the forward pass: fp32, bf16, or bf16 where CUDA has it
    weight_decay: float = 0.0
    evaluate_every: int | None = None  # steps; None: at the end of each epoch
    monitored: int = 500  # test questions answered at each evaluation
    patience: int = 0  # evaluations without a better score before the run ends; 0: never
    seed: int = 0
    optimiser: str = "adamw"
    warmup_steps: int = 0  # of the run, over which learning rates rise linearly
    label_smoothing: float = 0.0
    lora: int = 0  # rank of the updates of attention weights; 0: all weights learn
    best: str = "exact_match"  # the score whose best model is kept
    prefix: str = ""  # of each source text of one's own
    max_source_tokens: int | None = None  # longer texts are cut; None: none is
    max_target_tokens: int | None = None

    @property
    def limits(self) -> tuple[int | None, int | None]:
        return self.max_source_tokens, self.max_target_tokens


@dataclass(frozen=True)
class PairFiles:
    """The files of a user's own pairs (`training.pairs`), and their columns."""

    training: Path
    validation: Path | None = None  # None: a part of the training pairs is held out
    source: str = "source"
    target: str = "target"


@dataclass(frozen=True)
class Layout:
    """The layout of a step; it changes weights only by rounding."""

    accumulate: int = 1  # passes that make one step of one process
    gradient_checkpointing: bool = False


OPTIMISERS = ("adamw", "adafactor")
# By which the best model may be chosen; of a loss the lowest is best.
SCORES = ("exact_match", "rouge_1", "rouge_2", "rouge_l", "bleu", "chrf", "validation_loss")
DEFAULT_PRESET = "research"
# The research's runs. Batches are over all processes: two A100 took 64 each of the 128.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    DEFAULT_PRESET: {},
    "downsampled": {"phases": (Phase(3, 1e-4),), "batch_size": 32, "share": 0.1},
}


@dataclass(frozen=True)
class Plan:
    """Phases laid out in steps, counted from 0."""

    phases: tuple[Phase, ...]
    steps_per_epoch: int
    warmup_steps: int = 0

    @property
    def steps(self) -> int:
        return self._ends()[-1]

    def begins_phase(self, step: int) -> bool:
        return step in (0, *self._ends()[:-1])

    def ends_epoch(self, steps: int) -> bool:
        """Return True if an epoch is complete after this many steps."""
        return steps % self.steps_per_epoch == 0

    def lr(self, step: int) -> float:
        """Return the learning rate of a step."""
        start = 0
        rising = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        for phase, end in zip(self.phases, self._ends(), strict=True):
            if step < end:
                return rising * phase.lr * (end - step) / (end - start)
            start = end
        return 0.0

    def _ends(self) -> list[int]:
        return list(accumulate(phase.epochs * self.steps_per_epoch for phase in self.phases))


def read_phases(text: str) -> tuple[Phase, ...]:
    """Read `EPOCHS:RATE,...`: `3:3e-4,2:1e-4` is three epochs, then two. Raises `RunError`."""
    try:
        pairs = [part.split(":") for part in text.split(",")]
        phases = tuple(Phase(int(epochs), float(lr)) for epochs, lr in pairs)
    except ValueError as error:
        raise RunError(f"phases {text!r}; expected EPOCHS:RATE, as in 3:3e-4,2:1e-4") from error
    if any(phase.epochs < 1 or not 0 < phase.lr < math.inf for phase in phases):
        raise RunError(f"phases {text!r}; expected at least one epoch, and finite rates over 0")
    return phases
