"""Our engine as shipped, without HTTP: engines in processes, for streams behind a `Batcher`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import uvloop

from bench.engines.candidate.rows import Rows
from bench.engines.candidate.serving import Pool
from engine.contracts import Decoding, Prompt
from engine.generate import generate
from engine.loading import load_engine
from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.hosting.plan import EnginePlan
from service.hosting.process import ProcessHost
from service.metrics import Metrics
from service.settings import Settings

_TIMEOUT_S = 600.0


class Ours:
    """Implements `serving.Server` with `workers` engines of `threads` threads each."""

    def __init__(
        self, bundle: Path, workers: int, threads: int, device: str = "cpu", *, beams: int = 1
    ) -> None:
        usual = Settings()
        # CTranslate2 ends a text when as many answers as beams have ended.
        self._decoding = Decoding(num_beams=beams, early_stopping=beams > 1)
        self._workers = workers
        self._plan = EnginePlan(
            bundle.resolve(),
            device,
            threads,
            usual.max_batch_rows * beams,  # as many texts as without
            usual.max_batch_tokens,
            kernels=Settings.from_environment().kernels,
        )
        self._pool = Pool.of_processes(workers, partial(_load, self._plan, self._decoding))

    def answer(self, batch: Rows) -> Rows:
        return self._pool.answer(batch)

    def stream(self, sources: Rows, arrivals_s: Sequence[float]) -> list[float]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as uvicorn's is
            return runner.run(self._stream(sources, arrivals_s))

    async def _stream(self, sources: Rows, arrivals_s: Sequence[float]) -> list[float]:
        """Use the service's limits and metrics, a queue for all, and no cache of answers."""
        usual = Settings()
        batcher = Batcher(
            [ProcessHost(self._plan) for _ in range(self._workers)],
            BatchLimits(usual.max_batch_rows, usual.max_batch_tokens),
            max_queue=len(sources),
            observer=Metrics(),
        )
        await batcher.start()
        started = time.perf_counter()

        async def ask(source: list[int], arrival_s: float) -> float:
            await batcher.submit(Prompt(tuple(source), (), self._decoding), _TIMEOUT_S)
            return time.perf_counter() - started - arrival_s

        tasks = []
        for source, arrival_s in zip(sources, arrivals_s, strict=True):
            # Yield even when late: as with sockets, the loop handles each arrival before the next.
            await asyncio.sleep(max(0.0, arrival_s - (time.perf_counter() - started)))
            tasks.append(asyncio.create_task(ask(source, arrival_s)))
        latencies_s = await asyncio.gather(*tasks)
        await batcher.drain(1.0)
        return list(latencies_s)


def _load(plan: EnginePlan, decoding: Decoding) -> Callable[[Rows], Rows]:
    engine, _ = load_engine(
        plan.model,
        threads=plan.threads,
        rows=plan.rows,
        provider=plan.provider,
        kernels=plan.kernels,
    )

    def answer(batch: Rows) -> Rows:
        answers = generate(engine, [Prompt(tuple(source), (), decoding) for source in batch])
        return [answer.best.tokens for answer in answers]

    return answer
