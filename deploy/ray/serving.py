"""The same HTTP application as Ray Serve replicas: `serve run deploy.ray.serving:app`.

Ray routes requests to replicas and adds or removes them; within a replica everything is as in
`cybersolve serve`: one model, one queue, rows that come and go.
"""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from ray import serve

from deploy.ray.cores import on_one_core
from service.app import create_app
from service.runtime import load_model
from service.settings import Settings

_WARM_UP_S = 60.0
_DRAIN_S = 25.0  # CYBERSOLVE_DRAIN_TIMEOUT_S and the answers on their way out


def build() -> FastAPI:
    """Called on each replica, in its own environment."""
    settings = on_one_core(Settings.from_environment())
    return create_app(settings, load_model(settings))


@serve.deployment(
    ray_actor_options={"num_cpus": 1},
    # A replica's rows are for many requests at a time; what is over this waits in Ray's proxy, in
    # front of the replicas' own queues.
    max_ongoing_requests=256,
    autoscaling_config={
        "min_replicas": 1,
        "max_replicas": 20,
        "target_ongoing_requests": 16,  # half the rows: latency before throughput
        "upscale_delay_s": 5.0,
        "downscale_delay_s": 300.0,
    },
    health_check_period_s=5.0,
    health_check_timeout_s=_WARM_UP_S,
    graceful_shutdown_timeout_s=_DRAIN_S,
)
@serve.ingress(build)
class CyberSolve:
    """One replica."""

    _warm = False

    async def check_health(self) -> None:
        """Wait for the warm-up once; later raise when a worker is dead, for Ray to replace us."""
        application: FastAPI = self.app  # type: ignore[attr-defined]  # of Ray's wrapper
        runtime = application.state.runtime
        async with asyncio.timeout(_WARM_UP_S):
            while not (self._warm or runtime.ready):
                await asyncio.sleep(0.05)
        self._warm = True
        runtime.require_ready()


app = CyberSolve.bind()  # type: ignore[attr-defined]
