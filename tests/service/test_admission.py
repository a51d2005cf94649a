"""Admission control never locks callers out, whatever others do: disconnect, time out, crash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from service.contracts import Answered
from service.errors import DeadlineExceeded, EngineFailed, NotReady, Overloaded
from tests.simulated import Simulation

STEPS = 30  # of an answer, 0.1 s each


@contextmanager
def simulation(**parts: float) -> Iterator[Simulation]:
    running = Simulation(**parts)  # type: ignore[arg-type]
    try:
        yield running
    finally:
        running.close()


def test_callers_that_disconnect_do_not_lock_out_those_who_come_after() -> None:
    """Four callers that disconnect after a third of the usual time, for 25 seconds."""
    with simulation() as service:
        first = service.ask(STEPS, 30.0)
        service.step(STEPS)
        assert isinstance(first.result(), Answered)
        for _ in range(25):  # of a second each
            hurried = [service.ask(STEPS, 30.0) for _ in range(4)]
            service.step(STEPS // 3)
            for caller in hurried:
                service.disconnect(caller)
        patient = [service.ask(STEPS, 30.0) for _ in range(12)]
        service.step(4 * STEPS)
        assert all(isinstance(caller.result(), Answered) for caller in patient)


def test_deadlines_too_short_for_the_model_do_not_lock_out_longer_ones() -> None:
    """Nothing is known but the time of rows that were not finished."""
    with simulation() as service:
        for _ in range(20):
            first, *others = [service.ask(STEPS, 0.5) for _ in range(4)]
            service.step(STEPS)
            assert isinstance(first.exception(), DeadlineExceeded)
            for caller in others:
                assert isinstance(caller.exception(), DeadlineExceeded | Overloaded)
        assert service.batcher.admission.overload(5.0) is None


def test_one_caller_that_always_disconnects_does_not_keep_the_others_out() -> None:
    """An engine that was slow once and is never idle again: the estimate decays with time."""
    with simulation(rows=1) as service:
        (host,) = service.hosts
        host.step_s = 60.0
        service.ask(1, 100.0)
        service.step()
        host.step_s = 0.1
        rude = service.ask(STEPS, 30.0)
        assert service.batcher.admission.overload(30.0) is not None
        for _ in range(12):
            service.step(STEPS)
            service.wait(20.0)
            rude = service.ask(STEPS, 1000.0)
            service.step()
        assert not rude.done()
        assert service.batcher.admission.overload(30.0) is None


def test_a_caller_that_would_rather_wait_is_queued_until_its_deadline() -> None:
    with simulation(rows=1) as service:
        service.ask(STEPS, 30.0)
        service.step(STEPS)
        service.ask(STEPS, 30.0)
        assert isinstance(service.ask(STEPS, 4.0).exception(), Overloaded)
        patient = service.ask(STEPS, 4.0, wait=True)
        service.step(STEPS)
        assert not patient.done()
        service.wait(1.0)
        assert isinstance(patient.exception(), DeadlineExceeded)


class AnyHistory(RuleBasedStateMachine):
    """Callers come, disconnect and time out, engines step, slow down and crash, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.service = Simulation(engines=2, rows=2)

    @rule(length=st.integers(1, 8), timeout_s=st.sampled_from([0.05, 0.5, 2.0, 30.0]))
    def ask(self, length: int, timeout_s: float) -> None:
        self.service.ask(length, timeout_s)

    @precondition(lambda self: self.service.waiting)
    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        self.service.disconnect(data.draw(st.sampled_from(self.service.waiting)))

    @rule(times=st.integers(1, 5))
    def step(self, times: int) -> None:
        self.service.step(times)

    @rule(engine=st.integers(0, 1), step_s=st.sampled_from([0.0, 0.1, 5.0, 1000.0]))
    def change_speed(self, engine: int, step_s: float) -> None:
        self.service.hosts[engine].step_s = step_s

    @rule(seconds=st.sampled_from([0.01, 1.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.service.wait(seconds)

    @rule(engine=st.integers(0, 1))
    def crash(self, engine: int) -> None:
        self.service.hosts[engine].crash()
        self.service.loop.settle()

    @invariant()
    def an_idle_engine_admits(self) -> None:
        batcher = self.service.batcher
        if len(self.service.waiting) < batcher.engines_up:
            assert batcher.admission.overload(0.001) is None

    @invariant()
    def every_caller_has_one_outcome_at_most(self) -> None:
        for caller in self.service.callers:
            if caller.done() and not caller.cancelled() and caller.exception() is not None:
                outcomes = DeadlineExceeded | EngineFailed | NotReady | Overloaded
                assert isinstance(caller.exception(), outcomes)

    def teardown(self) -> None:
        self.service.wait(1000.0)
        assert not self.service.waiting, "callers without an outcome after every deadline"
        self.service.close()


def test_no_history_locks_callers_out() -> None:
    run_state_machine_as_test(
        AnyHistory, settings=settings(max_examples=40, stateful_step_count=40)
    )
