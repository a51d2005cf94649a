"""Memory, CPU and open files of the service's processes, read from /proc when they are asked for.

The HTTP process has the usual metrics of Prometheus clients (`process_*`). Engines have the same
metrics with their index as the label `engine`. Without /proc there are no samples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
# Positions in /proc/PID/stat after the command's name, which may hold any character: proc(5).
_USER, _SYSTEM, _RESIDENT = 11, 12, 21
Pids = Callable[[], Mapping[str, int]]  # by engine


@dataclass(frozen=True)
class Usage:
    """Resources that one process uses."""

    cpu_s: float  # user and system time since its start
    resident_bytes: int
    open_fds: int
    max_fds: float


def usage_of(pid: int, proc: Path = PROC) -> Usage | None:
    """Return the resources of a process, or None if it has ended or there is no /proc."""
    folder = proc / str(pid)
    try:
        stat = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        open_fds = len(os.listdir(folder / "fd"))
        limits = (folder / "limits").read_text()
    except OSError:
        return None
    ticks = int(stat[_USER]) + int(stat[_SYSTEM])
    return Usage(
        cpu_s=ticks / os.sysconf("SC_CLK_TCK"),
        resident_bytes=int(stat[_RESIDENT]) * os.sysconf("SC_PAGE_SIZE"),
        open_fds=open_fds,
        max_fds=_soft_limit(limits, "Max open files"),
    )


def memory_limit_bytes(proc: Path = PROC, cgroup: Path = CGROUP) -> int | None:
    """Return the memory that all processes may use: the container's limit, or the machine's."""
    kib = _first_number(proc / "meminfo")
    limits = (
        _first_number(cgroup / "memory.max"),
        _first_number(cgroup / "memory" / "memory.limit_in_bytes"),  # of cgroup version 1
        None if kib is None else 1024 * kib,
    )
    return min((limit for limit in limits if limit is not None), default=None)


class Processes(Collector):
    """A collector of the engines' resources and of the memory that all processes may use."""

    def __init__(self, pids: Pids, proc: Path = PROC, cgroup: Path = CGROUP) -> None:
        self._pids = pids
        self._proc = proc
        self._cgroup = cgroup

    def collect(self) -> Iterable[Metric]:
        cpu = CounterMetricFamily(
            "cybersolve_engine_cpu_seconds", "CPU time of an engine's process.", labels=["engine"]
        )
        resident = _gauge("resident_memory_bytes", "Resident memory of an engine's process.")
        open_fds = _gauge("open_fds", "File descriptors that an engine's process has open.")
        max_fds = _gauge("max_fds", "File descriptors that an engine's process may have open.")
        for engine, usage in self._usages():
            cpu.add_metric([engine], usage.cpu_s)
            resident.add_metric([engine], usage.resident_bytes)
            open_fds.add_metric([engine], usage.open_fds)
            max_fds.add_metric([engine], usage.max_fds)
        memory_limit = GaugeMetricFamily(
            "cybersolve_memory_limit_bytes", "Memory that all processes of the service may use."
        )
        if (limit_bytes := memory_limit_bytes(self._proc, self._cgroup)) is not None:
            memory_limit.add_metric([], limit_bytes)
        return cpu, resident, open_fds, max_fds, memory_limit

    def _usages(self) -> Iterator[tuple[str, Usage]]:
        for engine, pid in self._pids().items():
            if (usage := usage_of(pid, self._proc)) is not None:
                yield engine, usage


def register(registry: CollectorRegistry, pids: Pids) -> None:
    """Add the metrics of this process and of the engines to `registry`."""
    ProcessCollector(registry=registry)
    registry.register(Processes(pids))


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"cybersolve_engine_{name}", text, labels=["engine"])


def _soft_limit(limits: str, name: str) -> float:
    """Return the soft limit in a line of /proc/PID/limits."""
    (line,) = (line for line in limits.splitlines() if line.startswith(name))
    soft = line[len(name) :].split()[0]
    return float("inf") if soft == "unlimited" else float(soft)


def _first_number(path: Path) -> int | None:
    """Return the first number of a file; None for one that is missing or says `max`."""
    try:
        words = path.read_text().split()
    except OSError:
        return None
    return next((int(word) for word in words if word.isdigit()), None)
