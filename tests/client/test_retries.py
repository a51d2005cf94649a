"""The client's retries: their conditions, their waits and their end."""

from __future__ import annotations

import socket
import ssl
from email.utils import formatdate

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybersolve_client import (
    CannotConnect,
    ConnectionFailed,
    ConnectionRefused,
    CyberSolveError,
    DeadlineExceeded,
    HostNotFound,
    InvalidRequest,
    Overloaded,
    Retries,
    ServerError,
    TLSFailed,
)
from cybersolve_client.retries import read_retry_after
from tests.client.script import (
    WALL_S,
    Face,
    Line,
    Script,
    answering,
    cannot_connect,
    failing,
    refused,
)


@pytest.mark.parametrize("line", [failing(429), failing(503), refused()])
def test_a_busy_server_is_asked_again_under_the_same_id(face: Face, line: Line) -> None:
    script = Script(line, line, answering)
    assert face.ask(script, lambda client: client.solve("x = 1")).answer == "5"
    assert len({request.headers["x-request-id"] for request in script.requests}) == 1
    assert script.clock.sleeps_s == [0.05, 0.1]  # half of 0.1 and of 0.2: the dice say 0.5


@pytest.mark.parametrize(
    "line",
    [failing(500), failing(504), failing(422), failing(401), failing(502),
     httpx.ReadError("broken"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("gone")],
)  # fmt: skip
def test_all_else_is_asked_once(face: Face, line: Line) -> None:
    script = Script(line)
    with pytest.raises(CyberSolveError):
        face.ask(script, lambda client: client.solve("x = 1"))
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("value", "waited_s"),
    [
        ("2", 2.05),
        ("0", 0.05),
        (formatdate(WALL_S + 103, usegmt=True), 3.05),
        (formatdate(WALL_S - 500, usegmt=True), 0.05),
        ("soon", 0.05),
        ("-1", 0.05),
    ],
)
def test_retry_after_is_honoured(face: Face, value: str, waited_s: float) -> None:
    script = Script(failing(429, headers={"retry-after": value}), answering)
    face.ask(script, lambda client: client.solve("x = 1"))
    assert script.clock.sleeps_s == [pytest.approx(waited_s)]


def test_it_gives_up_after_so_many_attempts(face: Face) -> None:
    script = Script(*[failing(429, headers={"retry-after": "1"})] * 9)
    error = face.fails(
        Overloaded, script, lambda client: client.solve("x = 1"), retries=Retries(attempts=3)
    )
    assert error.retry_after_s == 1.0
    assert len(script.requests) == 3


def test_it_does_not_wait_beyond_its_deadline(face: Face) -> None:
    script = Script(failing(429, headers={"retry-after": "60"}))
    face.fails(Overloaded, script, lambda client: client.solve("x = 1", timeout=10))
    assert script.clock.sleeps_s == []


def test_every_attempt_has_what_is_left_of_the_time(face: Face) -> None:
    script = Script(failing(429, headers={"retry-after": "3"}), answering)
    retries = Retries(random=lambda: 0.0)
    face.ask(script, lambda client: client.solve("x = 1", timeout=10), retries=retries)
    assert [body["timeout_ms"] for body in script.bodies] == [10_000, 7_000]
    limits = [request.extensions["timeout"]["read"] for request in script.requests]
    assert limits == [10.0, 7.0]


def test_the_deadline_of_a_call_ends_it(face: Face) -> None:
    script = Script()
    face.fails(DeadlineExceeded, script, lambda client: client.solve("x = 1", timeout=0))
    assert script.requests == []


def test_the_transports_faults_have_names(face: Face) -> None:
    for fault, kind in (
        (refused(), ConnectionRefused),
        (cannot_connect(ExceptionGroup("", [ConnectionRefusedError(111)] * 2)), ConnectionRefused),
        (cannot_connect(socket.gaierror(-2, "Name or service not known")), HostNotFound),
        (cannot_connect(ssl.SSLCertVerificationError(1, "self-signed")), TLSFailed),
        (cannot_connect(OSError(101, "Network is unreachable")), CannotConnect),
        (cannot_connect(None), CannotConnect),
        (httpx.ReadError("broken"), ConnectionFailed),
        (httpx.ConnectTimeout("slow"), DeadlineExceeded),
        (httpx.LocalProtocolError("an illegal header"), InvalidRequest),
        (httpx.DecodingError("no gzip"), ServerError),
        (httpx.ReadTimeout("slow"), DeadlineExceeded),
        (httpx.PoolTimeout("full"), DeadlineExceeded),
    ):
        script = Script(*[fault] * 9)
        error = face.fails(kind, script, lambda client: client.solve("x = 1"))
        assert error.__cause__ is fault
        assert error.problem is None


def test_a_base_url_without_a_scheme_is_the_callers_mistake(face: Face) -> None:
    for base_url in ("localhost:8000", "127.0.0.1", "ftp://host", ""):
        with pytest.raises(ValueError, match="expected http://HOST or https://HOST"):
            face.ask(Script(), lambda client: client.solve("x = 1"), base_url=base_url)


def test_an_error_of_connecting_says_where(face: Face) -> None:
    script = Script(*[refused()] * 9)
    error = face.fails(ConnectionRefused, script, lambda client: client.solve("x = 1"))
    assert str(error) == "refused (test)"


def test_waiting_for_readiness_ends_at_once_where_waiting_cannot_mend(face: Face) -> None:
    script = Script(cannot_connect(ssl.SSLError(1, "wrong version number")))
    face.fails(TLSFailed, script, lambda client: client.wait_until_ready(timeout=60))
    assert script.clock.sleeps_s == []


def test_a_programs_own_mistake_is_not_dressed_up(face: Face) -> None:
    with pytest.raises(TypeError):
        face.ask(Script(TypeError("a bug")), lambda client: client.solve("x = 1"))


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e6))
def test_the_wait_is_bounded_and_never_under_what_was_asked(
    attempt: int, dice: float, asked_s: float | None
) -> None:
    """Law: asked <= wait <= asked + min(most, first * 2 ** (attempt - 1))."""
    retries = Retries(random=lambda: dice)
    delay_s = retries.delay_s(attempt, asked_s)
    least_s = asked_s or 0.0
    assert least_s <= delay_s <= least_s + min(retries.most_s, retries.first_s * 2 ** (attempt - 1))


@given(st.text(max_size=40))
def test_any_retry_after_is_read_or_left(value: str) -> None:
    seconds = read_retry_after(value, WALL_S)
    assert seconds is None or seconds >= 0
