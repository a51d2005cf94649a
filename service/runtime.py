"""The working parts of a service, put together from settings: for HTTP and command line alike."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from engine.bundle import TOKENIZER, Manifest, load_manifest
from engine.contracts import Prompt
from engine.cpu import available_cpus
from engine.tokens import TextCodec
from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.contracts import Answered, Host
from service.errors import EngineRefused, NotReady, ShuttingDown
from service.generating.generator import Generator
from service.hosting.out_of_memory import OutOfMemoryKills
from service.hosting.plan import EnginePlan
from service.hosting.process import ProcessHost
from service.metrics import Metrics
from service.peers import NoPeers, Peers
from service.phases import Phases
from service.settings import Settings
from service.solving import Solver, format_of

_LOG = logging.getLogger(__name__)
_WORTH_SHARING = 20_000_000  # parameters


@dataclass(frozen=True)
class Model:
    """A bundle, checked, and hosts for engines of it."""

    manifest: Manifest
    codec: TextCodec
    hosts: Sequence[Host]


def load_model(settings: Settings, *, one_attempt: bool = False, cpus: int | None = None) -> Model:
    """Load the bundle that `settings` name; no engine starts yet. Raises `BundleError`.

    Its engines share `cpus` cores, by default all that this process may use.

    With `one_attempt`, an engine that fails to start is not started again (`ProcessHost`).
    """
    manifest = load_manifest(settings.model)
    if settings.name is not None:
        manifest = replace(manifest, name=settings.name)
    if manifest.solves:
        format_of(manifest)  # a model that no code here can ask is refused before it loads
    workers, threads = layout(manifest, settings, cpus or available_cpus())
    plan = EnginePlan(
        model=settings.model.resolve(),
        provider=settings.provider,
        kernels=settings.kernels,
        threads=threads,
        rows=settings.max_batch_rows,
        tokens=settings.max_batch_tokens,
        log_format=settings.log_format,
    )
    codec = TextCodec(settings.model / TOKENIZER)
    _LOG.info("%s %s from %s", manifest.name, manifest.version, settings.model)
    out_of_memory = OutOfMemoryKills()
    hosts = [ProcessHost(plan, out_of_memory, one_attempt=one_attempt) for _ in range(workers)]
    return Model(manifest, codec, hosts)


def layout(manifest: Manifest, settings: Settings, cpus: int) -> tuple[int, int]:
    """Return the engines on `cpus` cores and the threads of each.

    Engines run side by side where a step is too small to share: hardly a call of the bundled model
    is worth waking a second thread (docs/decisions/0044-products-in-fp32.md).
    """
    # Each engine has its own copy of the weights: on a GPU a second one would gain nothing.
    small = manifest.architecture.parameters < _WORTH_SHARING and settings.provider != "cuda"
    workers = settings.workers or (cpus if small else 1)
    return workers, settings.threads or (1 if small else max(1, cpus // workers))


class Runtime:
    """A model, its batcher and their admission control. Methods belong to one event loop.

    There is a `solver` where the model solves equations.
    """

    def __init__(
        self,
        settings: Settings,
        model: Model,
        phases: Phases | None = None,
        peers: Peers | None = None,
    ) -> None:
        self.settings = settings
        self.model = model
        self.created_s = int(time.time())
        self._phases = phases or Phases()
        self._peers = peers or NoPeers()
        self.metrics = Metrics(self._engine_pids)
        self.metrics.queue_limit.set(settings.max_queue)
        self.metrics.engines.set(len(model.hosts))
        self.metrics.engines_up.set_function(lambda: float(self.batcher.engines_up))
        self.metrics.engine_up.set_function(lambda: float(self.batcher.alive))
        self.batcher = Batcher(
            model.hosts,
            BatchLimits(settings.max_batch_rows, settings.max_batch_tokens),
            max_queue=settings.max_queue,
            max_queue_tokens=settings.max_queue_tokens,
            cached_answers=settings.cached_answers,
            hang_timeout_s=settings.hang_timeout_s,
            observer=self.metrics,
        )
        self.metrics.rows.set_function(lambda: float(self.batcher.rows))
        self.admission = self.batcher.admission
        self.generator = Generator(model.manifest, model.codec, self._submit, self.batcher.stream)
        if model.manifest.solves:
            self.solver = Solver(
                model.manifest,
                model.codec,
                self._submit,
                max_tries=settings.max_tries,
                phases=self._phases,
            )
        self.refused: EngineRefused | None = None  # why there will be no engine
        self._unready = False

    @property
    def ready(self) -> bool:
        return self.batcher.alive and not self._unready

    def announce_shutdown(self) -> None:
        """Become unready, and still answer requests until `stop`."""
        self._unready = True

    def require_ready(self) -> None:
        """Raises `ShuttingDown` or `NotReady`; other processes of the service must be ready too."""
        if self._unready:
            raise ShuttingDown
        if not (self.ready and self._peers.ready):
            raise NotReady

    async def exposition(self) -> bytes:
        """Return the metrics of the service, of all its processes. Raises `NotReady`."""
        return await self._peers.exposition(self.metrics)

    def info(self) -> dict[str, Any]:
        """Return the served model and the limits of the service."""
        manifest, settings, started = self.model.manifest, self.settings, self.batcher.started
        return {
            "name": manifest.name,
            "version": manifest.version,
            "solves": manifest.solves,
            "precision": manifest.precision,
            "provider": self.batcher.provider,
            "kernels": started.kernels if started else None,
            "parameters": manifest.architecture.parameters,
            "processes": settings.processes,
            "max_source_tokens": manifest.limits.max_source_tokens,
            "max_new_tokens": manifest.limits.max_new_tokens,
            "max_batch_questions": settings.max_batch_questions,
            "max_body_bytes": settings.max_body_bytes,
            "default_timeout_ms": 1000 * settings.default_timeout_s,
            "decoding": dict(manifest.decoding),
            "provenance": dict(manifest.provenance),
        }

    def _engine_pids(self) -> dict[str, int]:
        """Return the processes of the engines that run now, by the engine's index."""
        pids = ((str(index), host.live_pid) for index, host in enumerate(self.model.hosts))
        return {engine: pid for engine, pid in pids if pid is not None}

    async def _submit(self, prompt: Prompt, timeout_s: float, *, wait: bool = False) -> Answered:
        """Call `Batcher.submit`, and add its phases to the trace."""
        answered = await self.batcher.submit(prompt, timeout_s, wait=wait)
        self._phases.inferred(answered.timings)
        return answered

    async def start(self) -> None:
        """Be ready: every engine is warm. Raises `EngineRefused`."""
        try:
            await self.batcher.start()
        except EngineRefused as error:
            self.refused = error
            raise
        assert self.batcher.started is not None, "started without an engine: this is a bug"
        self.metrics.model_loaded(self.model.manifest, self.batcher.started)

    async def stop(self, within_s: float | None = None) -> None:
        """Reject new requests and let the accepted ones finish, within the time that settings give.

        Stopping again does nothing.
        """
        self._unready = True
        if within_s is None:
            within_s = self.settings.drain_timeout_s
        started = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.admission.drain()
        left_s = within_s - (time.monotonic() - started)
        await self.batcher.drain(max(0.0, left_s))
