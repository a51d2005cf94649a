"""Texts as they are generated: server-sent events."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybersolve_client import (
    ConnectionFailed,
    DeadlineExceeded,
    Info,
    InvalidRequest,
    Overloaded,
    Piece,
    Problem,
    ServerError,
    Token,
)
from cybersolve_client.clock import Deadline
from cybersolve_client.events import Events
from tests.client.script import Face, Script, TurnedClock, events, failing, problem

DONE = {
    "text": "Hallo Welt", "tokens": 3, "finish_reason": "end", "logprob": -0.5, "score": None,
    "alternatives": [], "seed": None, "source_tokens": 2, "truncated": False, "unknown": [],
    "model": {"name": "tiny", "version": "1"}, "timing_ms": {"total": 2.0},
}  # fmt: skip


def event(body: Any, kind: str = "") -> bytes:
    head = f"event: {kind}\n" if kind else ""
    return f"{head}data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


WHOLE = event({"text": "Hallo"}) + event({"text": " Welt"}) + event(DONE, "done")


def test_pieces_come_as_they_are_written_and_then_the_whole(face: Face) -> None:
    script = Script(events(WHOLE))
    pieces: list[str] = []
    generation = face.read(script, pieces, max_new_tokens=5)
    assert pieces == ["Hallo", " Welt"]
    assert (generation.text, generation.tokens) == ("Hallo Welt", 3)
    assert (generation.finish_reason, generation.request_id) == ("end", "given")
    assert script.bodies == [
        {"text": "Hello", "stream": True, "max_new_tokens": 5, "timeout_ms": 30_000}
    ]


def test_pieces_have_the_tokens_whose_text_ends_in_them(face: Face) -> None:
    top = {"id": 4, "text": "Hello", "logprob": -2.5}
    first = {"id": 3, "text": "Hallo", "logprob": -0.25, "top": [top]}
    last = {"id": 1, "text": "", "logprob": -0.5, "top": []}
    script = Script(
        events(
            event({"text": "Hallo", "token_logprobs": [first]}),
            event({"text": "", "token_logprobs": [last]}),
            event({**DONE, "token_logprobs": [first, last]}, "done"),
        )
    )
    pieces: list[Piece] = []
    generation = face.read_pieces(script, pieces, logprobs=1)
    hallo = Token(3, "Hallo", -0.25, (Token(4, "Hello", -2.5),))
    end = Token(1, "", -0.5)
    assert pieces == [Piece("Hallo", (hallo,)), Piece("", (end,))]
    assert generation.token_logprobs == (hallo, end)


def test_pieces_have_no_tokens_without_logprobs(face: Face) -> None:
    pieces: list[Piece] = []
    face.read_pieces(Script(events(WHOLE)), pieces)
    assert pieces == [Piece("Hallo", None), Piece(" Welt", None)]


def test_a_piece_without_text_is_not_one_of_the_text(face: Face) -> None:
    end = {"text": "", "token_logprobs": [{"id": 1, "text": "", "logprob": -0.5, "top": []}]}
    pieces: list[str] = []
    face.read(Script(events(event({"text": "Hallo"}), event(end), event(DONE, "done"))), pieces)
    assert pieces == ["Hallo"]


def test_a_whole_text_is_the_same_object(face: Face) -> None:
    script = Script(httpx.Response(200, json=DONE))
    generation = face.ask(script, lambda client: client.generate("Hello"))
    assert (generation.text, generation.model.name) == ("Hallo Welt", "tiny")
    assert script.bodies == [{"text": "Hello", "stream": False, "timeout_ms": 30_000}]


def test_settings_are_sent_and_the_other_texts_are_read(face: Face) -> None:
    top = {"id": 4, "text": " Erde", "logprob": -2.0}
    tokens = [{"id": 3, "text": " Welt", "logprob": None, "top": [top]}]
    other = {
        "text": "Welt", "tokens": 1, "finish_reason": "stop", "logprob": -1.0, "score": -0.5,
        "token_logprobs": tokens,
    }  # fmt: skip
    body = {**DONE, "alternatives": [other], "unknown": ["{"], "seed": 3}
    script = Script(httpx.Response(200, json=body))
    settings = {"num_beams": 2, "num_return_sequences": 2, "logprobs": 1, "logit_bias": {5: -1.0}}
    found = face.ask(script, lambda client: client.generate("Hello", **settings))
    assert (found.seed, found.unknown, found.token_logprobs) == (3, ("{",), None)
    (alternative,) = found.alternatives
    assert (alternative.text, alternative.score) == ("Welt", -0.5)
    assert alternative.token_logprobs == (Token(3, " Welt", None, (Token(4, " Erde", -2.0),)),)
    (sent,) = script.bodies
    assert sent == {
        "text": "Hello", "stream": False, "timeout_ms": 30_000, **settings, "logit_bias": {"5": -1},
    }  # fmt: skip


def test_many_texts_are_sent_in_few_requests_and_busy_ones_again(face: Face) -> None:
    limits = dict.fromkeys(Info.__dataclass_fields__, 0)
    limits |= {"max_batch_questions": 2, "max_body_bytes": 10_000}

    def results(*found: dict[str, Any]) -> httpx.Response:
        return httpx.Response(200, json={"results": list(found)})

    long = problem(422, detail="300 tokens; the model reads at most 200", kind="problem")
    script = Script(
        httpx.Response(200, json=limits),
        results(DONE, problem(429)),
        results({**DONE, "text": "b"}),
        results(long),
    )
    found = face.ask(script, lambda client: client.generate_many(["a", "b", "c"], top_k=3))
    assert [getattr(one, "text", one) for one in found[:2]] == ["Hallo Welt", "b"]
    assert isinstance(found[2], Problem)
    assert [body["texts"] for body in script.bodies] == [["a", "b"], ["b"], ["c"]]
    assert {body["top_k"] for body in script.bodies} == {3}


def test_a_busy_server_is_asked_again_before_the_stream_begins(face: Face) -> None:
    script = Script(failing(429), events(WHOLE))
    pieces: list[str] = []
    face.read(script, pieces)
    assert pieces == ["Hallo", " Welt"]


def test_an_error_before_the_stream_is_as_anywhere(face: Face) -> None:
    with pytest.raises(InvalidRequest, match="so it is"):
        face.read(Script(failing(422)), [])


def test_an_error_within_the_stream_ends_it(face: Face) -> None:
    pieces: list[str] = []
    broken = events(event({"text": "Hal"}), event(problem(500, request_id="7"), "error"))
    with pytest.raises(ServerError, match="so it is") as raised:
        face.read(Script(broken), pieces)
    assert (pieces, raised.value.request_id) == (["Hal"], "7")
    with pytest.raises(Overloaded):  # not asked again: a piece may have been shown
        face.read(Script(events(event(problem(429), "error"))), [])


def test_a_stream_that_breaks_off_says_so(face: Face) -> None:
    with pytest.raises(ConnectionFailed, match="ended before the text did"):
        face.read(Script(events(event({"text": "Hal"}))), [])


def test_what_is_no_event_of_ours_is_the_servers_error(face: Face) -> None:
    for broken in (
        b"data: {\n\n",
        b"data: []\n\n",
        b'data: {"text": "a", "token_logprobs": [{}]}\n\n',
        b"event: done\ndata: {}\n\n",
    ):
        with pytest.raises(ServerError, match="cannot be read"):
            face.read(Script(events(broken)), [])


def test_the_deadline_holds_for_the_whole_stream() -> None:
    clock = TurnedClock()
    reading = Events("7", Deadline(clock, 5.0))
    assert list(reading.feed(event({"text": "Hal"}))) == [Piece("Hal", None)]
    clock.now_s += 6.0
    with pytest.raises(DeadlineExceeded):
        list(reading.feed(event({"text": "lo"})))


def test_comments_and_unknown_fields_and_events_are_skipped() -> None:
    reading = Events("7", Deadline(TurnedClock(), 5.0))
    text = b': still here\r\n\r\nid: 3\r\nretry: 10\r\ndata: {"text":\r\ndata: "a"}\r\n\r\n'
    other = event({"load": 3}, "weather")
    assert list(reading.feed(text + other)) == [Piece("a", None)]


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=5),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_cuts_between_chunks_change_nothing(texts: list[str], cuts: list[int]) -> None:
    """Law: the pieces are those that were sent, however the bytes are cut."""
    sent = b"".join(event({"text": text}) for text in texts) + event(DONE, "done")
    places = sorted({0, len(sent), *(cut % len(sent) for cut in cuts)})
    reading = Events("7", Deadline(TurnedClock(), 5.0))
    pieces = [piece for start, end in pairwise(places) for piece in reading.feed(sent[start:end])]
    reading.finish()
    assert [piece.text for piece in pieces] == texts
