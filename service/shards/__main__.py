"""Run one HTTP process; the arguments are two file descriptors. Only the supervisor starts it."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress

from engine.bundle import BundleError
from service.api.keys import KeysError
from service.app import create_app
from service.children import live_below_the_parent
from service.errors import EngineRefused
from service.garbage import spare_requests
from service.hosting.frames import received
from service.logs import configure_logging, flush_log
from service.runtime import load_model
from service.shards.link import Link
from service.shards.messages import Begin
from service.shards.server import ShardServer
from service.shards.share import Share

_REFUSALS = (BundleError, EngineRefused, KeysError, OSError)


def main() -> None:
    live_below_the_parent()
    end, way = (socket.socket(fileno=int(text)) for text in sys.argv[1:])
    begin = received(end)
    assert isinstance(begin, Begin), "another message came first: this is a bug"
    configure_logging(begin.share.settings.log_format)
    link = Link(end)
    try:
        _serve(begin.share, link, way)
    except _REFUSALS as error:
        flush_log()
        link.refuse(str(error))


def _serve(share: Share, link: Link, way: socket.socket) -> None:
    if share.cores:
        os.sched_setaffinity(0, share.cores)  # inherited by the engines
    settings = share.settings
    app = create_app(settings, load_model(settings, cpus=share.cpus), peers=link)
    spare_requests()
    server = ShardServer(app, app.state.runtime, link, way)
    server.run()
    flush_log()
    if app.state.runtime.refused is not None:
        raise app.state.runtime.refused


if __name__ == "__main__":
    # If the supervisor has ended, no process waits for what this one says.
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):
        main()
