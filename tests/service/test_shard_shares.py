"""How the cores of a machine and the limits of the service are divided among processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cpu import available_cpus
from service.settings import Settings, SettingsError
from service.shards.cores import divided
from service.shards.share import shares


def machine(folder: Path, nodes: list[str], siblings: list[str] | None = None) -> Path:
    """Return a folder like /sys/devices/system with these NUMA nodes and hyper-threads."""
    for index, cores in enumerate(nodes):
        (folder / f"node/node{index}").mkdir(parents=True)
        (folder / f"node/node{index}/cpulist").write_text(f"{cores}\n")
    for together in siblings or []:
        for core in together.split(","):
            (folder / f"cpu/cpu{core}/topology").mkdir(parents=True)
            (folder / f"cpu/cpu{core}/topology/thread_siblings_list").write_text(f"{together}\n")
    return folder


def sets(*parts: str) -> list[frozenset[int]]:
    return [frozenset(map(int, part.split())) for part in parts]


def test_no_part_spans_two_nodes(tmp_path: Path) -> None:
    system = machine(tmp_path, ["0-3", "4-7"])
    assert divided(set(range(8)), 2, system) == sets("0 1 2 3", "4 5 6 7")
    assert divided(set(range(8)), 3, system) == sets("0 1", "2 3", "4 5 6 7")
    assert divided({0, 1, 2, 3, 7}, 2, system) == sets("0 1 2 3", "7")


def test_fewer_parts_than_nodes_are_whole_nodes(tmp_path: Path) -> None:
    system = machine(tmp_path, ["0-1", "2-3", "4-5", "6-7"])
    assert divided(set(range(8)), 2, system) == sets("0 1 2 3", "4 5 6 7")


def test_threads_of_one_core_stay_together(tmp_path: Path) -> None:
    system = machine(tmp_path, ["0-3"], ["0,2", "1,3"])
    assert divided(set(range(4)), 2, system) == sets("0 2", "1 3")


def test_a_machine_that_names_no_nodes_is_one(tmp_path: Path) -> None:
    assert divided({3, 5, 9}, 2, tmp_path) == sets("3", "5 9")


@given(st.sets(st.integers(0, 63), min_size=1), st.data())
def test_parts_are_disjoint_and_all_cores(cores: set[int], data: st.DataObject) -> None:
    parts = data.draw(st.integers(1, len(cores)))
    found = divided(cores, parts)
    assert len(found) == parts
    assert all(found)
    assert sum(map(len, found)) == len(cores)
    assert frozenset().union(*found) == cores


def test_limits_and_engines_are_divided() -> None:
    settings = replace(Settings(), processes=3, workers=7, max_queue=10, max_connections=100)
    given = [share.settings for share in shares(settings)]
    assert [one.workers for one in given] == [3, 2, 2]
    assert [one.max_queue for one in given] == [4, 4, 4]
    assert [one.max_connections for one in given] == [34, 34, 34]
    assert {one.processes for one in given} == {3}


def test_processes_are_bound_to_cores_only_where_each_has_one() -> None:
    cpus = available_cpus()
    many = shares(replace(Settings(), processes=cpus + 1))
    assert {(share.cores, share.cpus) for share in many} == {(None, 1)}


def test_every_process_needs_an_engine() -> None:
    with pytest.raises(SettingsError, match="CYBERSOLVE_WORKERS is 1 and CYBERSOLVE_PROCESSES"):
        shares(replace(Settings(), processes=2, workers=1))
