"""The hub's endpoint `POST /`, asked by the hub's own client over a real socket."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import GenerationError, HfHubHTTPError, OverloadedError, ValidationError

from engine.contracts import Decoding
from service.api.keys import new_key
from tests.fakes import WritingEngine
from tests.service.sockets import Reply, Wire, listen
from tests.service.text import CODEC, TEXT, parts

ANONYMOUS = "none"  # or the client looks for one in its user's home
Calls = Callable[[InferenceClient], None]


def ask(
    bundle: Path,
    calls: Calls,
    engine: WritingEngine | None = None,
    *,
    token: str = ANONYMOUS,
    knobs: dict[str, Any] | None = None,
) -> None:
    """Let `calls` use a client, in a thread of its own."""

    async def scenario(wire: Wire) -> None:
        client = InferenceClient(model=f"http://127.0.0.1:{wire.port}/", token=token)
        await asyncio.to_thread(calls, client)

    listen(bundle, scenario, **parts(bundle, engine), **(knobs or {}))


def post(bundle: Path, *bodies: dict[str, Any]) -> list[tuple[int, Any]]:
    """Return the status and body of the answer to each request."""
    found = []

    async def scenario(wire: Wire) -> None:
        for body in bodies:
            reply = await wire.ask("/", json.dumps(body).encode())
            found.append((reply.status, json.loads(reply.body)))

    listen(bundle, scenario, **parts(bundle))
    return found


def test_each_task_of_the_client_reads_its_text(bundle: Path) -> None:
    def calls(client: InferenceClient) -> None:
        assert client.text_generation(TEXT) == TEXT
        assert client.summarization(TEXT).summary_text == TEXT
        assert client.translation(TEXT).translation_text == TEXT
        short = client.summarization(TEXT, generate_parameters={"max_length": 3})
        assert short.summary_text == "The house"
        whole = client.text_generation(TEXT, return_full_text=True, max_new_tokens=1)
        assert whole == f"{TEXT}The"

    ask(bundle, calls)


DECODINGS: list[tuple[dict[str, Any], Decoding]] = [
    ({}, Decoding()),
    ({"max_new_tokens": 4, "stop": ["x"]}, Decoding(max_new_tokens=4, stop=("x",))),
    ({"temperature": 0.5, "seed": 3}, Decoding(do_sample=True, temperature=0.5, seed=3)),
    (
        {"best_of": 3, "do_sample": True, "seed": 3},
        Decoding(do_sample=True, seed=3, num_return_sequences=3),
    ),
    (
        {"repetition_penalty": 1.2, "top_n_tokens": 2, "details": True},
        Decoding(repetition_penalty=1.2, top_logprobs=2),
    ),
    ({"frequency_penalty": 0, "typical_p": 1, "watermark": False}, Decoding()),
    # As in text-generation-inference: values without effect do not ask for sampling.
    ({"temperature": 1.0, "top_k": 0, "top_p": 1.0}, Decoding()),
    ({"best_of": 2, "seed": 3}, Decoding(do_sample=True, seed=3, num_return_sequences=2)),
]


def test_parameters_become_the_settings_of_a_decoding(bundle: Path) -> None:
    engine = WritingEngine(CODEC)

    def calls(client: InferenceClient) -> None:
        for parameters, _ in DECODINGS:
            client.text_generation(TEXT, **parameters)
        beams = {"num_beams": 4, "max_length": 10, "min_length": 3}
        client.translation(TEXT, generate_parameters=beams)

    ask(bundle, calls, engine)
    assert [prompt.decoding for prompt in engine.joined] == [
        *[decoding for _, decoding in DECODINGS],
        Decoding(num_beams=4, max_new_tokens=9, min_new_tokens=2),
    ]


def test_details_have_the_reason_the_tokens_and_the_other_answers(bundle: Path) -> None:
    def calls(client: InferenceClient) -> None:
        found = client.text_generation(TEXT, details=True, top_n_tokens=2)
        assert found.generated_text == TEXT
        details = found.details
        assert (details.finish_reason, details.generated_tokens) == ("eos_token", 5)
        assert [token.text for token in details.tokens] == [
            "The", " house", " is", " small", ".", "",
        ]  # fmt: skip
        assert [token.special for token in details.tokens] == [False] * 5 + [True]
        assert [top["logprob"] for top in details.top_tokens[0]] == [-0.25, -1.25]
        best = client.text_generation(TEXT, details=True, best_of=3, do_sample=True, seed=0)
        assert best.generated_text == TEXT
        assert best.details.seed == 0
        assert len(best.details.best_of_sequences) == 2
        cut = client.text_generation(TEXT, details=True, max_new_tokens=1)
        assert cut.details.finish_reason == "length"
        stopped = client.text_generation(TEXT, details=True, stop=["is"])
        assert stopped.details.finish_reason == "stop_sequence"

    ask(bundle, calls)


def test_a_stream_has_the_pieces_and_last_the_whole(bundle: Path) -> None:
    def calls(client: InferenceClient) -> None:
        assert "".join(client.text_generation(TEXT, stream=True)) == TEXT
        *pieces, last = client.text_generation(TEXT, stream=True, details=True)
        assert [piece.token.text for piece in pieces] == ["The", " house", " is", " small", "."]
        assert [piece.token.id for piece in pieces] == list(CODEC.encode(TEXT)[:-1])
        assert last.generated_text == TEXT
        assert (last.details.finish_reason, last.details.input_length) == ("eos_token", 6)

    ask(bundle, calls)


STREAMED: list[tuple[dict[str, Any], str]] = [
    ({}, "eos_token"),
    ({"max_new_tokens": 3}, "length"),
    ({"stop": ["use is"]}, "stop_sequence"),
    # The end of its last token might begin the stop text, and is held back until the end.
    ({"stop": ["ll x"], "max_new_tokens": 4}, "length"),
    ({"top_n_tokens": 2}, "eos_token"),
    ({"do_sample": True, "seed": 2}, "eos_token"),
]


@pytest.mark.parametrize(("parameters", "reason"), STREAMED)
def test_a_stream_has_an_event_for_each_token(
    bundle: Path, parameters: dict[str, Any], reason: str
) -> None:
    """The last token comes with the whole text; only the end token is special."""

    def calls(client: InferenceClient) -> None:
        whole = client.text_generation(TEXT, details=True, **parameters)
        found = list(client.text_generation(TEXT, details=True, stream=True, **parameters))
        assert [one.index for one in found] == list(range(1, len(found) + 1))
        assert [(one.token.id, one.token.logprob, one.token.special) for one in found] == [
            (one.id, one.logprob, one.special) for one in whole.details.tokens
        ]
        assert "".join(one.token.text for one in found) == whole.generated_text
        assert {one.generated_text for one in found[:-1]} == {None}
        last = found[-1]
        assert last.generated_text == whole.generated_text
        assert last.details.finish_reason == whole.details.finish_reason == reason
        assert last.token.special == (reason == "eos_token")
        count = parameters.get("top_n_tokens", 0)
        assert {len(one.top_tokens or []) for one in found} == {count}

    ask(bundle, calls)


def test_errors_are_those_that_the_client_knows(bundle: Path, tmp_path: Path) -> None:
    key, line = new_key("someone")
    (tmp_path / "keys").write_text(line)

    def calls(client: InferenceClient) -> None:
        with pytest.raises(ValidationError, match="max_new_tokens is 21; the model writes at most"):
            client.text_generation(TEXT, max_new_tokens=21)
        with pytest.raises(ValidationError, match="the model reads at most 24"):
            client.text_generation("small " * 40)
        assert len(client.text_generation("small " * 40, truncate=3).split()) == 2
        with pytest.raises(
            ValidationError, match=r"parameters\.grammar: not supported; expected null"
        ):
            client.text_generation(TEXT, grammar={"type": "json", "value": {}})
        with pytest.raises(HfHubHTTPError, match=r"parameters\.src_lang"):
            client.translation(TEXT, src_lang="en", tgt_lang="de")

    def without_a_key(client: InferenceClient) -> None:
        with pytest.raises(ValidationError, match="no such API key"):
            client.text_generation(TEXT)

    knobs = {"api_keys_file": tmp_path / "keys"}
    ask(bundle, calls, token=key, knobs=knobs)
    ask(bundle, without_a_key, knobs=knobs)


def test_a_failure_of_the_engine_has_no_internals(bundle: Path) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("secret internals")

    def calls(client: InferenceClient) -> None:
        with pytest.raises(GenerationError, match=r"^the engine failed \(request \w+\)$"):
            client.text_generation(TEXT)

    ask(bundle, calls, WritingEngine(CODEC, fail))


def test_several_texts_and_answers_are_lists_as_of_pipelines(bundle: Path) -> None:
    beams = {"num_beams": 2, "num_return_sequences": 2}
    answers = post(
        bundle,
        {"inputs": TEXT, "parameters": None},
        {"inputs": [TEXT, "The house"]},
        {"inputs": TEXT, "parameters": beams, "stream": None},
        {"inputs": [TEXT, "The house"], "parameters": beams},
    )
    assert {status for status, _ in answers} == {200}
    one, several, two, both = [body for _, body in answers]
    assert [text["generated_text"] for text in one] == [TEXT]
    assert [text["generated_text"] for text in several] == [TEXT, "The house"]
    assert [text["generated_text"] for text in two] == [TEXT, TEXT[:-1]]
    assert [[text["generated_text"] for text in texts] for texts in both] == [
        [TEXT, TEXT[:-1]], ["The house", "The"],
    ]  # fmt: skip


def test_a_body_that_does_not_fit_says_where(bundle: Path) -> None:
    answers = post(
        bundle,
        {},
        {"inputs": []},
        {"inputs": [TEXT], "stream": True},
        {"inputs": TEXT, "parameters": {"beams": 2}},
        {"inputs": TEXT, "parameters": {"generate_parameters": {"prefix": "x"}}},
        {"inputs": TEXT, "stream": True, "parameters": {"best_of": 2, "do_sample": True}},
        {"inputs": TEXT, "parameters": {"top_n_tokens": 2}},
        {"inputs": TEXT, "parameters": {"best_of": 2, "num_return_sequences": 2}},
        {"inputs": TEXT, "parameters": {"watermark": True}},
        {"inputs": [TEXT, " "]},
        {"inputs": {"question": TEXT}},
    )
    assert {status for status, _ in answers} == {422}
    assert {body["error_type"] for _, body in answers} == {"validation"}
    said = [body["error"] for _, body in answers]
    assert said[0] == "inputs: Field required"
    assert said[2] == "stream is for one text; expected inputs to be a text"
    assert said[3] == "parameters.beams: Extra inputs are not permitted"
    assert said[4].startswith("parameters.generate_parameters.prefix: Extra")
    assert said[5].startswith("stream is for one answer")
    assert said[6] == "parameters.top_n_tokens has no effect without details or stream"
    assert said[7].startswith("parameters: best_of returns one answer")
    assert said[8] == "parameters.watermark: not supported; expected false or null"
    assert said[9] == "inputs.1: the text is empty; expected something to read before its end"
    assert said[10] == "inputs: expected a text or a list of them, none empty"


def test_a_full_queue_is_overload(bundle: Path) -> None:
    """The engine holds what it has, so that requests are refused once the queue is full."""
    gate = threading.Event()

    def hold(_: object) -> None:
        assert gate.wait(30), "nobody opened the gate"

    async def scenario(wire: Wire) -> None:
        asked: list[asyncio.Task[Reply]] = []
        refused: set[asyncio.Task[Reply]] = set()
        while not refused:
            body = json.dumps({"inputs": f"house {len(asked)}"}).encode()
            asked.append(asyncio.create_task(wire.ask("/", body)))
            refused, _ = await asyncio.wait(asked, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
        client = InferenceClient(model=f"http://127.0.0.1:{wire.port}/", token=ANONYMOUS)
        try:
            with pytest.raises(OverloadedError, match="the queue is full"):
                await asyncio.to_thread(client.text_generation, TEXT)
        finally:
            gate.set()
        statuses = [reply.status for reply in await asyncio.gather(*asked)]
        assert set(statuses) == {200, 429}

    engine = WritingEngine(CODEC, hold, rows=1)
    listen(bundle, scenario, max_queue=1, **parts(bundle, engine))


def test_a_body_that_is_not_json_says_where(bundle: Path) -> None:
    async def scenario(wire: Wire) -> None:
        reply = await wire.ask("/", b'{"inputs": "a",}')
        assert reply.status == 422
        assert json.loads(reply.body)["error"].startswith("not JSON at character 15: ")

    listen(bundle, scenario, **parts(bundle))


def test_the_health_that_the_client_asks_is_readiness(bundle: Path) -> None:
    async def scenario(wire: Wire) -> None:
        url = f"http://127.0.0.1:{wire.port}/"
        client = InferenceClient(provider="hf-inference", token=ANONYMOUS)
        assert await asyncio.to_thread(client.health_check, url)
        info = await asyncio.to_thread(client.get_endpoint_info, model=url)
        assert info["max_new_tokens"] == 20

    listen(bundle, scenario, **parts(bundle))
