"""Admission control accepts or rejects requests and jobs by a load that the tests set by hand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.admission import Admission
from service.errors import NotReady, Overloaded, ShuttingDown
from tests.fakes import Remembering


@dataclass
class FixedLoad:
    """Implements `service.admission.Load` with fixed values."""

    engines_up: int = 1
    queue_full: bool = False
    idle: bool = False
    expected_s: float = 0.0

    def answer_s(self) -> float:
        return self.expected_s

    def queue_s(self) -> float:
        return self.expected_s


def admission(load: FixedLoad, *, recent: int = 10) -> tuple[Admission, Remembering]:
    observer = Remembering()
    return Admission(load, observer, recent_questions=recent), observer


def test_an_open_service_with_room_admits() -> None:
    admitting, observer = admission(FixedLoad())
    assert admitting.rejection() is None
    admitting.require_deadline("x = 1", 1.0)
    admitting.require_open()
    admitting.require_capacity(1.0)
    assert observer.refusals == []


def test_without_an_engine_nothing_is_admitted() -> None:
    admitting, observer = admission(FixedLoad(engines_up=0))
    assert isinstance(admitting.rejection(), NotReady)
    with pytest.raises(NotReady), admitting.request():
        pass
    with pytest.raises(NotReady):
        admitting.require_open()
    assert observer.refusals == ["not_ready"] * 3


def test_a_full_queue_rejects_requests_and_jobs() -> None:
    admitting, observer = admission(FixedLoad(queue_full=True))
    assert isinstance(admitting.rejection(), Overloaded)
    with pytest.raises(Overloaded, match="full"):
        admitting.require_capacity(None)
    assert observer.refusals == ["queue_full"] * 2


def test_three_quarters_of_a_deadline_may_pass_before_the_answer() -> None:
    load = FixedLoad(expected_s=3.0)
    admitting, observer = admission(load)
    admitting.require_deadline("x = 1", 4.0)
    load.expected_s = 3.1
    with pytest.raises(Overloaded, match="deadline") as rejected:
        admitting.require_deadline("x = 1", 4.0)
    assert rejected.value.retry_after_s == 4
    assert observer.refusals == ["deadline"]
    load.idle = True
    admitting.require_deadline("x = 1", 4.0)


def test_a_recent_question_passes_whatever_its_deadline() -> None:
    admitting, observer = admission(FixedLoad(expected_s=100.0, queue_full=True))
    admitting.recent.add("x = 1")
    admitting.require_deadline("x = 1", 0.1)
    with pytest.raises(Overloaded):
        admitting.require_deadline("x = 2", 0.1)
    assert observer.refusals == ["deadline"]


def test_draining_admits_only_the_jobs_of_requests_in_progress_and_waits_for_these() -> None:
    admitting, observer = admission(FixedLoad())

    async def scenario() -> None:
        with admitting.request():
            draining = asyncio.create_task(admitting.drain())
            await asyncio.sleep(0)
            assert isinstance(admitting.rejection(), ShuttingDown)
            with pytest.raises(ShuttingDown), admitting.request():
                pass
            admitting.require_open()
            assert not draining.done()
        await draining

    asyncio.run(scenario())
    assert not admitting.closed
    assert observer.refusals == ["shutting_down"] * 2


def test_once_closed_no_job_is_admitted() -> None:
    admitting, _ = admission(FixedLoad())
    admitting.close()
    assert admitting.closed
    assert isinstance(admitting.rejection(), ShuttingDown)
    with pytest.raises(ShuttingDown):
        admitting.require_open()


@given(
    load=st.builds(
        FixedLoad,
        engines_up=st.integers(0, 2),
        queue_full=st.booleans(),
        idle=st.booleans(),
        expected_s=st.floats(0.0, 1e9),
    ),
    timeout_s=st.floats(0.001, 1e6),
    closed=st.booleans(),
)
def test_every_rejection_is_counted_once(load: FixedLoad, timeout_s: float, closed: bool) -> None:
    admitting, observer = admission(load)
    if closed:
        admitting.close()
    rejections = [admitting.rejection(), admitting.overload(timeout_s)]
    for rejected in (admitting.require_open, lambda: admitting.require_capacity(timeout_s)):
        try:
            rejected()
        except (NotReady, Overloaded, ShuttingDown) as error:
            rejections.append(error)
    assert len(observer.refusals) == len([one for one in rejections if one is not None])
    for one in rejections:
        if isinstance(one, Overloaded):
            assert 1 <= one.retry_after_s <= 60
