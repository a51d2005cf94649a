"""`python -m bench.overhead`: measure the processor time of a request without its inference.

The cost covers the framework, parsing, prompt, tokens, reading and verifying the answer, metrics
and the log line. Answers come from the cache, so no engine computes. The command measures calls of
the ASGI application without a socket, and a server of its own over HTTP, whose processor time the
kernel counts apart from the client's. Without a socket it also measures the rejection of a question
that cannot meet its deadline, which is the fate of most questions under overload.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import statistics
import time
import timeit
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop
from fastapi import FastAPI

from bench import command
from bench.processes import cpu_s
from commandline.ranges import COUNT
from loadtest.server import started
from service.api.record import RequestRecord
from service.app import create_app
from service.contracts import Timings
from service.logs import configure_logging
from service.runtime import load_model
from service.settings import Settings

_ROUNDS = 5


def _question(number: int) -> str:
    """Return one of many questions, with an integer solution."""
    left, right, constant = 100 + number, 5 + number % 13, 900 + 2 * number
    total = (left - right) * (60 + number % 41) - constant
    return f"Solve {left}*c - {constant} = {right}*c + {total} for c."


_QUESTIONS = [_question(number) for number in range(200)]
_REFUSED = [_question(number) for number in range(200, 400)]  # never answered, so never cached


def main() -> None:
    parser = command.parser("bench.overhead", __doc__)
    parser.add_argument("--requests", type=COUNT, default=2000, help="of each round")
    requests: int = parser.parse_args().requests
    answers_us, refusals_us = uvloop.run(_by_calls(requests))
    figures = {
        "machine": command.machine(),
        "commit": command.commit(),
        "application_us": _summary(answers_us),
        "refusal_us": _summary(refusals_us),
        "server_us": _summary(_by_http(requests)),
        "log_line_us": _summary(_log_lines(requests)),
    }
    print(json.dumps(figures))


def _summary(rounds_us: list[float]) -> dict[str, float]:
    """Return the least, which is the cost, and the median, to which other programs add."""
    return {"least": round(min(rounds_us), 1), "median": round(statistics.median(rounds_us), 1)}


def _bodies(requests: int) -> Iterator[bytes]:
    for number in range(requests):
        yield json.dumps({"question": _QUESTIONS[number % len(_QUESTIONS)]}).encode()


def _too_late(requests: int) -> Iterator[bytes]:
    """Yield questions with a deadline that no engine can meet."""
    for number in range(requests):
        question = _REFUSED[number % len(_REFUSED)]
        yield json.dumps({"question": question, "timeout_ms": 1}).encode()


# -- without a socket ------------------------------------------------------------------------------


async def _by_calls(requests: int) -> tuple[list[float], list[float]]:
    """Return the microseconds of processor time for each answer and for each rejection."""
    settings = replace(Settings(), workers=1)
    with Path(os.devnull).open("w") as nowhere:
        configure_logging("json", stream=nowhere)
        app = create_app(settings, load_model(settings))
        async with app.router.lifespan_context(app):
            while not app.state.runtime.ready:
                await asyncio.sleep(0.01)
            asked, refused = list(_bodies(requests)), list(_too_late(requests))
            await _ask(app, asked[: len(_QUESTIONS)], 200)  # the engine answers each once
            answers_us = [await _ask(app, asked, 200) for _ in range(_ROUNDS)]
            return answers_us, [await _ask(app, refused, 429) for _ in range(_ROUNDS)]


async def _ask(app: FastAPI, bodies: Sequence[bytes], status: int) -> float:
    """Return the microseconds of processor time for each body."""
    spent_s = time.process_time()
    for body in bodies:
        await _call(app, body, status)
    return 1e6 * (time.process_time() - spent_s) / len(bodies)


async def _call(app: FastAPI, body: bytes, status: int) -> None:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()  # the client stays connected
        raise AssertionError

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] != status:
            raise SystemExit(f"a request was answered {message['status']}")

    headers = [
        (b"host", b"localhost:8000"),
        (b"user-agent", b"bench"),
        (b"accept", b"*/*"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": "POST", "scheme": "http", "path": "/solve", "raw_path": b"/solve",
        "query_string": b"", "root_path": "", "headers": headers, "state": {},
        "client": ("127.0.0.1", 50000), "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    await app(scope, receive, send)


# -- over HTTP -------------------------------------------------------------------------------------


def _by_http(requests: int) -> list[float]:
    with started(cached_answers=len(_QUESTIONS) + 100) as (process, url):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            _exchange(connection, len(_QUESTIONS))
            rounds_us = []
            for _ in range(_ROUNDS):
                before_s = cpu_s(process.pid)
                _exchange(connection, requests)
                rounds_us.append(1e6 * (cpu_s(process.pid) - before_s) / requests)
    return rounds_us


def _exchange(connection: socket.socket, requests: int) -> None:
    """Send one request after another on a connection that stays open."""
    for body in _bodies(requests):
        connection.sendall(
            b"POST /solve HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\naccept: */*\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        received = connection.recv(65536)
        while not received.endswith(b"}}"):
            received += connection.recv(65536)
        if not received.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(received.decode())


# -- the log line ----------------------------------------------------------------------------------


def _log_lines(requests: int) -> list[float]:
    """Return the microseconds of one request's log line, from its record to the file."""
    record = RequestRecord("0" * 32, "POST", "/solve", "127.0.0.1", "1" * 32, key="bench")
    record.timings = Timings(0.0002, 0.006)
    log = logging.getLogger("service.requests")

    def write() -> None:
        fields = record.fields(with_questions=False)
        log.info("%s %s %d", record.method, record.path, 200, extra={"fields": fields})

    with Path(os.devnull).open("w") as nowhere:
        configure_logging("json", stream=nowhere)
        rounds_s = timeit.repeat(write, timer=time.process_time, number=requests, repeat=_ROUNDS)
    return [1e6 * spent_s / requests for spent_s in rounds_s]


if __name__ == "__main__":
    main()
