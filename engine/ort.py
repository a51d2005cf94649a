"""T5 decoding on ONNX Runtime, in rows that join and leave between steps.

A bundle has two graphs (see `model_export.graphs`). The encoder runs once for each prompt and
returns the keys and values that every decoder layer attends to. The decoder makes one step for all
rows, each at its own position.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from engine.bundle import CANDIDATES, DECODER, DRAW, ENCODER, TOKENIZER, Manifest
from engine.contracts import Answer, Progress, Prompt, Tokens
from engine.cuda_runtime import Copier
from engine.device_arrays import DeviceArray
from engine.kernels import CUDA_GRAPHS, ON_GPU, LevelMissing, use, use_on_gpu
from engine.kv_slots import KVSlots
from engine.memory import free_memory, row_bytes, rows_that_fit, told_out_of_memory
from engine.sessions import device_of, open_sessions
from engine.tokens import TextCodec

# Tokens in one call of the encoder. FLAN-T5-base's keys and values of so many take 300 MB in fp32;
# larger calls are no faster.
_MOST_ENCODED = 4096


class OrtModel:
    """The graphs of the bundle in `folder`, loaded once for any number of engines.

    `threads` share the arithmetic of one call. `provider` is `auto`, `cpu` or `cuda`. `kernels` is
    the level of our kernels on a CPU or, with provider `cuda`, those on a GPU, one of
    `kernels.CHOICES`.

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
        on_gpu = kernels in ON_GPU
        if on_gpu and provider != "cuda":
            raise LevelMissing(f"kernels {kernels}: they run on a GPU; expected provider cuda")
        self.captured = kernels == CUDA_GRAPHS
        self.provider, (self.encoder, self.decoder, *self.choosing) = open_sessions(
            [folder / name for name in names],
            threads=threads,
            provider=provider,
            kernels=None if on_gpu else use(kernels),
            gpu_kernels=use_on_gpu(kernels),
            captured=folder / DECODER if self.captured else None,
        )
        self.device = device_of(self.provider)

    def decode(self, tokens: Tokens) -> str:
        """Return the text of `tokens`, to find texts to stop at."""
        return self._codec.decode(tokens)

    @cached_property
    def _codec(self) -> TextCodec:  # only loaded where it is needed
        return TextCodec(self._folder / TOKENIZER)


class OrtEngine:
    """Implement `engine.contracts.Engine`: decode up to `rows` answers of a model at a time.

    On a GPU there are no more rows than its memory holds, by `free()`, its free bytes. Rows are
    copied by `copier`: see `DeviceArray`. Raises `OutOfMemory` where the GPU holds no row.
    """

    def __init__(
        self,
        model: OrtModel,
        *,
        rows: int,
        free: Callable[[], int] = free_memory,
        copier: Copier | None = None,
    ) -> None:
        self._model = model
        if model.device == "cuda":
            _encode_most(model)  # its memory stays ONNX Runtime's, and is not free any more
            row = row_bytes(model.architecture, model.limits, model.decoder)
            rows = rows_that_fit(row, free(), rows)
        self._rows = KVSlots(
            model.architecture,
            model.decoder,
            capacity=rows,
            columns=model.limits.max_new_tokens,
            choosing=model.choosing,
            decode=model.decode,
            device=model.device,
            copier=copier,
            captured_sources=model.limits.max_source_tokens if model.captured else None,
        )

    @property
    def rows(self) -> int:
        return self._rows.capacity

    @property
    def active(self) -> int:
        return self._rows.active

    @told_out_of_memory
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
            self._rows.finish_copies()  # before `cross` is freed

    def _encode(self, sources: Sequence[Tokens]) -> list[DeviceArray]:
        return _encode(self._model, self._rows.cross_outputs, sources)

    @told_out_of_memory
    def step(self) -> dict[Hashable, Answer]:
        return self._rows.step() if self.active else {}

    def written(self, key: Hashable, since: int) -> Progress:
        return self._rows.written(key, since)

    def leave(self, keys: Collection[Hashable]) -> None:
        self._rows.remove(keys)

    def clear(self) -> None:
        self._rows.clear()


def _encode(
    model: OrtModel, outputs: Sequence[str], sources: Sequence[Tokens]
) -> list[DeviceArray]:
    """Return the keys and values of all sources in turn, on the model's device; in 8 bits their
    scales too.
    """
    binding = model.encoder.io_binding()
    tokens = np.fromiter(chain.from_iterable(sources), np.int64)
    binding.bind_cpu_input("source", tokens)
    binding.bind_cpu_input("source_lengths", np.array([*map(len, sources)], np.int32))
    for name in outputs:
        binding.bind_output(name, model.device)
    model.encoder.run_with_iobinding(binding)
    return [DeviceArray(value, model.device) for value in binding.get_outputs()]


@told_out_of_memory
def _encode_most(model: OrtModel) -> None:
    """Encode as much as one call may have, of the longest sources."""
    longest = min(model.limits.max_source_tokens, _MOST_ENCODED)
    sources = [(model.architecture.eos_id,) * longest] * (_MOST_ENCODED // longest)
    _encode(model, [value.name for value in model.encoder.get_outputs()], sources)


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
