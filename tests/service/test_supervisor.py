"""Supervision: no exception ends it, and its log says what happened to an engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from service.contracts import Answered, EngineExit, Report, Started
from service.errors import EngineFailed, EngineNotStarted, EngineRefused
from service.hosting.out_of_memory import OutOfMemoryKills, counter_files
from tests.simulated import Simulation, SteppedHost

LONG_S = 1000.0


class FailingHost(SteppedHost):
    """Raises what a test puts into `faults`, one at each restart."""

    faults: Sequence[Exception] = ()
    end = EngineExit()

    async def start(self, on_report: Callable[[Report], None]) -> Started:
        if self.faults:
            fault, *self.faults = self.faults
            raise fault
        return await super().start(on_report)

    async def ended(self) -> EngineExit:
        await super().ended()
        return self.end


FAULTS = [
    OSError(24, "Too many open files"),
    TimeoutError("of the operating system"),
    RuntimeError("can't start new thread"),
    EngineNotStarted("pid 7 exited with status 1"),
    EngineRefused("no such file"),
    KeyError("a bug"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_restart_that_raises_anything_is_tried_again(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    service = Simulation(host=FailingHost)
    (host,) = service.hosts
    assert isinstance(host, FailingHost)
    host.faults = [fault] * 3
    lost = service.ask(5, LONG_S)
    service.step()
    host.crash()
    service.wait(0.0)
    assert isinstance(lost.exception(), EngineFailed)
    assert not service.batcher.alive
    for _ in range(8):
        service.wait(30.0)
    assert service.batcher.alive
    answered = service.ask(1, LONG_S)
    service.step()
    assert isinstance(answered.result(), Answered)
    assert caplog.text.count("next attempt in") == 3
    assert str(fault) in caplog.text
    service.close()


def test_an_end_that_cannot_be_watched_fails_the_jobs_and_restarts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Unwatched(SteppedHost):
        async def ended(self) -> EngineExit:
            await super().ended()
            raise RuntimeError("can't start new thread")

    service = Simulation(host=Unwatched)
    lost = service.ask(5, LONG_S)
    service.hosts[0].crash()
    service.wait(0.0)
    assert isinstance(lost.exception(), EngineFailed)
    service.wait(30.0)
    assert service.batcher.alive
    assert "engine supervision failed" in caplog.text
    service.close()


@pytest.mark.parametrize(
    ("end", "reason", "said"),
    [
        (EngineExit(7, 1), "crashed", "pid 7 exited with status 1"),
        (EngineExit(7, -11), "crashed", "pid 7 was killed by SIGSEGV"),
        (EngineExit(7, -40), "crashed", "pid 7 was killed by signal 40"),
        (
            EngineExit(7, -9, out_of_memory=True),
            "out_of_memory",
            "pid 7 was killed by SIGKILL, out of memory",
        ),
    ],
)
def test_the_log_says_how_an_engine_ended(
    end: EngineExit, reason: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = Simulation(host=FailingHost)
    (host,) = service.hosts
    assert isinstance(host, FailingHost)
    host.end = end
    host.crash()
    service.wait(0.0)
    assert service.observer.ends == [reason]
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert line.getMessage() == f"an engine crashed on 0 questions ({said}); restart in 0.1 s"
    service.close()


def test_an_engine_that_ran_for_long_restarts_quickly_even_if_it_never_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The restart backoff must not depend on callers who wait for their answers."""
    service = Simulation()
    for _ in range(10):
        service.hosts[0].crash()
        service.wait(100.0)
        service.wait(1.0)
        assert service.batcher.alive
    assert caplog.text.count("restart in 0.1 s") == 10
    service.close()


# -- silence: an engine hangs after four checks without a report, a second apart -------------------

HANG_S, CHECK_S = 4.0, 1.0


def test_an_idle_engine_may_be_silent() -> None:
    service = Simulation(hang_timeout_s=HANG_S)
    for _ in range(3):
        for _ in range(10):
            service.wait(CHECK_S)
        answered = service.ask(1, LONG_S)
        service.step()
        assert isinstance(answered.result(), Answered)
    assert service.observer.ends == []
    service.close()


def test_an_engine_with_work_that_says_nothing_is_killed_and_restarted() -> None:
    service = Simulation(hang_timeout_s=HANG_S)
    lost = service.ask(5, LONG_S)
    for _ in range(4):
        service.wait(CHECK_S)
    assert service.observer.ends == []
    service.wait(CHECK_S)
    assert service.observer.ends == ["hung"]
    assert isinstance(lost.exception(), EngineFailed)
    service.wait(1.0)
    assert service.batcher.alive
    service.close()


def test_a_pause_of_the_whole_machine_does_not_count_as_a_hang() -> None:
    service = Simulation(hang_timeout_s=HANG_S)
    answered = service.ask(1, LONG_S)
    service.wait(100 * HANG_S)  # one check is late, and no time was left for a report
    service.step()
    assert isinstance(answered.result(), Answered)
    assert service.observer.ends == []
    service.close()


class Late(SteppedHost):
    """Starts never, while it is `silent`."""

    silent = False

    async def start(self, on_report: Callable[[Report], None]) -> Started:
        if self.silent:
            await asyncio.get_running_loop().create_future()
        return await super().start(on_report)


def test_an_engine_that_hangs_at_its_start_is_started_again() -> None:
    service = Simulation(host=Late, hang_timeout_s=HANG_S)
    (host,) = service.hosts
    assert isinstance(host, Late)
    host.silent = True
    host.crash()
    service.wait(0.0)
    service.wait(0.1)
    host.silent = False
    for _ in range(39):
        service.wait(1.0)
    assert not service.batcher.alive
    service.wait(1.0)
    service.wait(1.0)
    assert service.batcher.alive
    answered = service.ask(1, LONG_S)
    service.step()
    assert isinstance(answered.result(), Answered)
    service.close()


# -- kills for want of memory ----------------------------------------------------------------------


def write_counter(file: Path, count: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"low 0\nhigh 0\nmax 3\noom 3\noom_kill {count}\noom_group_kill 0\n")


def test_each_out_of_memory_kill_is_attributed_once(tmp_path: Path) -> None:
    file = tmp_path / "memory.events"
    write_counter(file, 4)
    kills = OutOfMemoryKills([tmp_path / "missing", file])
    assert not kills.attribute()
    write_counter(file, 6)
    assert [kills.attribute() for _ in range(3)] == [True, True, False]
    kills.close()
    assert not kills.attribute()


def test_without_a_counter_nothing_is_attributed(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\n")
    assert not OutOfMemoryKills([tmp_path / "memory.events"]).attribute()


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("0::/a.service", "a.service/memory.events"),
        ("0::/hidden", "memory.events"),
        ("4:cpu,memory:/a", "memory/a/memory.oom_control"),
    ],
)
def test_the_counter_is_found_in_both_versions(tmp_path: Path, line: str, file: str) -> None:
    (tmp_path / "cgroup").write_text(f"5:cpuset:/a\n{line}\n")
    write_counter(tmp_path / file, 2)
    found = [path for path in counter_files(tmp_path / "cgroup", tmp_path) if path.exists()]
    assert found == [tmp_path / file]
    assert list(counter_files(tmp_path / "missing", tmp_path)) == []
