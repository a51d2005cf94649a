"""Engines in processes of their own: killed, stopped and closed for real."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from engine.bundle import REFERENCE
from engine.contracts import Prompt
from engine.kernels import LEVELS, level, levels
from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.errors import EngineFailed, EngineNotStarted, EngineRefused
from service.hosting.frames import Unpacking, packed
from service.hosting.plan import EnginePlan
from service.hosting.process import ProcessHost
from tests.fakes import Remembering

LONG_S = 60.0
LIMITS = BatchLimits(rows=8, tokens=4096)


def plan_of(bundle: Path, provider: str = "cpu", kernels: str = "auto") -> EnginePlan:
    return EnginePlan(bundle, provider, 1, LIMITS.rows, LIMITS.tokens, kernels)


def references(bundle: Path) -> dict[Prompt, list[int]]:
    cases = json.loads((bundle / REFERENCE).read_text())
    return {Prompt(tuple(case["source"])): case["tokens"] for case in cases}


def run(
    bundle: Path,
    scenario: Callable[[Batcher, list[ProcessHost], Remembering], Awaitable[None]],
    *,
    engines: int = 1,
    hang_timeout_s: float = 30.0,
) -> None:
    async def main() -> None:
        hosts = [ProcessHost(plan_of(bundle)) for _ in range(engines)]
        observer = Remembering()
        batcher = Batcher(
            hosts,
            LIMITS,
            max_queue=1000,
            hang_timeout_s=hang_timeout_s,
            restart_delay_s=0.001,
            observer=observer,
        )
        await batcher.start()
        await scenario(batcher, hosts, observer)
        await batcher.drain(LONG_S)
        for host in hosts:
            assert host.pid is not None
            with pytest.raises(ProcessLookupError):
                os.kill(host.pid, 0)  # neither running nor a zombie

    asyncio.run(main())


async def comes_back(batcher: Batcher) -> None:
    async with asyncio.timeout(LONG_S):
        while not batcher.alive:
            await asyncio.sleep(0.01)


def test_two_processes_answer_as_the_bundle_says(bundle: Path) -> None:
    async def scenario(batcher: Batcher, _: list[ProcessHost], observer: Remembering) -> None:
        expected = references(bundle)
        answers = await asyncio.gather(*(batcher.submit(p, LONG_S) for p in expected))
        assert [answer.hypothesis.tokens for answer in answers] == list(expected.values())
        assert sum(observer.joins) == observer.answers == len(expected)

    run(bundle, scenario, engines=2)


@pytest.mark.parametrize(
    ("blow", "hang_timeout_s", "reason"),
    [(signal.SIGKILL, 30.0, "crashed"), (signal.SIGSTOP, 1.0, "hung")],
)
def test_an_engine_that_ends_answers_its_questions_and_comes_back(
    bundle: Path, blow: signal.Signals, hang_timeout_s: float, reason: str
) -> None:
    async def scenario(batcher: Batcher, hosts: list[ProcessHost], observer: Remembering) -> None:
        prompt, tokens = next(iter(references(bundle).items()))
        (host,) = hosts
        struck = host.pid
        assert struck is not None
        os.kill(struck, signal.SIGSTOP)  # so that it cannot answer before the blow
        asked = asyncio.create_task(batcher.submit(prompt, LONG_S))
        await asyncio.sleep(0)
        os.kill(struck, blow)
        with pytest.raises(EngineFailed):
            await asked
        assert not batcher.alive
        await comes_back(batcher)
        assert host.pid != struck
        assert (await batcher.submit(prompt, LONG_S)).hypothesis.tokens == tokens
        assert observer.ends == [reason]

    run(bundle, scenario, hang_timeout_s=hang_timeout_s)


def test_an_engine_restarts_with_no_file_handle_free(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything that a restart needs is held in reserve."""
    taken: list[int] = []

    def take_all() -> None:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))

    async def scenario(batcher: Batcher, hosts: list[ProcessHost], observer: Remembering) -> None:
        (host,) = hosts
        for _ in range(2):
            struck = host.pid
            assert struck is not None
            take_all()
            os.kill(struck, signal.SIGKILL)
            while batcher.alive:
                await asyncio.sleep(0.001)
                take_all()  # the socket of the one that ended, too
            await comes_back(batcher)
            assert host.pid != struck
            assert f"pid {struck} was killed by SIGKILL" in caplog.text
            os.close(taken.pop())
        prompt, tokens = next(iter(references(bundle).items()))
        assert (await batcher.submit(prompt, LONG_S)).hypothesis.tokens == tokens
        assert observer.ends == ["crashed", "crashed"]

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 64, hard)
    )
    try:
        run(bundle, scenario)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for handle in taken:
            os.close(handle)


