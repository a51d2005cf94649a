"""Greedy T5 generation on ONNX Runtime.

Two graphs (see `model_export.graphs`): the encoder gives, once a batch, the keys and values that
every decoder layer attends to; the decoder makes one step for all rows, from the last tokens and
the self-attention cache to the next tokens and the cache grown by one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from service.contracts import Generation, Phases, Tokens
from service.engine.bundle import DECODER, ENCODER, Manifest

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class ProviderMissing(ValueError):
    """CUDA was asked for, and this installation or machine has none."""


class OrtEngine:
    """Implements `service.contracts.Engine` for the bundle in `folder`.

    `threads` is for the arithmetic of one step; `provider` is `auto`, `cpu` or `cuda`. Raises
    `ProviderMissing`.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, *, threads: int, provider: str = "auto"
    ) -> None:
        self._architecture = manifest.architecture
        self._limits = manifest.limits
        self.provider = _execution_provider(provider)
        self._encoder = _session(folder / ENCODER, threads, self.provider)
        self._decoder = _session(folder / DECODER, threads, self.provider)

    def generate(self, sources: Sequence[Tokens]) -> Generation:
        """Greedy continuations of each source; a row ends at its end token or at the limit."""
        started = time.perf_counter()
        cross, bias = self._encoder.run(None, {"source": self._padded(sources)})
        encoded = time.perf_counter()
        rows = self._decode(cross, bias)
        return Generation(rows, Phases(encoded - started, time.perf_counter() - encoded))

    def _decode(self, cross: Floats, bias: Floats) -> list[list[int]]:
        shape = self._architecture
        batch = bias.shape[0]
        tokens: Ids = np.full(batch, shape.start_id, np.int64)
        cache: Floats = np.zeros(
            (2 * shape.decoder_layers, batch, shape.heads, 0, shape.d_kv), np.float32
        )
        finished = np.zeros(batch, bool)
        steps: list[Ids] = []
        while len(steps) < self._limits.max_new_tokens and not finished.all():
            tokens, cache = self._decoder.run(
                None, {"token": tokens, "cross": cross, "bias": bias, "cache": cache}
            )
            steps.append(tokens)
            finished |= tokens == shape.eos_id
        return [self._until_end(row) for row in np.stack(steps, axis=1).tolist()]

    def _until_end(self, row: list[int]) -> list[int]:
        end = self._architecture.eos_id
        return row[: row.index(end)] if end in row else row

    def _padded(self, sources: Sequence[Tokens]) -> Ids:
        ids = np.full(
            (len(sources), max(map(len, sources))), self._architecture.pad_id, dtype=np.int64
        )
        for row, source in zip(ids, sources, strict=True):
            row[: len(source)] = source
        return ids


def _session(path: Path, threads: int, provider: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads that spin take the cores from the other session and from the HTTP server.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=[provider])
    if session.get_providers()[0] != provider:  # it falls back with no more than a log line
        raise ProviderMissing(f"{provider} does not work on this machine; see the log above")
    return session


def _execution_provider(provider: str) -> str:
    available = ort.get_available_providers()  # what was built in
    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    if provider == "cpu" or (provider == "auto" and cuda not in available):
        return cpu
    if cuda not in available:
        raise ProviderMissing(
            "provider cuda: this installation of ONNX Runtime has no CUDA; "
            "install the extra `gpu` instead of `cpu`, or choose provider cpu"
        )
    ort.preload_dlls()  # the CUDA libraries that pip installed
    return cuda
