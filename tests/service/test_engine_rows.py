"""Engines that have fewer rows than the settings say, as on a GPU whose memory is short."""

from __future__ import annotations

import pytest

from service.contracts import Answered
from service.errors import EngineFailed, InvalidSetting
from tests.simulated import Simulation

LONG_S = 1000.0
REFUSED = "8 beams or samples; an engine decodes at most 4 rows"


def restart(service: Simulation, engine: int, *, rows: int) -> None:
    """Let an engine crash, and the next one find memory for `rows` rows."""
    service.hosts[engine].rows = rows
    service.hosts[engine].crash()
    service.wait(0.0)
    service.wait(1.0)
    assert service.batcher.alive


def test_jobs_that_wait_for_more_rows_than_the_new_engine_has_are_refused() -> None:
    service = Simulation(rows=8)
    running = service.ask(5, LONG_S, beams=8)
    wide, narrow = service.ask(2, LONG_S, beams=8), service.ask(2, LONG_S, beams=4)
    restart(service, 0, rows=4)
    assert isinstance(running.exception(), EngineFailed)
    with pytest.raises(InvalidSetting, match=REFUSED):
        wide.result()
    service.step(2)
    assert isinstance(narrow.result(), Answered)
    with pytest.raises(InvalidSetting, match=REFUSED):
        service.ask(2, LONG_S, beams=8).result()
    restart(service, 0, rows=8)
    again = service.ask(2, LONG_S, beams=8)
    service.step(2)
    assert isinstance(again.result(), Answered)
    service.close()


def test_a_wide_job_waits_for_the_engine_that_has_its_rows_and_holds_up_no_other() -> None:
    service = Simulation(engines=2, rows=8)
    restart(service, 0, rows=2)
    assert service.batcher.rows == 10
    first, second = service.ask(4, LONG_S, beams=8), service.ask(4, LONG_S, beams=8)
    narrow = service.ask(2, LONG_S)
    service.step(2)
    assert isinstance(narrow.result(), Answered)
    assert service.waiting == [first, second]
    service.step(6)
    assert all(isinstance(caller.result(), Answered) for caller in (first, second))
    service.close()


def test_an_engine_is_given_few_more_jobs_than_its_own_rows() -> None:
    service = Simulation(rows=64)
    restart(service, 0, rows=4)
    callers = [service.ask(3, LONG_S) for _ in range(20)]
    assert service.observer.depth == 15
    service.step(30)
    assert all(isinstance(caller.result(), Answered) for caller in callers)
    service.close()
