"""Place processes on the NUMA nodes of a machine, each on as few as it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

SYSTEM = Path("/sys/devices/system")


class Place(NamedTuple):
    """The cores on which a process may run, and how many of them are its part."""

    cores: frozenset[int]
    cpus: int


def placed(cores: AbstractSet[int], processes: int, system: Path = SYSTEM) -> list[Place]:
    """Return a place for each process; their parts are `cores` together.

    Processes on one node may run on all of its cores. Where there are fewer processes than nodes,
    each has some whole nodes. There must be as many cores as processes.
    """
    assert 0 < processes <= len(cores), "fewer cores than processes: this is a bug"
    nodes = _nodes(cores, system)
    if processes < len(nodes):
        groups = [frozenset().union(*group) for group in _cut(nodes, processes)]
        return [Place(group, len(group)) for group in groups]
    counts = _apportioned([len(node) for node in nodes], processes)
    return [
        Place(node, len(node) // count + (index < len(node) % count))
        for node, count in zip(nodes, counts, strict=True)
        for index in range(count)
    ]


def _nodes(cores: AbstractSet[int], system: Path) -> list[frozenset[int]]:
    """Return the cores of each node; one node where the kernel names none."""
    files = sorted(system.glob("node/node*/cpulist"))
    nodes = [frozenset(_cpu_list(file.read_text()) & cores) for file in files]
    rest = frozenset(cores).difference(*nodes)
    return [node for node in (*nodes, rest) if node]


def _apportioned(sizes: Sequence[int], processes: int) -> list[int]:
    """Divide processes by size: one for each node, the next always where parts are largest."""
    counts = [1] * len(sizes)
    for _ in range(processes - len(sizes)):
        largest = max(range(len(sizes)), key=lambda one: sizes[one] / counts[one])
        counts[largest] += 1
    return counts


def _cut(nodes: Sequence[frozenset[int]], parts: int) -> Iterator[Sequence[frozenset[int]]]:
    """Cut into `parts` whose lengths differ by one at most."""
    for part in range(parts):
        yield nodes[part * len(nodes) // parts : (part + 1) * len(nodes) // parts]


def _cpu_list(text: str) -> AbstractSet[int]:
    """Read the kernel's list format, such as `0-3,8-11`."""
    cores: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cores |= set(range(int(first), int(last or first) + 1))
    return cores
