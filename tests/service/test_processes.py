"""Resources of processes: of /proc as it is here, and of one made for the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.samples import Sample

from service.metrics import Metrics
from service.processes import Processes, memory_limit_bytes, usage_of

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
PAGE, TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


def process(proc: Path, pid: int, *, ticks: int, pages: int, fds: int, limit: str = "1024") -> None:
    """Write what /proc says of a process whose name is as misleading as it may be."""
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    for fd in range(fds):
        (folder / "fd" / str(fd)).touch()
    before = "S 1 2 3 4 5 6 7 8 9 10"
    stat = f"{pid} (a) b) c) {before} {ticks} {ticks} 0 0 20 0 1 0 999 5000 {pages} 0"
    (folder / "stat").write_text(stat)
    (folder / "limits").write_text(f"Limit  Soft Limit\nMax open files   {limit}   4096   files\n")


def samples(proc: Path, pids: dict[str, int], cgroup: Path) -> dict[tuple[str, str], float]:
    found: list[Sample] = []
    for metric in Processes(lambda: pids, proc, cgroup).collect():
        found += metric.samples
    return {(each.name, each.labels.get("engine", "")): each.value for each in found}


def test_every_engine_has_its_own_figures(tmp_path: Path) -> None:
    process(tmp_path, 10, ticks=TICK, pages=3, fds=4)
    process(tmp_path, 11, ticks=2 * TICK, pages=5, fds=6, limit="unlimited")
    found = samples(tmp_path, {"0": 10, "1": 11}, tmp_path / "none")
    assert found == {
        ("cybersolve_engine_cpu_seconds_total", "0"): 2.0,
        ("cybersolve_engine_cpu_seconds_total", "1"): 4.0,
        ("cybersolve_engine_resident_memory_bytes", "0"): 3 * PAGE,
        ("cybersolve_engine_resident_memory_bytes", "1"): 5 * PAGE,
        ("cybersolve_engine_open_fds", "0"): 4,
        ("cybersolve_engine_open_fds", "1"): 6,
        ("cybersolve_engine_max_fds", "0"): 1024,
        ("cybersolve_engine_max_fds", "1"): float("inf"),
    }


def test_an_engine_that_has_just_ended_has_no_figures(tmp_path: Path) -> None:
    assert samples(tmp_path, {"0": 10}, tmp_path) == {}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "max"}, 8192),
        ({"memory.max": "4096"}, 4096),
        ({"memory/memory.limit_in_bytes": "2048"}, 2048),
        ({"memory/memory.limit_in_bytes": str(1 << 62)}, 8192),  # version 1 has no word for none
        ({}, 8192),
    ],
)
def test_the_memory_limit_is_the_containers_or_the_machines(
    tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:   8 kB\nMemFree:    1 kB\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert memory_limit_bytes(tmp_path, tmp_path) == expected


def test_without_proc_there_is_no_limit_and_no_sample(tmp_path: Path) -> None:
    assert memory_limit_bytes(tmp_path, tmp_path) is None


@LINUX
def test_a_real_process_has_plausible_figures() -> None:
    # `Popen` returns while the program is still being loaded, with no page counted yet.
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"\n"
        usage = usage_of(child.pid)
        child.communicate(b"\n")
    assert usage is not None
    assert usage.resident_bytes > 0
    assert 0 < usage.open_fds <= usage.max_fds
    assert usage_of(child.pid) is None


@LINUX
def test_the_http_process_has_the_figures_of_every_prometheus_client() -> None:
    text = Metrics().exposition().decode()
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds"):
        assert f"\nprocess_{name} " in text
