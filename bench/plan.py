"""Compute replicas and cost for a rate from the throughput of one replica: docs/scaling.md."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Replica:
    """One pod: its throughput at the knee, the share of it to plan with, and its price."""

    questions_per_s: float
    planned_share: float  # the rest is for bursts and for the replicas that are restarting
    dollars_per_hour: float


def replicas(rate: float, replica: Replica) -> int:
    """Return the replicas that `rate` questions a second need, at least two."""
    return max(2, math.ceil(rate / (replica.questions_per_s * replica.planned_share)))


def dollars_per_hour(rate: float, replica: Replica) -> float:
    return replicas(rate, replica) * replica.dollars_per_hour


def dollars_per_million(replica: Replica) -> float:
    """Return the cost of a million questions at the planned share."""
    per_hour = 3600 * replica.questions_per_s * replica.planned_share
    return 1e6 * replica.dollars_per_hour / per_hour
