"""Answers of the graphs that optimum wrote, run as they are, to compare a bundle's with.

Every step decodes the whole answer again without a cache: slow, and with nothing to go wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np
from tqdm import tqdm

from engine.contracts import Tokens
from engine.cpu import available_cpus
from engine.sessions import open_sessions
from model_export.checkpoint.optimum_graphs import decoder_of
from model_export.checkpoint.reading import Checkpoint
from model_export.checkpoint.tensors import OPTIMUM
from model_export.reference import Answer


class GraphReference:
    """The encoder and decoder of optimum's folder, decoding greedily."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        paths = [checkpoint.folder / OPTIMUM, decoder_of(checkpoint.folder)]
        _, (self._encoder, self._decoder) = open_sessions(
            paths, threads=available_cpus(), provider="cpu"
        )

    def answers(self, sources: Sequence[Tokens], max_new_tokens: int) -> list[Answer]:
        """Return the answers to `sources` (token ids, end token included)."""
        return [
            self._answer(source, max_new_tokens)
            for source in tqdm(sources, desc="optimum's graphs", unit="row")
        ]

    def _answer(self, source: Tokens, max_new_tokens: int) -> Answer:
        generation = self._checkpoint.generation
        ids, mask = np.array([source], np.int64), np.ones((1, len(source)), np.int64)
        (hidden,) = self._encoder.run(None, {"input_ids": ids, "attention_mask": mask})
        chosen: list[int] = []
        logprobs: list[float] = []
        while len(chosen) < max_new_tokens and generation.eos_id not in chosen:
            written = np.array([[generation.start_id, *chosen]], np.int64)
            inputs = {
                "input_ids": written,
                "encoder_hidden_states": hidden,
                "encoder_attention_mask": mask,
                **self._unused(),
            }
            logits = self._decoder.run(["logits"], inputs)[0][0, -1].astype(np.float64)
            logits[list(generation.suppressed)] = -np.inf
            chosen.append(int(logits.argmax()))
            shifted = logits - logits.max()
            logprobs.append(float(-np.log(np.exp(shifted).sum())))
        tokens = list(takewhile(lambda token: token != generation.eos_id, chosen))
        return Answer(tokens, logprobs)

    def _unused(self) -> dict[str, Any]:
        """Return the inputs of a merged decoder that its branch without a cache does not read."""
        config = self._checkpoint.config
        past = np.zeros((1, config.num_heads, 1, config.d_kv), np.float32)
        names = [value.name for value in self._decoder.get_inputs()]
        unused: dict[str, Any] = {name: past for name in names if name.startswith("past_")}
        if "use_cache_branch" in names:
            unused["use_cache_branch"] = np.array([False])
        return unused
