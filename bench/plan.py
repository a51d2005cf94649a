"""Replicas and money for a rate, from what one replica answers: the sums of docs/scaling.md."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Replica:
    """One pod: what it answers at the knee, how much of that is planned with, and its price."""

    questions_per_s: float
    planned_share: float  # the rest is for bursts and for the replicas that are restarting
    dollars_per_hour: float


def replicas(rate: float, replica: Replica) -> int:
    """Enough for `rate` questions a second, and two at least."""
    return max(2, math.ceil(rate / (replica.questions_per_s * replica.planned_share)))


def dollars_per_hour(rate: float, replica: Replica) -> float:
    return replicas(rate, replica) * replica.dollars_per_hour


def dollars_per_million(replica: Replica) -> float:
    """Questions, at the planned share."""
    per_hour = 3600 * replica.questions_per_s * replica.planned_share
    return 1e6 * replica.dollars_per_hour / per_hour