def test_an_ended_process_has_no_live_pid(bundle: Path) -> None:
    async def main() -> None:
        host = ProcessHost(plan_of(bundle))
        assert host.live_pid is None
        started = await host.start(lambda _: None)
        assert started.kernels == level()
        assert host.live_pid == host.pid
        host.kill()
        await host.ended()
        assert (host.live_pid, host.pid is None) == (None, False)

    asyncio.run(main())


def test_while_one_engine_is_away_the_other_answers(bundle: Path) -> None:
    async def scenario(batcher: Batcher, hosts: list[ProcessHost], observer: Remembering) -> None:
        assert hosts[0].pid is not None
        os.kill(hosts[0].pid, signal.SIGKILL)
        while batcher.alive:
            await asyncio.sleep(0.001)
        prompt, tokens = next(iter(references(bundle).items()))
        assert (await batcher.submit(prompt, LONG_S)).hypothesis.tokens == tokens
        await comes_back(batcher)
        assert observer.ends == ["crashed"]

    run(bundle, scenario, engines=2)


def test_an_engine_that_cannot_be_had_says_why(bundle: Path) -> None:
    missing = next(name for name in LEVELS if name not in levels())

    async def main() -> None:
        for plan, why in (
            (plan_of(bundle, provider="cuda"), "has no CUDA"),
            (plan_of(bundle, kernels=missing), f"kernels {missing}: .*expected auto, none"),
        ):
            host = ProcessHost(plan)
            with pytest.raises(EngineRefused, match=why):
                await host.start(lambda _: None)
            await host.close()

    asyncio.run(main())


def test_a_start_that_is_given_up_hears_nothing_of_its_engine(bundle: Path) -> None:
    """The first message of an engine answers the start and is not a report."""

    async def main() -> None:
        told: list[object] = []
        host = ProcessHost(plan_of(bundle, provider="cuda"))
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        starting = asyncio.create_task(host.start(told.append))
        while host.pid is None:
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # the socket is connected, the engine takes longer to say anything
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await host.ended()
        assert (told, faults) == ([], [])

    asyncio.run(main())


def with_damaged_graphs(bundle: Path, folder: Path) -> Path:
    for file in bundle.iterdir():
        content = b"not a graph" if file.suffix == ".onnx" else file.read_bytes()
        (folder / file.name).write_bytes(content)
    return folder


def test_a_damaged_graph_is_a_failure_to_start(bundle: Path, tmp_path: Path) -> None:
    damaged = with_damaged_graphs(bundle, tmp_path)

    async def main() -> None:
        host = ProcessHost(plan_of(damaged))
        with pytest.raises(EngineNotStarted, match=r"pid \d+ exited with status 1"):
            await host.start(lambda _: None)
        await host.close()

    asyncio.run(main())


def test_a_host_with_one_attempt_gives_up_at_once(bundle: Path, tmp_path: Path) -> None:
    damaged = with_damaged_graphs(bundle, tmp_path)

    async def main() -> None:
        host = ProcessHost(plan_of(damaged), one_attempt=True)
        with pytest.raises(EngineRefused, match="the engine ended before it was ready"):
            await host.start(lambda _: None)
        with pytest.raises(EngineRefused, match="the engine did not start in time"):
            await host.start(lambda _: None)
        await host.close()

    asyncio.run(main())


def test_a_plan_passes_through_the_command_line(bundle: Path) -> None:
    plan = plan_of(bundle)
    assert EnginePlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_messages_are_put_together_from_pieces(size: int) -> None:
    messages = ["a", {"b": [1, 2]}, "c" * 5000, None]
    stream = b"".join(map(packed, messages))
    unpacking = Unpacking()
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert [message for piece in pieces for message in unpacking.feed(piece)] == messages
