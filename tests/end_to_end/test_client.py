"""The Python client and the real server."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from cybersolve_client import (
    Answer,
    AsyncClient,
    Client,
    ConnectionRefused,
    CyberSolveError,
    HostNotFound,
    InvalidRequest,
    NotUnderstood,
    Problem,
    Retries,
    TLSFailed,
    TooLongForModel,
)
from equations.errors import EquationError
from equations.parser import parse
from loadtest.server import free_port
from tests.end_to_end.conftest import Server, start
from training.data import Problem as Question

PROMPT = "L+3x0^0 L+5k0^0 R+2k1^1 R+0k1^0"  # 3x + 5 = 20, as the bundled model reads it


def test_it_gives_what_the_server_says(server: Server) -> None:
    with Client(server.url) as client:
        answer = client.solve("Solve 24 = 1601*c - 1605*c for c.", request_id="mine")
        said = httpx.post(f"{server.url}/solve", json={"question": answer.equation}).json()
        assert (answer.answer, answer.verdict, answer.variable) == ("-6", "correct", "c")
        assert answer.work == tuple(said["work"])
        assert answer.confidence == said["confidence"]
        assert set(answer.timing_ms) == set(said["timing_ms"])
        assert (answer.model.name, answer.request_id) == ("cybersolve-mini", "mine")
        info = httpx.get(f"{server.url}/info").json()
        assert vars(client.info()) == info
        assert client.ready()


@pytest.mark.parametrize("question", ["3x + = 20", "x*x = 4", "", "7" * 40 + " + \N{SNOWMAN} = 1"])
def test_it_draws_a_fault_as_the_parser_does(server: Server, question: str) -> None:
    with Client(server.url) as client, pytest.raises(NotUnderstood) as raised:
        client.solve(question)
    with pytest.raises(EquationError) as expected:
        parse(question)
    assert str(raised.value).split("\n", 1)[1] == expected.value.drawing()


def test_what_the_server_refuses_is_an_error(server: Server) -> None:
    with Client(server.url) as client:
        with pytest.raises(TooLongForModel, match="15 digits, over 12"):
            client.solve("123456789012345x = 3")
        with pytest.raises(InvalidRequest, match="the body is over 1000000 bytes"):
            client.solve("x" * 1_000_000)
        (much,) = client.solve_many(["x" * 1_000_000])
        assert isinstance(much, Problem)
        assert much.status == 413


def test_more_questions_than_a_batch_takes_come_back_in_order(
    server: Server, problems: list[Question]
) -> None:
    asked = [problem.question for problem in problems[:1100]]  # the server takes 1,000 at a time
    asked[500] = "3x + = 20"
    with Client(server.url) as client:
        outcomes = client.solve_many(asked, timeout=120)
    assert [index for index, one in enumerate(outcomes) if isinstance(one, Problem)] == [500]
    right = sum(
        isinstance(one, Answer) and one.answer == problem.answer
        for one, problem in zip(outcomes, problems, strict=False)
    )
    assert right > 1080


def test_many_tasks_share_an_async_client(server: Server) -> None:
    async def ask_all() -> list[Answer]:
        async with AsyncClient(server.url) as client:
            questions = (f"x - {n} = 1" for n in range(150))
            asking = (client.solve(question, fallback="exact") for question in questions)
            return await asyncio.gather(*asking)

    assert [answer.answer for answer in asyncio.run(ask_all())] == [str(n + 1) for n in range(150)]


def test_a_full_server_is_asked_again_until_it_answers() -> None:
    """A queue of one place, and eight callers: all are answered, though most were refused."""
    small = start(
        CYBERSOLVE_MAX_QUEUE="1", CYBERSOLVE_WORKERS="1", CYBERSOLVE_MAX_BATCH_ROWS="1",
        CYBERSOLVE_MAX_TRIES="1", CYBERSOLVE_CACHED_ANSWERS="0",
    )  # fmt: skip
    patient = Retries(attempts=50)

    async def ask_all() -> list[Answer]:
        async with AsyncClient(small.url, retries=patient, timeout=60) as client:
            return await asyncio.gather(
                *(client.solve(f"x = {n}", fallback="exact") for n in range(8))
            )

    try:
        answers = asyncio.run(ask_all())
        metrics = httpx.get(f"{small.url}/metrics").text
    finally:
        small.stop()
    assert [answer.answer for answer in answers] == [str(n) for n in range(8)]
    assert 'cybersolve_rejected_total{reason="queue_full"}' in metrics


def test_it_says_that_nothing_listens() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with Client(address) as client:
        assert not client.ready()
        with pytest.raises(ConnectionRefused):
            client.wait_until_ready(timeout=0.2)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_without_an_address_is_no_refused_connection(scheme: str) -> None:
    address = f"{scheme}://no-such-host.invalid"
    for error in connecting(address):
        assert type(error) is HostNotFound
        assert str(error).endswith("(no-such-host.invalid)")


def test_a_port_without_tls_is_no_refused_connection(server: Server) -> None:
    address = server.url.replace("http:", "https:")
    assert [type(error) for error in connecting(address)] == [TLSFailed, TLSFailed]


def test_a_port_where_nothing_listens_refuses() -> None:
    address = f"http://localhost:{free_port()}"  # of two addresses, where there is IPv6
    assert [type(error) for error in connecting(address)] == [ConnectionRefused] * 2


def connecting(address: str) -> list[CyberSolveError]:
    """The errors that both clients raise for `address`."""
    once = Retries(attempts=1)

    async def awaited() -> None:
        async with AsyncClient(address, retries=once) as client:
            await client.solve("x = 1")

    with Client(address, retries=once) as client, pytest.raises(CyberSolveError) as first:
        client.solve("x = 1")
    with pytest.raises(CyberSolveError) as second:
        asyncio.run(awaited())
    return [first.value, second.value]


def test_a_text_comes_whole_or_in_pieces(server: Server) -> None:
    with Client(server.url) as client:
        whole = client.generate(PROMPT)
        assert whole.text.endswith("=5")
        assert (whole.finish_reason, whole.model.name) == ("end", "cybersolve-mini")
        with client.stream(PROMPT) as stream:
            pieces = list(stream)
        assert "".join(pieces) == whole.text
        assert len(pieces) > 1
        assert stream.generation is not None
        assert stream.generation.tokens == whole.tokens
        assert client.generate(PROMPT, max_new_tokens=3).finish_reason == "length"
        with (
            pytest.raises(InvalidRequest, match="at most 500"),
            client.stream(PROMPT, max_new_tokens=501),
        ):
            pass


def test_the_pieces_of_a_stream_have_all_tokens_of_the_text(server: Server) -> None:
    with Client(server.url) as client, client.stream(PROMPT, logprobs=1) as stream:
        pieces = list(stream.pieces())
    assert stream.generation is not None
    assert len(pieces) > 1
    assert "".join(piece.text for piece in pieces) == stream.generation.text
    tokens = [token for piece in pieces for token in piece.token_logprobs or ()]
    assert tuple(tokens) == stream.generation.token_logprobs
    assert all(len(token.top) == 1 for token in tokens)


def test_a_text_comes_in_pieces_to_many_tasks(server: Server) -> None:
    async def read(client: AsyncClient) -> str:
        async with client.stream(PROMPT) as stream:
            return "".join([piece async for piece in stream])

    async def read_all() -> list[str]:
        async with AsyncClient(server.url) as client:
            return await asyncio.gather(*(read(client) for _ in range(20)))

    assert len(set(asyncio.run(read_all()))) == 1


def test_a_caller_that_has_seen_enough_leaves(server: Server) -> None:
    with Client(server.url) as client:
        with client.stream(PROMPT) as stream:
            assert next(iter(stream)) == "x0:"
        assert client.solve("3x = 12").answer == "4"
