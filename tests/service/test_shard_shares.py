"""The cores of a machine and the limits of the service are divided among processes."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cpu import available_cpus
from service.settings import Settings, SettingsError
from service.shards.cores import placed
from service.shards.share import shares, within_cores


def machine(folder: Path, *nodes: str) -> Path:
    """Return a folder like /sys/devices/system with these NUMA nodes."""
    for index, cores in enumerate(nodes):
        (folder / f"node/node{index}").mkdir(parents=True)
        (folder / f"node/node{index}/cpulist").write_text(f"{cores}\n")
    return folder


FIRST, SECOND = frozenset({0, 1, 2, 3}), frozenset({4, 5, 6, 7})


def test_no_process_spans_two_nodes(tmp_path: Path) -> None:
    system = machine(tmp_path, "0-3", "4-7")
    both = FIRST | SECOND
    assert placed(both, 2, system) == [(FIRST, 4), (SECOND, 4)]
    assert placed(both, 3, system) == [(FIRST, 2), (FIRST, 2), (SECOND, 4)]
    assert placed(both, 5, system) == [(FIRST, 2), (FIRST, 1), (FIRST, 1), (SECOND, 2), (SECOND, 2)]
    assert placed(FIRST | {7}, 2, system) == [(FIRST, 4), ({7}, 1)]


def test_fewer_processes_than_nodes_have_whole_nodes(tmp_path: Path) -> None:
    system = machine(tmp_path, "0-1", "2-3", "4-5", "6-7")
    assert placed(FIRST | SECOND, 2, system) == [(FIRST, 4), (SECOND, 4)]


def test_a_machine_that_names_no_nodes_is_one(tmp_path: Path) -> None:
    every = frozenset({3, 5, 9})
    assert placed(every, 2, tmp_path) == [(every, 2), (every, 1)]


@given(st.sets(st.integers(0, 63), min_size=1), st.integers(1, 4), st.data())
def test_every_core_is_part_of_one_process(
    cores: set[int], nodes: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lists = [
            ",".join(str(core) for core in range(64) if core % nodes == n) for n in range(nodes)
        ]
        system = machine(Path(folder), *lists)
        processes = data.draw(st.integers(1, len(cores)))
        places = placed(cores, processes, system)
    assert len(places) == processes
    assert all(1 <= place.cpus <= len(place.cores) for place in places)
    assert sum(place.cpus for place in places) == len(cores)
    assert frozenset().union(*(place.cores for place in places)) == cores


def test_limits_and_engines_are_divided() -> None:
    settings = replace(Settings(), processes=3, workers=7, max_queue=10, max_connections=100)
    given = [share.settings for share in shares(settings)]
    assert [one.workers for one in given] == [3, 2, 2]
    assert [one.max_queue for one in given] == [4, 4, 4]
    assert [one.max_connections for one in given] == [34, 34, 34]
    assert {one.processes for one in given} == {3}


@pytest.mark.parametrize(
    ("cores", "asked", "given"),
    [(1, 2, 1), (2, 1, 1), (2, 2, 1), (3, 8, 1), (4, 2, 2), (16, 4, 4), (16, 12, 8)],
)
def test_a_process_has_two_cores_or_more(cores: int, asked: int, given: int) -> None:
    settings = replace(Settings(), processes=asked)
    assert within_cores(settings, cores) == replace(settings, processes=given)


def test_processes_and_engines_that_are_both_set_are_as_set() -> None:
    settings = replace(Settings(), processes=2, workers=2)
    assert within_cores(settings, 2) == settings


def test_more_processes_than_cores_share_all_of_them() -> None:
    many = shares(replace(Settings(), processes=available_cpus() + 1))
    assert {(share.cores, share.cpus) for share in many} == {
        (frozenset(os.sched_getaffinity(0)), 1)
    }


def test_every_process_needs_an_engine() -> None:
    with pytest.raises(SettingsError, match="CYBERSOLVE_WORKERS is 1 and CYBERSOLVE_PROCESSES"):
        shares(replace(Settings(), processes=2, workers=1))
