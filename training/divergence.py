"""Stop a run at the first loss, gradient or weight that is not finite, before it is saved.

Files that a run wrote before stay as they are: its last checkpoint and its best model are good.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from training.errors import RunError


class Diverged(RunError):
    """A loss, a gradient or a weight is infinite or not a number."""


def require_finite(step: int, **figures: float) -> None:
    """Raise `Diverged` if a figure of a step is not finite."""
    for name, value in figures.items():
        if not math.isfinite(value):
            raise Diverged(
                f"step {step}: {name.replace('_', ' ')} is {value}; expected a finite number. "
                "What was saved before is kept; start again with a lower learning rate"
            )


def require_finite_weights(step: int, weights: Iterable[Tensor]) -> None:
    """Raise `Diverged` if a weight is not finite, in every process that holds a shard of one."""
    # The L2 norm: the largest weight of shards (`DTensor`) would be that of this process alone.
    norm = torch.nn.utils.get_total_norm([one.detach() for one in weights])
    require_finite(step, weight_norm=float(norm))
