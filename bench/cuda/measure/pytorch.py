"""transformers on PyTorch: the reference in fp32, and a baseline in half precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from bench.cuda.agreement import Scored
from bench.cuda.measure.candidate import Rows, batches
from bench.engines.candidate.pytorch import load_model, static_caches
from model_export.greedy import greedy

_CACHE_STEPS = 16  # a static cache has room for a multiple of so many


class PyTorch:
    """Implement `Candidate`; with the option `compiled`, over a static cache."""

    def __init__(self, checkpoint: Path, device: str, options: Mapping[str, str]) -> None:
        self._model = load_model(checkpoint, device, options["dtype"])
        self._caches = static_caches(self._model) if "compiled" in options else None

    @torch.inference_mode()
    def answer(self, sources: Rows, new_tokens: int, rows: int) -> Rows:
        answers: Rows = []
        for batch in batches(sources, rows):
            cache = None
            if self._caches is not None:
                # Each length of a cache is compiled anew, which takes longer than all else here.
                steps = -(-new_tokens // _CACHE_STEPS) * _CACHE_STEPS
                cache = self._caches(len(batch), max(map(len, batch)), steps)
                cache.reset()
            answers += greedy(self._model, batch, max_new_tokens=new_tokens, cache=cache)
        return answers

    def scored(self, sources: Rows, new_tokens: int) -> list[Scored]:
        if self._caches is not None:  # an observer would leave the compiled path
            return [Scored(row) for row in self.answer(sources, new_tokens, len(sources))]
        steps: list[Tensor] = []

        def observe(_: Tensor, scores: Tensor) -> Tensor:
            steps.append(scores.float().log_softmax(-1).topk(2).values.cpu())
            return scores

        rows = greedy(self._model, sources, max_new_tokens=new_tokens, observer=observe)
        likeliest = torch.stack(steps, 1)  # (rows, steps, 2)
        leads = likeliest[..., 0] - likeliest[..., 1]
        return [
            Scored(row, likeliest[index, : len(row), 0].tolist(), leads[index].tolist())
            for index, row in enumerate(rows)
        ]

    def facts(self) -> dict[str, Any]:
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        if self._model.device.type == "cpu":
            return {"versions": versions, "device": "cpu"}
        card = torch.cuda.get_device_properties(0)
        return {
            "versions": {**versions, "cuda": torch.version.cuda},
            "device": card.name,
            "memory_gib": round(card.total_memory / 2**30, 1),
        }
