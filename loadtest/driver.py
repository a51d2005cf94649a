"""Generate load with Locust users, in closed loops (`Caller`) and open loops (`Arrivals`).

`python -m locust -f loadtest/driver.py --host URL` opens Locust's own page with `Caller`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import gevent
from gevent.pool import Group
from locust import FastHttpUser, User, task
from locust.env import Environment

from loadtest.samples import NO_ANSWER, Sample
from loadtest.schedule import Step
from loadtest.workload import SOLVE, Ask, asks

_TIMEOUT_S = 30.0  # the service's own default deadline
_SPAWN_RATE = 100.0  # users/s; Locust warns above it
_PARTS = ("x-queue-time", "x-inference-time", "x-total-time")


class Asking(FastHttpUser):
    """Send requests, and append a `Sample` of each to the environment's list where it has one."""

    abstract = True
    connection_timeout = network_timeout = _TIMEOUT_S

    def ask(self, ask: Ask, origin: float, due_s: float | None = None) -> None:
        """Send now; `due_s` is the time when the request was due, by default now."""
        sent_s = time.perf_counter() - origin
        with self.client.post(ask.path, json=ask.body, catch_response=True) as response:
            done_s = time.perf_counter() - origin
            status = response.status_code or NO_ANSWER
            parts = _parts(response.headers) if ask.path == SOLVE else (None, None, None)
            due_s = sent_s if due_s is None else due_s
            sample = Sample(
                ask.path, ask.questions, due_s, sent_s, done_s, status, ask.expected, *parts
            )
            if sample.ok:
                response.success()
            else:
                response.failure(f"status {status}")
        getattr(self.environment, "samples", []).append(sample)


class Caller(Asking):
    """A closed loop: the next request follows the answer. The load is the number of users."""

    mix: Iterator[Ask] = asks(seed=0)

    @task
    def one(self) -> None:
        self.ask(next(self.mix), getattr(self.environment, "origin", 0.0))


class Arrivals(Asking):
    """An open loop: one user sends every request when it is due, answered or not."""

    abstract = True
    concurrency = 1000  # connections; beyond them requests wait, and their wait counts
    due: Iterator[float]
    seed = 0

    @task
    def all(self) -> None:
        in_flight = Group()
        origin = time.perf_counter()
        for due_s, ask in zip(self.due, asks(self.seed), strict=False):
            gevent.sleep(max(0.0, origin + due_s - time.perf_counter()))
            in_flight.spawn(self.ask, ask, origin, due_s)
        in_flight.join(timeout=_TIMEOUT_S)
        self.environment.runner.quit()


def open_loop(url: str, due: Iterator[float], seed: int = 0) -> list[Sample]:
    """Send each request when it is due."""
    run = _Run(url, type("Scheduled", (Arrivals,), {"due": due, "seed": seed}))
    run.runner.start(1, spawn_rate=1)
    run.runner.greenlet.join()
    return run.samples()


def closed_loop(url: str, plan: Sequence[Step], seed: int = 0) -> list[Sample]:
    """Run each step's number of callers."""
    run = _Run(url, type("Seeded", (Caller,), {"mix": asks(seed)}))
    for step in plan:
        run.runner.start(round(step.load), spawn_rate=_SPAWN_RATE)
        gevent.sleep(max(0.0, run.origin + step.end_s - time.perf_counter()))
    run.runner.quit()
    return run.samples()


class _Run:
    """One Locust environment with the samples of its users."""

    def __init__(self, url: str, user: type[User]) -> None:
        environment = Environment(user_classes=[user], host=url, catch_exceptions=False)
        self.runner = environment.create_local_runner()
        self.origin = time.perf_counter()
        self._samples: list[Sample] = []
        environment.samples = self._samples  # type: ignore[attr-defined]
        environment.origin = self.origin  # type: ignore[attr-defined]

    def samples(self) -> list[Sample]:
        """Return the samples in the order in which they were due."""
        return sorted(self._samples, key=lambda sample: sample.due_s)


def _parts(headers: Any) -> tuple[float | None, ...]:
    texts = [headers.get(name) if headers else None for name in _PARTS]
    return tuple(None if text is None else float(text) for text in texts)
