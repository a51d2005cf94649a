"""T5 decoding on ONNX Runtime, in rows that join and leave between steps.

A bundle has two graphs (see `model_export.graphs`). The encoder runs once for each prompt and
returns the keys and values that every decoder layer attends to. The decoder makes one step for all
rows, each at its own position.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from engine.bundle import CANDIDATES, DECODER, DRAW, ENCODER, TOKENIZER, Manifest
from engine.contracts import Answer, Prompt, Tokens
from engine.device_arrays import DeviceArray
from engine.kernels import use
from engine.kv_slots import KVSlots
from engine.sessions import device_of, open_sessions
from engine.tokens import TextCodec

# Tokens in one call of the encoder. FLAN-T5-base's keys and values of so many take 300 MB in fp32;
# larger calls are no faster.
_MOST_ENCODED = 4096


class OrtModel:
    """The graphs of the bundle in `folder`, loaded once for any number of engines.

    `threads` share the arithmetic of one call. `provider` is `auto`, `cpu` or `cuda`. `kernels` is
    the level of our kernels on a CPU, one of `kernels.CHOICES`.

    Raises `sessions.ProviderMissing` and `kernels.LevelMissing`.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        threads: int,
        provider: str = "auto",
        kernels: str = "auto",
    ) -> None:
        self.architecture = manifest.architecture
        self.limits = manifest.limits
        names = (ENCODER, DECODER, *((CANDIDATES, DRAW) if manifest.has_settings else ()))
        self._folder = folder
        self.provider, (self.encoder, self.decoder, *self.choosing) = open_sessions(
            [folder / name for name in names],
            threads=threads,
            provider=provider,
            kernels=use(kernels),
        )
        self.device = device_of(self.provider)

    def decode(self, tokens: Tokens) -> str:
        """Return the text of `tokens`, to find texts to stop at."""
        return self._codec.decode(tokens)

    @cached_property
    def _codec(self) -> TextCodec:  # only loaded where it is needed
        return TextCodec(self._folder / TOKENIZER)


class OrtEngine:
    """Implement `engine.contracts.Engine`: decode up to `rows` answers of a model at a time."""

    def __init__(self, model: OrtModel, *, rows: int) -> None:
        self._model = model
        self._rows = KVSlots(
            model.architecture,
            model.decoder,
            capacity=rows,
            columns=model.limits.max_new_tokens,
            choosing=model.choosing,
            decode=model.decode,
            device=model.device,
        )

    @property
    def rows(self) -> int:
        return self._rows.capacity

    @property
    def active(self) -> int:
        return self._rows.active

    def join(self, prompts: Mapping[Hashable, Prompt]) -> None:
        rows = sum(prompt.rows for prompt in prompts.values())
        if rows > self.rows - self.active:
            raise ValueError(f"{rows} rows for {self.rows - self.active} free ones")
        self._rows.make_room(max(len(prompt.source) for prompt in prompts.values()))
        for call in _calls(prompts):
            cross = self._encode([prompt.source for _, prompt in call])
            begin = 0
            for key, prompt in call:
                self._rows.add(key, prompt, cross, begin)
                begin += len(prompt.source)

    def _encode(self, sources: Sequence[Tokens]) -> list[DeviceArray]:
        """Return the keys and values of all sources in turn, on the model's device; in 8 bits their
        scales too.
        """
        binding = self._model.encoder.io_binding()
        tokens = np.fromiter(chain.from_iterable(sources), np.int64)
        binding.bind_cpu_input("source", tokens)
        binding.bind_cpu_input("source_lengths", np.array([*map(len, sources)], np.int32))
        for name in self._rows.cross_outputs:
            binding.bind_output(name, self._model.device)
        self._model.encoder.run_with_iobinding(binding)
        return [DeviceArray(value, self._model.device) for value in binding.get_outputs()]

    def step(self) -> dict[Hashable, Answer]:
        return self._rows.step() if self.active else {}

    def written(self, key: Hashable) -> list[int]:
        return self._rows.written(key)

    def leave(self, keys: Collection[Hashable]) -> None:
        self._rows.remove(keys)

    def clear(self) -> None:
        self._rows.clear()


def _calls(prompts: Mapping[Hashable, Prompt]) -> Iterator[list[tuple[Hashable, Prompt]]]:
    """Divide prompts into the encoder's calls, of `_MOST_ENCODED` tokens or a single prompt."""
    call: list[tuple[Hashable, Prompt]] = []
    tokens = 0
    for key, prompt in prompts.items():
        if call and tokens + len(prompt.source) > _MOST_ENCODED:
            yield call
            call, tokens = [], 0
        call.append((key, prompt))
        tokens += len(prompt.source)
    yield call
