"""Divide the cores of a machine among processes, so that none spans NUMA nodes needlessly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TypeVar

SYSTEM = Path("/sys/devices/system")
Item = TypeVar("Item")


def divided(cores: AbstractSet[int], parts: int, system: Path = SYSTEM) -> list[frozenset[int]]:
    """Return `parts` disjoint sets, not empty, that are `cores` together.

    A part lies within one NUMA node where there are as many parts as nodes or more; otherwise it is
    some whole nodes. Hyper-threads of one core are in one part where the numbers allow it. There
    must be as many cores as parts.
    """
    assert 0 < parts <= len(cores), "fewer cores than parts: this is a bug"
    nodes = _nodes(cores, system)
    if parts < len(nodes):
        return [frozenset().union(*group) for group in _cut(nodes, parts)]
    counts = _apportioned([len(node) for node in nodes], parts)
    return [
        frozenset(part)
        for node, count in zip(nodes, counts, strict=True)
        for part in _cut(_siblings_together(node, system), count)
    ]


def _nodes(cores: AbstractSet[int], system: Path) -> list[list[int]]:
    """Return the cores of each node; one node where the kernel names none."""
    files = sorted(system.glob("node/node*/cpulist"))
    nodes = [sorted(_cpu_list(file.read_text()) & cores) for file in files]
    known = {core for node in nodes for core in node}
    rest = sorted(cores - known)
    return [node for node in (*nodes, rest) if node]


def _siblings_together(node: Sequence[int], system: Path) -> list[int]:
    def first_sibling(core: int) -> tuple[int, int]:
        try:
            text = (system / f"cpu/cpu{core}/topology/thread_siblings_list").read_text()
        except OSError:
            return core, core
        return min(_cpu_list(text), default=core), core

    return sorted(node, key=first_sibling)


def _apportioned(sizes: Sequence[int], parts: int) -> list[int]:
    """Divide `parts` by size: each gets one, and the next always goes where parts are largest."""
    counts = [1] * len(sizes)
    for _ in range(parts - len(sizes)):
        largest = max(range(len(sizes)), key=lambda one: sizes[one] / counts[one])
        counts[largest] += 1
    return counts


def _cut(items: Sequence[Item], parts: int) -> Iterator[Sequence[Item]]:
    """Cut into `parts` whose lengths differ by one at most."""
    for part in range(parts):
        yield items[part * len(items) // parts : (part + 1) * len(items) // parts]


def _cpu_list(text: str) -> set[int]:
    """Read the kernel's list format, such as `0-3,8-11`."""
    cores: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cores |= set(range(int(first), int(last or first) + 1))
    return cores
