"""Low-rank updates of attention weights (LoRA, Hu et al. 2021), merged when a model is written."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import T5ForConditionalGeneration

_TARGETS = ("q", "v")  # the paper's choice, and PEFT's for T5
_SCALE = 2.0  # of the update: alpha is twice the rank
_ORIGINAL = ".parametrizations.weight.original"


class _LowRank(nn.Module):
    """A weight with its update: `weight + scale * b @ a`."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.a = nn.Parameter(torch.randn(rank, inputs, device=weight.device) * rank**-0.5)
        self.b = nn.Parameter(torch.zeros(outputs, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + _SCALE * self.b @ self.a


def add_updates(model: T5ForConditionalGeneration, rank: int, seed: int) -> None:
    """Freeze all weights and give the queries and values of every attention an update to learn.

    The model computes the same until the first step.
    """
    model.requires_grad_(False)
    torch.manual_seed(seed)
    for name, module in list(model.named_modules()):
        if name.rpartition(".")[2] in _TARGETS and isinstance(module, nn.Linear):
            parametrize.register_parametrization(module, "weight", _LowRank(module.weight, rank))


def merged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a plain model: updates added, their factors left out."""
    plain = {name: value for name, value in state.items() if ".parametrizations." not in name}
    for name, weight in state.items():
        if name.endswith(_ORIGINAL):
            factors = name.removesuffix("original") + "0."
            update = _SCALE * state[factors + "b"] @ state[factors + "a"]
            plain[name.removesuffix(_ORIGINAL) + ".weight"] = weight + update
    return plain
