"""Watch PyTorch answer calibration prompts, for the fixed scales of int8 products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.contracts import Tokens
from model_export.quantisation import InputRanges
from model_export.reference import Reference


def input_ranges(
    reference: Reference, sources: Sequence[Tokens], max_new_tokens: int
) -> InputRanges:
    """Return the largest input magnitude of each linear layer while PyTorch answers `sources`."""
    ranges: dict[str, float] = {}
    with _watched(reference.model, ranges):
        reference.answers(sources, max_new_tokens)
    config = reference.checkpoint.config
    if config.scale_decoder_outputs:  # the graph scales the head instead
        ranges["lm_head"] *= config.d_model**0.5
    return ranges


@contextmanager
def _watched(model: PreTrainedModel, ranges: dict[str, float]) -> Iterator[None]:
    def watch(name: str) -> Any:
        def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            ranges[name] = max(ranges.get(name, 0.0), float(inputs[0].abs().max()))

        return note

    hooks = [
        module.register_forward_pre_hook(watch(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
