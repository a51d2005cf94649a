"""What ships, without HTTP: engines in threads for a batch, in processes behind a `Batcher`."""

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
from service.contracts import Prompt
from service.engine.bundle import load_manifest
from service.engine.generate import generate
from service.engine.ort import OrtEngine, OrtModel
from service.hosting.plan import EnginePlan
from service.hosting.process import ProcessHost
from service.metrics import Metrics
from service.settings import Settings

_TIMEOUT_S = 600.0


class Ours:
    """Implements `serving.Server` with `workers` engines of `threads` threads each."""

    def __init__(self, bundle: Path, workers: int, threads: int, device: str = "cpu") -> None:
        usual = Settings()
        rows = usual.max_batch_rows
        self._plan = EnginePlan(bundle.resolve(), device, threads, rows, usual.max_batch_tokens)
        model = OrtModel(bundle, load_manifest(bundle), threads=threads, provider=device)
        self._engines = [OrtEngine(model, rows=rows) for _ in range(workers)]
        self._threads = ThreadPoolExecutor(workers)

    def answer(self, batch: Rows) -> Rows:
        pieces = split([len(source) for source in batch], len(self._engines))
        calls = [
            self._threads.submit(generate, engine, [Prompt(tuple(batch[i])) for i in piece])
            for engine, piece in zip(self._engines, pieces, strict=False)
        ]
        rows: Rows = [[] for _ in batch]
        for piece, call in zip(pieces, calls, strict=True):
            for index, hypothesis in zip(piece, call.result(), strict=True):
                rows[index] = hypothesis.tokens
        return rows

    def stream(self, sources: Rows, arrivals_s: Sequence[float]) -> list[float]:
        return asyncio.run(self._stream(sources, arrivals_s))

    async def _stream(self, sources: Rows, arrivals_s: Sequence[float]) -> list[float]:
        """As the service has it, with its limits and its metrics, room for all, and no answer kept:
        what is asked twice is computed twice.
        """
        usual = Settings()
        batcher = Batcher(
            [ProcessHost(self._plan) for _ in self._engines],
            BatchLimits(usual.max_batch_rows, usual.max_batch_tokens),
            max_queue=len(sources),
            observer=Metrics(),
        )
        await batcher.start()
        started = time.perf_counter()

        async def ask(source: list[int], arrival_s: float) -> float:
            await batcher.submit(Prompt(tuple(source)), _TIMEOUT_S)
            return time.perf_counter() - started - arrival_s

        tasks = []
        for source, arrival_s in zip(sources, arrivals_s, strict=True):
            early_s = arrival_s - (time.perf_counter() - started)
            if early_s > 0:
                await asyncio.sleep(early_s)
            tasks.append(asyncio.create_task(ask(source, arrival_s)))
        latencies_s = await asyncio.gather(*tasks)
        await batcher.drain(1.0)
        return list(latencies_s)
