"""The working parts of a service, put together from settings: for HTTP and command line alike."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.contracts import Engine
from service.engine.bundle import ENCODER, TOKENIZER, Manifest, load_manifest
from service.engine.ort import OrtEngine
from service.engine.tokens import TextCodec
from service.errors import NotReady
from service.metrics import Metrics
from service.settings import Settings
from service.solving import Solver

_LOG = logging.getLogger(__name__)
_WARM_UP = ("x = 1", "12*x + 34*x - 567 = 890 - 12*x", "1234*x - 5678 = 9012*x + 3456")


@dataclass(frozen=True)
class Model:
    """A loaded bundle."""

    manifest: Manifest
    codec: TextCodec
    engine: Engine
    provider: str


def load_model(settings: Settings) -> Model:
    """Raises `BundleError` or `ProviderMissing`, each with one line that says what to do."""
    manifest = load_manifest(settings.model)
    engine = OrtEngine(
        settings.model, manifest, threads=settings.threads, provider=settings.provider
    )
    codec = TextCodec(settings.model / TOKENIZER)
    _LOG.info("loaded %s %s from %s", manifest.name, manifest.version, settings.model / ENCODER)
    return Model(manifest, codec, engine, engine.provider)


class Runtime:
    """Model, batcher and solver of one process. Methods belong to one event loop."""

    def __init__(self, settings: Settings, model: Model) -> None:
        self.settings = settings
        self.model = model
        self.metrics = Metrics()
        self.metrics.model_loaded(model.manifest, model.provider)
        self.metrics.engine_up.set_function(lambda: float(self.batcher.alive))
        self.batcher = Batcher(
            model.engine,
            BatchLimits(settings.max_batch_rows, settings.max_batch_tokens),
            max_queue=settings.max_queue,
            observer=self.metrics,
        )
        self.solver = Solver(model.manifest, model.codec, self.batcher.submit)
        self._warm = False

    @property
    def ready(self) -> bool:
        return self._warm and self.batcher.alive

    def require_ready(self) -> None:
        """Raises `NotReady`."""
        if not self.ready:
            raise NotReady

    async def start(self) -> None:
        """Take questions, and be ready once some of different sizes have been answered."""
        self.batcher.start()
        timeout_s = self.settings.default_timeout_s
        await asyncio.gather(*(self.solver.solve(q, timeout_s=timeout_s) for q in _WARM_UP))
        self._warm = True

    async def stop(self) -> None:
        await self.batcher.drain(self.settings.drain_timeout_s)
