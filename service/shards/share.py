"""The part of one HTTP process in the service: its cores, its engines, its part of the limits."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from engine.cpu import available_cpus
from service.settings import Settings, SettingsError
from service.shards.cores import divided


@dataclass(frozen=True)
class Share:
    """What one process is given. `settings` are its own: engines, queue and connections divided."""

    index: int
    settings: Settings
    cpus: int  # that its engines may use
    cores: frozenset[int] | None  # that it is bound to; `None`: to none


def shares(settings: Settings) -> list[Share]:
    """Return the share of each process. Raises `SettingsError` for fewer engines than processes."""
    count = settings.processes
    if settings.workers is not None and settings.workers < count:
        raise SettingsError(
            f"CYBERSOLVE_WORKERS is {settings.workers} and CYBERSOLVE_PROCESSES is {count}; "
            "expected an engine or more for each process"
        )
    cpus = available_cpus()
    bound = _bound(count, cpus)
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
            len(bound[index]) if bound else max(1, _part(cpus, count, index)),
            bound[index] if bound else None,
        )
        for index in range(count)
    ]


def _bound(count: int, cpus: int) -> list[frozenset[int]] | None:
    """Return the cores of each process; `None` where processes should not be bound to cores.

    That is where there are fewer cores than processes, and where a quota allows less than all
    cores: the kernel then runs them where there is time left.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = os.sched_getaffinity(0)
    return divided(cores, count) if count <= len(cores) == cpus else None


def _part(total: int, count: int, index: int) -> int:
    """Return the part of `index`, where the first parts are one larger if there is a remainder."""
    return total // count + (index < total % count)
