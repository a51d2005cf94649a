"""What ships: `OrtEngine` behind the service's own `Batcher`, in this process, without HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.engines.contender.rows import Rows
from bench.engines.scenarios import split
from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.engine.bundle import load_manifest
from service.engine.ort import OrtEngine
from service.metrics import Metrics
from service.settings import Settings

_TIMEOUT_S = 600.0


class Ours:
    """Implements `serving.Server` with `workers` engines of `threads` threads each."""

    def __init__(self, bundle: Path, workers: int, threads: int) -> None:
        manifest = load_manifest(bundle)
        self._engines = [
            OrtEngine(bundle, manifest, threads=threads, provider="cpu") for _ in range(workers)
        ]
        self._threads = ThreadPoolExecutor(workers)

    def answer(self, batch: Rows) -> Rows:
        pieces = split([len(source) for source in batch], len(self._engines))
        calls = [
            self._threads.submit(engine.generate, [batch[i] for i in piece])
            for engine, piece in zip(self._engines, pieces, strict=False)
        ]
        rows: Rows = [[] for _ in batch]
        for piece, call in zip(pieces, calls, strict=True):
            for index, row in zip(piece, call.result().rows, strict=True):
                rows[index] = row
        return rows

    def stream(self, sources: Rows, arrivals_s: Sequence[float]) -> list[float]:
        return asyncio.run(self._stream(sources, arrivals_s))

    async def _stream(self, sources: Rows, arrivals_s: Sequence[float]) -> list[float]:
        batchers = [self._batcher(engine, len(sources)) for engine in self._engines]
        unanswered = [0] * len(batchers)
        started = time.perf_counter()

        async def ask(source: list[int], arrival_s: float) -> float:
            least = unanswered.index(min(unanswered))
            unanswered[least] += 1
            await batchers[least].submit(source, _TIMEOUT_S)
            unanswered[least] -= 1
            return time.perf_counter() - started - arrival_s

        tasks = []
        for source, arrival_s in zip(sources, arrivals_s, strict=True):
            early_s = arrival_s - (time.perf_counter() - started)
            if early_s > 0:
                await asyncio.sleep(early_s)
            tasks.append(asyncio.create_task(ask(source, arrival_s)))
        latencies_s = await asyncio.gather(*tasks)
        for batcher in batchers:
            await batcher.drain(1.0)
        return list(latencies_s)

    def _batcher(self, engine: OrtEngine, most: int) -> Batcher:
        """As the service has it, with its limits and its metrics, and room for `most`."""
        usual = Settings()
        limits = BatchLimits(usual.max_batch_rows, usual.max_batch_tokens)
        batcher = Batcher(engine, limits, max_queue=most, observer=Metrics())
        batcher.start()
        return batcher
