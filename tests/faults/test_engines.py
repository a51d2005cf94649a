"""Engines that are killed, hang or raise, under real servers: who asked is answered once, and the
service comes back.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from engine.bundle import MANIFEST, TOKENIZER, fingerprint
from service.settings import Settings
from tests.faults.caller import Caller, NoAnswer, callers, questions
from tests.faults.server import Server, gone, serving, until

HANG_S = 1.0
LONG = int(os.environ.get("SOAK_STRIKES", "20"))
ANSWERS = {200, 500, 503, 504}  # that an accepted request may get while engines fail
POISON = "\N{SKULL AND CROSSBONES}"


async def ask_without_end(caller: Caller, seed: int, over: asyncio.Event) -> Counter[int]:
    """Statuses of one question after the other; a connection without an answer is -1."""
    statuses: Counter[int] = Counter()
    for question in questions(seed):
        if over.is_set():
            return statuses
        try:
            answer = await caller.ask("/solve", {"question": question, "timeout_ms": 20_000})
            statuses[answer.status] += 1
        except NoAnswer:
            statuses[-1] += 1
    raise AssertionError("questions have no end")


async def strike(server: Server, blow: signal.Signals, times: int) -> list[int]:
    """All engines at once, again as soon as they are back; the processes struck."""
    struck: list[int] = []
    for _ in range(times):
        struck += server.engines()
        server.signal_engines(blow)
        known = set(struck)

        def others(known: set[int] = known) -> bool:
            now = server.engines()
            return len(now) == 2 and not known & set(now) and server.ready()

        await asyncio.to_thread(until, others, "engines that were not struck")
    return struck


@pytest.mark.parametrize(
    ("blow", "reason", "times", "processes"),
    [
        (signal.SIGKILL, "crashed", 2, 1),
        (signal.SIGSTOP, "hung", 1, 1),
        (signal.SIGKILL, "crashed", 1, 2),
        pytest.param(signal.SIGKILL, "crashed", LONG, 1, marks=pytest.mark.soak),
        pytest.param(signal.SIGSTOP, "hung", LONG, 1, marks=pytest.mark.soak),
        pytest.param(signal.SIGKILL, "crashed", LONG, 2, marks=pytest.mark.soak),
    ],
)
def test_engines_killed_repeatedly_under_load(
    tmp_path: Path, blow: signal.Signals, reason: str, times: int, processes: int
) -> None:
    async def load(server: Server) -> tuple[Counter[int], list[int]]:
        over = asyncio.Event()
        async with callers(server.port, 16) as many:
            asking = [
                asyncio.create_task(ask_without_end(caller, seed, over))
                for seed, caller in enumerate(many)
            ]
            struck = await strike(server, blow, times)
            over.set()
            return sum(await asyncio.gather(*asking), Counter()), struck

    hang_s = HANG_S * (1 if reason == "hung" else 10)
    with serving(tmp_path, hang_timeout_s=hang_s, workers=2, processes=processes) as server:
        statuses, struck = asyncio.run(load(server))
        assert set(statuses) <= ANSWERS, statuses
        assert statuses[200]
        # One answer each, counted once, which may be after it has arrived.
        until(lambda: server.statuses("/solve") == statuses, f"{statuses} counted")
        assert server.metric(f'engine_ends_total{{reason="{reason}"}}') == 2 * times == len(struck)
        until(lambda: all(map(gone, struck)), "no engine is left as a zombie")
        assert server.metric("queue_depth") == 0
        assert server.solve("x + 1 = 3").json()["answer"] == "2"
        assert "Traceback" not in server.log


def test_readiness_goes_with_a_hung_engine_and_comes_back(tmp_path: Path) -> None:
    """A hang is detected even if every deadline is shorter than the hang timeout."""
    with serving(tmp_path, hang_timeout_s=HANG_S, workers=1) as server:
        (hung,) = server.engines()
        server.signal_engines(signal.SIGSTOP)
        assert server.solve("x + 1 = 3", timeout_ms=50).status_code == 504
        until(lambda: not server.ready(), "unready")
        until(server.ready, "ready again")
        assert gone(hung)
        assert server.metric('engine_ends_total{reason="hung"}') == 1
        assert server.metric('abandoned_total{reason="deadline"}') == 1
        assert server.solve("x + 1 = 3").json()["answer"] == "2"


def test_engines_do_not_outlive_a_server_that_is_killed(tmp_path: Path) -> None:
    """Not even one that hangs at that moment and hears nothing."""
    with serving(tmp_path, workers=2) as server:
        engines = server.engines()
        os.kill(engines[0], signal.SIGSTOP)
        server.process.kill()
        server.ended()
        until(lambda: all(map(gone, engines)), "no engine without a server")


def poisoned(bundle: Path, folder: Path) -> Path:
    """A copy of a bundle whose tokenizer knows a token that the weights do not: to embed it raises
    in ONNX Runtime. Its checksums are right.
    """
    for file in bundle.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tokenizer = json.loads((folder / TOKENIZER).read_text())
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokenizer["added_tokens"].append({"id": 99_999, "content": POISON, "special": False, **plain})
    (folder / TOKENIZER).write_text(json.dumps(tokenizer))
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][TOKENIZER] = fingerprint(folder / TOKENIZER)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def test_an_engine_that_raises_fails_those_rows_and_goes_on(tmp_path: Path) -> None:
    async def load(server: Server) -> Counter[int]:
        async with callers(server.port, 40) as many:
            asked = [
                caller.ask("/generate", {"text": POISON})
                if number % 4 == 0
                else caller.ask("/solve", {"question": question})
                for number, (caller, question) in enumerate(zip(many, questions(), strict=False))
            ]
            answers = await asyncio.gather(*asked)
        assert {answer.status for answer in answers[::4]} == {500}
        for answer in answers[::4]:
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
            assert answer.json()["detail"] == "the engine failed"
        return Counter(answer.status for answer in answers)

    (tmp_path / "bundle").mkdir()
    bundle = poisoned(Settings().model, tmp_path / "bundle")
    with serving(tmp_path, model=bundle, workers=1) as server:
        engines = server.engines()
        statuses = asyncio.run(load(server))
        assert set(statuses) <= {200, 500}
        assert server.solve("x + 1 = 3").json()["answer"] == "2"
        assert server.ready()
        assert server.engines() == engines  # it raised, and is the same
        until(lambda: "the engine failed on" in server.log, "a line of the log")
        until(lambda: server.metric("in_flight_requests") == 1, "nothing in flight but this")
