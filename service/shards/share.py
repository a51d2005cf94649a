"""The part of one HTTP process in the service: its cores, its engines, its part of the limits."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from engine.cpu import available_cpus
from service.settings import Settings, SettingsError
from service.shards.cores import Place, placed

_CORES_EACH = 2  # of an HTTP process, which its engines share


@dataclass(frozen=True)
class Share:
    """The share of one process. `settings` are its own: engines, queue and connections divided."""

    index: int
    settings: Settings
    cpus: int  # that its engines may use
    cores: frozenset[int]  # on which it may run; none: this system binds no process


def within_cores(settings: Settings, cores: int) -> Settings:
    """Return `settings` with as many HTTP processes as help on `cores` cores, at most as set.

    A process takes half as much time for a question as an engine does, so each has two cores or
    more. On one core it would interrupt its own engine (decision 43). Where the number of engines
    is set as well, both numbers are taken as they are.
    """
    if settings.workers is not None:
        return settings
    most = max(1, cores // _CORES_EACH)
    return replace(settings, processes=min(settings.processes, most))


def shares(settings: Settings) -> list[Share]:
    """Return the share of each process. Raises `SettingsError` for fewer engines than processes."""
    count = settings.processes
    if settings.workers is not None and settings.workers < count:
        raise SettingsError(
            f"CYBERSOLVE_WORKERS is {settings.workers} and CYBERSOLVE_PROCESSES is {count}; "
            "expected an engine or more for each process"
        )
    return [
        Share(
            index,
            replace(
                settings,
                workers=None if settings.workers is None else _part(settings.workers, count, index),
                max_queue=-(-settings.max_queue // count),
                max_queue_tokens=-(-settings.max_queue_tokens // count),
                max_connections=-(-settings.max_connections // count),
            ),
            place.cpus,
            place.cores,
        )
        for index, place in enumerate(_places(count))
    ]


def _places(count: int) -> list[Place]:
    """Return the place of each process.

    Where there are fewer cores than processes, and where a quota allows less than all cores, all
    processes may run on all cores: the kernel runs them where there is time left.
    """
    cores = frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ())
    cpus = available_cpus()
    if count <= len(cores) == cpus:
        return placed(cores, count)
    return [Place(cores, max(1, _part(cpus, count, index))) for index in range(count)]


def _part(total: int, count: int, index: int) -> int:
    """Return the part of `index`, where the first parts are one larger if there is a remainder."""
    return total // count + (index < total % count)
