"""docs/scaling.md: its tables are the arithmetic of the figures that it states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.plan import Replica, dollars_per_hour, dollars_per_million, replicas

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs/scaling.md").read_text()


def stated(label: str) -> float:
    (found,) = re.findall(rf"^\| {re.escape(label)} \| ([\d.,]+)", DOCUMENT, re.MULTILINE)
    return float(found.replace(",", ""))


def test_the_tables_follow_from_the_inputs() -> None:
    replica = Replica(
        stated("questions/s of a replica at its knee"),
        stated("share of it that is planned with"),
        stated("dollars an hour for a replica"),
    )
    rows = re.findall(r"^\| ([\d,]+) a second \| ([\d,]+) \| ([\d.,]+) \|", DOCUMENT, re.MULTILINE)
    assert len(rows) == 3
    for rate, count, dollars in rows:
        asked = float(rate.replace(",", ""))
        assert int(count.replace(",", "")) == replicas(asked, replica)
        assert float(dollars.replace(",", "")) == pytest.approx(
            dollars_per_hour(asked, replica), rel=0.01
        )
    assert stated("dollars for a million questions") == pytest.approx(
        dollars_per_million(replica), rel=0.05
    )


def test_there_are_always_two_replicas() -> None:
    assert replicas(0.1, Replica(100, 0.6, 1.0)) == 2
