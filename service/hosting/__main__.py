"""Run one engine in this process; the arguments are PLAN and FD. Only `ProcessHost` starts it."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from engine.bundle import BundleError
from engine.contracts import OutOfMemory
from engine.kernels import NONE, ON_GPU, LevelMissing, level
from engine.loading import load_engine, warm_up
from engine.sessions import ProviderMissing, device_of
from service.batching.policy import BatchLimits
from service.children import live_below_the_parent
from service.contracts import Order, Started
from service.errors import EngineRefused
from service.hosting.decode_loop import DecodeLoop
from service.hosting.frames import Unpacking, packed
from service.hosting.plan import EnginePlan
from service.logs import configure_logging

_PIECE = 1 << 16  # bytes read at once


def main() -> None:
    live_below_the_parent()
    plan = EnginePlan.from_json(sys.argv[1])
    configure_logging(plan.log_format)
    with socket.socket(fileno=int(sys.argv[2])) as channel:
        _serve(plan, channel)


def _serve(plan: EnginePlan, channel: socket.socket) -> None:
    try:
        engine, provider = load_engine(
            plan.model,
            threads=plan.threads,
            rows=plan.rows,
            provider=plan.provider,
            kernels=plan.kernels,
        )
    except (BundleError, LevelMissing, OutOfMemory, ProviderMissing) as error:
        channel.sendall(packed(EngineRefused(str(error))))
        return
    warm_up(engine, plan.model)
    if device_of(provider) == "cpu":
        kernels = level(plan.kernels)
    else:
        kernels = plan.kernels if plan.kernels in ON_GPU else NONE
    channel.sendall(packed(Started(engine.rows, provider, kernels)))
    loop = DecodeLoop(
        engine,
        BatchLimits(plan.rows, plan.tokens),
        receive=_Inbox(channel).receive,
        report=lambda report: channel.sendall(packed(report)),
        clock=time.monotonic,
    )
    loop.run()


class _Inbox:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._unpacking = Unpacking()

    def receive(self, wait: bool) -> Sequence[Order] | None:
        """Return the orders that have arrived; `None` at the end of the socket."""
        orders: list[Order] = []
        while True:
            try:
                block = wait and not orders
                piece = self._channel.recv(_PIECE, 0 if block else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return orders
            if not piece:
                return None
            for message in self._unpacking.feed(piece):
                orders += message


if __name__ == "__main__":
    # If the service has ended, no caller waits for the report.
    with suppress(BrokenPipeError, ConnectionResetError):
        main()
