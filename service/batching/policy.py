"""Decide how many waiting jobs join an engine, and how often it exchanges messages. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_ROWS_PER_STEP = 8  # an engine of 32 rows exchanges messages every fifth step, one of 7 every step


@dataclass(frozen=True)
class BatchLimits:
    """Limit the rows that an engine decodes at once, and the tokens of rows that join together."""

    rows: int
    tokens: int


class Size(NamedTuple):  # several are made for each job
    """The source tokens of a job, and the rows that it takes: beams and samples take one each."""

    tokens: int
    rows: int = 1


def joining(jobs: Sequence[Size], free: int, limits: BatchLimits, *, sharing: int = 1) -> int:
    """Return how many waiting jobs join an engine with `free` rows now, oldest first.

    `jobs` are in order of age. Jobs that fit join at once; with a backlog a quarter of the rows
    must be free first, because encoding prompts one at a time costs twice as much for each. The
    `sharing` idle engines split the jobs evenly. The oldest job joins whatever its length as soon
    as it has its rows, so that none starves.
    """
    if not jobs or not enough_free(sum(job.rows for job in jobs), jobs[0].rows, free, limits):
        return 0
    share = -(-len(jobs) // max(1, sharing))
    left_rows, left_tokens = min(free, limits.rows), max(limits.tokens, jobs[0].tokens)
    chosen = 0
    for job in jobs[:share]:
        left_rows -= job.rows
        left_tokens -= job.tokens
        if left_rows < 0 or left_tokens < 0:
            break
        chosen += 1
    return chosen


def enough_free(waiting: int, oldest: int, free: int, limits: BatchLimits) -> bool:
    """Return whether any waiting job would join an engine with `free` rows now.

    `waiting` are the rows of all jobs that wait, and `oldest` those of the first.
    """
    return free >= min(waiting, max(oldest, limits.rows // 4)) and free >= oldest


def steps_between_messages(rows: int) -> int:
    """Return how many steps an engine with `rows` active rows makes between two exchanges.

    In an exchange it reads its orders and reports its answers. With many rows nearly every step
    ends one and another could begin. One at a time, each costs a message in both directions and a
    call of the encoder of its own, which is twice as much for a prompt as in a group.
    """
    return 1 + rows // _ROWS_PER_STEP
