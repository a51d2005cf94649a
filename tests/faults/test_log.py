"""A log that nobody reads: the service answers all the same, counts what is lost, and ends."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import httpx

from tests.faults.server import LONG_S, Server, serving, until

DROPPED = "log_lines_dropped_total"
# Logged with its questions, one such request fills the pipe and a third of what may wait.
BATCH = {"questions": ["x + 1 = 2" + " " * 400] * 1000}


def drop_lines(server: Server) -> None:
    def dropped() -> bool:
        answer = httpx.post(f"{server.url}/solve/batch", json=BATCH, timeout=LONG_S)
        assert answer.status_code == 200
        return server.metric(DROPPED) > 0

    until(dropped, "lines dropped")


def test_a_log_that_is_not_read_blocks_nothing_and_says_so_once_it_is(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    read = bytearray()

    def read_all() -> None:
        while piece := os.read(reader, 1 << 16):
            read.extend(piece)

    with serving(tmp_path, stderr=writer, log_questions=1) as server:
        drop_lines(server)
        assert httpx.get(f"{server.url}/livez", timeout=LONG_S).status_code == 200
        threading.Thread(target=read_all, daemon=True).start()
        told = rb"service.log_writer: (\d+) log lines were dropped"
        until(lambda: re.search(told, read), "dropped lines told")
        found = re.search(told, read)
        assert found is not None
        assert int(found[1]) == server.metric(DROPPED)
        assert server.solve("x + 1 = 3").status_code == 200
        until(lambda: b"POST /solve 200" in read, "lines written again")


def test_sigterm_ends_a_service_whose_log_is_not_read(tmp_path: Path) -> None:
    _, writer = os.pipe()
    with serving(tmp_path, stderr=writer, log_questions=1) as server:
        drop_lines(server)
        server.process.terminate()
        assert server.ended() == -signal.SIGTERM
