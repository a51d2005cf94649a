"""OpenAI's completions and models, asked by OpenAI's own client over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from engine.contracts import Decoding
from equations.formats import FORMATS
from service.api.keys import new_key
from tests.fakes import WritingEngine
from tests.service.sockets import Wire, listen
from tests.service.text import CODEC, NAME, TEXT, parts

SAMPLED = {"temperature": 0.5, "seed": 3}


def ask(
    bundle: Path,
    calls: Callable[[openai.OpenAI], None],
    engine: WritingEngine | None = None,
    *,
    path: str = "/v1",
    knobs: dict[str, Any] | None = None,
    **fields: Any,
) -> None:
    """Let `calls` use a client, in a thread of its own; `fields` are of the manifest."""

    async def scenario(wire: Wire) -> None:
        base_url = f"http://127.0.0.1:{wire.port}{path}"
        with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
            await asyncio.to_thread(calls, client)

    listen(bundle, scenario, **parts(bundle, engine, **fields), **(knobs or {}))


def text_of(client: openai.OpenAI, **body: Any) -> Any:
    return client.completions.create(model=NAME, **{"prompt": TEXT, **body})


def test_a_completion_has_its_text_reason_and_usage(bundle: Path) -> None:
    def calls(client: openai.OpenAI) -> None:
        whole = text_of(client, temperature=0)
        (choice,) = whole.choices
        assert (choice.text, choice.index, choice.finish_reason) == (TEXT, 0, "stop")
        assert choice.logprobs is None
        assert (whole.object, whole.model) == ("text_completion", NAME)
        assert whole.id == f"cmpl-{whole._request_id}"
        assert whole.system_fingerprint.startswith(f"{NAME}-")
        usage = whole.usage
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (6, 5, 11)
        assert text_of(client, max_tokens=2).choices[0].text == "The house"
        assert text_of(client, max_tokens=2).choices[0].finish_reason == "length"
        stopped = text_of(client, stop=["small"]).choices[0]
        assert (stopped.text, stopped.finish_reason) == ("The house is ", "stop")
        assert text_of(client, echo=True, max_tokens=1).choices[0].text == f"{TEXT}The"

    ask(bundle, calls)


DECODINGS: list[tuple[dict[str, Any], Decoding]] = [
    ({}, Decoding(max_new_tokens=16)),
    ({"max_tokens": 5, "temperature": 0, "top_p": 0.5, "seed": 1}, Decoding(max_new_tokens=5)),
    (SAMPLED, Decoding(max_new_tokens=16, do_sample=True, temperature=0.5, seed=3)),
    ({"top_p": 0.5, "seed": 3}, Decoding(max_new_tokens=16, do_sample=True, top_p=0.5, seed=3)),
    (
        {"n": 2, "seed": 3},
        Decoding(max_new_tokens=16, do_sample=True, num_return_sequences=2, seed=3),
    ),
    (
        {"n": 2, "extra_body": {"num_beams": 4, "length_penalty": 2.0}},
        Decoding(max_new_tokens=16, num_beams=4, length_penalty=2.0, num_return_sequences=2),
    ),
    ({"logit_bias": {"7": -100}}, Decoding(max_new_tokens=16, logit_bias=((7, -100.0),))),
    ({"presence_penalty": 0, "user": "someone", "suffix": ""}, Decoding(max_new_tokens=16)),
    # Null is OpenAI's default, and a nucleus of everything, or of no size, no wish to sample.
    (dict.fromkeys(["n", "best_of", "seed", "stop", "logit_bias"]), Decoding(max_new_tokens=16)),
    ({"top_p": 1, "extra_body": {"top_k": 0, "min_p": 0}}, Decoding(max_new_tokens=16)),
    (
        {"top_p": 0, "seed": -1},
        Decoding(max_new_tokens=16, do_sample=True, top_p=0, seed=2**64 - 1),
    ),
    ({"temperature": 1, "seed": 3}, Decoding(max_new_tokens=16, do_sample=True, seed=3)),
    (
        {"extra_body": {"max_new_tokens": 5, "num_beams": 2, "num_return_sequences": 2}},
        Decoding(max_new_tokens=5, num_beams=2, num_return_sequences=2),
    ),
]


def test_parameters_become_the_settings_of_a_decoding(bundle: Path) -> None:
    engine = WritingEngine(CODEC)

    def calls(client: openai.OpenAI) -> None:
        for body, _ in DECODINGS:
            text_of(client, **body)

    ask(bundle, calls, engine)
    assert [prompt.decoding for prompt in engine.joined] == [one for _, one in DECODINGS]


def test_prompts_are_texts_or_tokens_and_answers_are_in_order(bundle: Path) -> None:
    engine = WritingEngine(CODEC)
    ids = list(CODEC.encode(TEXT))

    def calls(client: openai.OpenAI) -> None:
        texts = text_of(client, prompt=[TEXT, "The house"], n=2, extra_body={"num_beams": 2})
        assert [(one.index, one.text) for one in texts.choices] == [
            (0, TEXT), (1, TEXT[:-1]), (2, "The house"), (3, "The"),
        ]  # fmt: skip
        assert texts.usage.prompt_tokens == 6 + 3
        for tokens in (ids, ids[:-1], [ids, ids]):
            choices = text_of(client, prompt=tokens, echo=True).choices
            assert {one.text for one in choices} == {TEXT + TEXT}

    ask(bundle, calls, engine)
    assert {prompt.source for prompt in engine.joined[2:]} == {tuple(ids)}


def test_the_best_of_several_are_returned_and_all_are_counted(bundle: Path) -> None:
    def calls(client: openai.OpenAI) -> None:
        all_of_them = text_of(client, n=4, **SAMPLED)
        best = text_of(client, n=2, best_of=4, **SAMPLED)
        assert [one.text for one in best.choices] == [one.text for one in all_of_them.choices[:2]]
        assert best.usage.completion_tokens == all_of_them.usage.completion_tokens

    ask(bundle, calls)


def test_logprobs_are_by_token_with_the_chosen_one_among_them(bundle: Path) -> None:
    def calls(client: openai.OpenAI) -> None:
        found = text_of(client, logprobs=2).choices[0].logprobs
        assert found.tokens == ["The", " house", " is", " small", "."]
        assert found.text_offset == [TEXT.index(token) for token in found.tokens]
        assert found.token_logprobs == [-0.25] * 5
        assert [len(top) for top in found.top_logprobs[:4]] == [3] * 4
        stopped = text_of(client, logprobs=0, stop="house").choices[0]
        assert (stopped.text, stopped.logprobs.tokens) == ("The ", ["The", " house"])
        assert stopped.logprobs.top_logprobs[0] == {"The": -0.25}

    ask(bundle, calls)


def test_a_stream_has_the_same_text_and_the_usage_where_asked(bundle: Path) -> None:
    def calls(client: openai.OpenAI) -> None:
        *chunks, last = list(text_of(client, stream=True))
        assert "".join(chunk.choices[0].text for chunk in [*chunks, last]) == TEXT
        assert len(chunks) > 1
        assert last.choices[0].finish_reason == "stop"
        assert {chunk.choices[0].finish_reason for chunk in chunks} == {None}
        assert "usage" not in last.model_fields_set
        options = {"include_usage": True}
        *chunks, last = list(text_of(client, stream=True, stream_options=options))
        assert all("usage" in chunk.model_fields_set and not chunk.usage for chunk in chunks)
        assert (last.choices, last.usage.total_tokens) == ([], 11)

    ask(bundle, calls)


def test_a_stream_has_the_same_logprobs_token_by_token(bundle: Path) -> None:
    def calls(client: openai.OpenAI) -> None:
        for body in (
            {},
            {"stop": "house"},
            {"stop": "house is"},
            {"stop": "se is smart"},
            {"max_tokens": 2},
            {"prompt": [TEXT, "The house"]},
            {"n": 2, **SAMPLED},
            {"extra_body": {"num_beams": 2}},
        ):
            for count in (0, 2):
                whole = text_of(client, logprobs=count, **body).choices
                found: dict[int, dict[str, list[Any]]] = {}
                for chunk in text_of(client, logprobs=count, stream=True, **body):
                    (choice,) = chunk.choices
                    parts = found.setdefault(choice.index, {})
                    for name, values in choice.logprobs.model_dump().items():
                        parts[name] = parts.get(name, []) + values
                assert found == {one.index: one.logprobs.model_dump() for one in whole}
        chunks = list(text_of(client, logprobs=1, stream=True))
        assert [chunk.choices[0].logprobs.tokens for chunk in chunks] == [
            ["The"], [" house"], [" is"], [" small"], ["."], [],
        ]  # fmt: skip

    ask(bundle, calls)


def test_several_prompts_and_answers_are_streamed_by_index(bundle: Path) -> None:
    def calls(client: openai.OpenAI) -> None:
        for settings in (
            {},
            {"n": 2, **SAMPLED},
            {"n": 2, "extra_body": {"num_beams": 2}},
            {"extra_body": {"num_beams": 2, "num_return_sequences": 2}},
        ):
            body = {"prompt": [TEXT, "The house"], "echo": True, **settings}
            found: dict[int, str] = {}
            for chunk in text_of(client, stream=True, **body):
                for choice in chunk.choices:
                    found[choice.index] = found.get(choice.index, "") + choice.text
            whole = text_of(client, **body).choices
            assert found == {choice.index: choice.text for choice in whole}

    ask(bundle, calls)


def test_a_model_that_gives_several_answers_gives_the_n_that_are_wanted(bundle: Path) -> None:
    own = {"num_beams": 4, "num_return_sequences": 3}

    def calls(client: openai.OpenAI) -> None:
        for n in (1, 2):
            body = {"prompt": [TEXT, "The house"], "n": n, "extra_body": {"num_beams": 4}}
            assert [one.index for one in text_of(client, **body).choices] == list(range(2 * n))
        (alone,) = text_of(client, temperature=0, extra_body={"num_beams": 1}).choices
        assert alone.text == TEXT

    ask(bundle, calls, decoding=own)


def test_streams_of_several_prompts_have_the_bounds_of_batches(bundle: Path) -> None:
    """Each waits for its turn, where the queue has no slot for all of them."""

    def calls(client: openai.OpenAI) -> None:
        texts: dict[int, str] = {}
        for chunk in text_of(client, prompt=[f"{TEXT} {n}" for n in range(40)], stream=True):
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + choice.text
        assert texts == {n: f"{TEXT} {n}" for n in range(40)}
        for stream in (False, True):
            with pytest.raises(openai.UnprocessableEntityError, match="a batch takes at most 40"):
                text_of(client, prompt=[TEXT] * 41, stream=stream)

    engine = WritingEngine(CODEC, rows=2)
    ask(bundle, calls, engine, knobs={"max_queue": 8, "max_batch_questions": 40})


def test_the_served_model_is_the_only_one(bundle: Path) -> None:
    def calls(client: openai.OpenAI) -> None:
        (served,) = client.models.list()
        assert (served.id, served.object) == (NAME, "model")
        assert client.models.retrieve(NAME) == served
        for call in (
            lambda: client.models.retrieve("other"),
            lambda: client.completions.create(model="other", prompt="x"),
        ):
            with pytest.raises(openai.NotFoundError) as raised:
                call()
            assert raised.value.code == "model_not_found"
            assert f"no model 'other'; there is '{NAME}'" in raised.value.message

    ask(bundle, calls)
    ask(bundle, calls, path="/openai/v1")


REFUSED: list[tuple[dict[str, Any], str, str | None]] = [
    ({"max_tokens": 21}, "max_tokens is 21; the model writes at most 20", "max_tokens"),
    ({"temperature": 0, "n": 2}, "n or best_of is 2; temperature 0 has one answer", "n"),
    ({"n": 3, "best_of": 2}, "best_of is 2; expected n (3) or more", "best_of"),
    ({"best_of": 2, "stream": True}, "best_of cannot be streamed", "best_of"),
    ({"echo": True, "logprobs": 1}, "echo has no logprobs", "echo"),
    ({"stream_options": {"include_usage": True}}, "stream_options is for stream", "stream_options"),
    ({"suffix": "x"}, 'suffix: not supported; expected "" or null', "suffix"),
    (
        {"frequency_penalty": -1},
        "frequency_penalty: not supported; expected 0 or null",
        "frequency_penalty",
    ),
    (
        {"max_tokens": 2, "extra_body": {"max_new_tokens": 3}},
        "max_tokens is 2, max_new_tokens is 3; expected one of them",
        "max_tokens",
    ),
    ({"extra_body": {"min_new_tokens": 17}}, "min_new_tokens is 17; max_new", "min_new_tokens"),
    ({"extra_body": {"do_sample": False}, "n": 2}, "n is 2; expected 1 without do_sample", "n"),
    ({"prompt": [1]}, "the text is empty", None),
    ({"logprobs": 6}, "logprobs: Input should be less", "logprobs"),
    ({"prompt": ""}, "prompt: expected a text, several, the ids", "prompt"),
    ({"prompt": [TEXT, 5]}, "prompt: expected a text, several, the ids", "prompt"),
    (
        {"prompt": [TEXT, "small " * 40]},
        "prompt.1: 41 tokens; the model reads at most 24",
        "prompt",
    ),
    ({"prompt": [[5], [4000]], "stream": True}, "prompt.1: no token has the id 4000", "prompt"),
    ({"best_of": 17}, "best_of: Input should be less than or equal to 16", "best_of"),
    ({"stop": [7]}, "stop: expected a text, or a list of at most 64", "stop"),
    ({"prompt": [4000]}, "no token has the id 4000; ids are below 3425", None),
    ({"prompt": "small " * 40}, "the model reads at most 24", None),
    ({"top_p": 2, "temperature": 1}, "top_p is 2.0; expected 0 to 1", "top_p"),
    ({"n": 17}, "n is 17; expected 1 to 16", "n"),
    ({"extra_body": {"beams": 2}}, "beams: Extra inputs are not permitted", None),
]


def test_errors_are_those_of_the_api(bundle: Path) -> None:
    def calls(client: openai.OpenAI) -> None:
        for body, message, param in REFUSED:
            with pytest.raises(openai.UnprocessableEntityError) as raised:
                text_of(client, **body)
            error = raised.value
            assert message in error.message
            assert (error.type, error.param) == ("invalid_request_error", param), error.message
            too_long = "the model reads at most" in message
            assert error.code == ("context_length_exceeded" if too_long else None)
        with pytest.raises(openai.NotFoundError, match="no POST /v1/chat/completions") as missing:
            client.chat.completions.create(model=NAME, messages=[])
        assert missing.value.code == "unknown_url"

    ask(bundle, calls)


def test_keys_and_failures_are_errors_of_the_api(bundle: Path, tmp_path: Path) -> None:
    key, line = new_key("someone")
    (tmp_path / "keys").write_text(line)

    def fail(_: object) -> None:
        raise RuntimeError("secret internals")

    def calls(client: openai.OpenAI) -> None:
        with pytest.raises(openai.AuthenticationError) as refused:
            text_of(client)
        assert refused.value.code == "invalid_api_key"
        known = client.with_options(api_key=key)
        with pytest.raises(openai.InternalServerError) as failed:
            text_of(known)
        assert failed.value.type == "server_error"
        assert "the engine failed (request " in failed.value.message
        assert "secret" not in failed.value.message

    ask(bundle, calls, WritingEngine(CODEC, fail), knobs={"api_keys_file": tmp_path / "keys"})


def test_a_failure_in_a_stream_is_raised_by_the_client(bundle: Path) -> None:
    steps = 0

    def fail_later(_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise RuntimeError("secret internals")

    def calls(client: openai.OpenAI) -> None:
        stream = text_of(client, stream=True)
        assert next(iter(stream)).choices[0].text == "The"
        with pytest.raises(openai.APIError, match="the engine failed"):
            list(stream)

    ask(bundle, calls, WritingEngine(CODEC, fail_later))


def test_a_model_that_solves_reads_its_own_prompts_alone(bundle: Path) -> None:
    """OpenAI's answers have no place to say what was not read."""
    prompt = FORMATS["digits"].encode("12*x + 3 = 4")

    async def scenario(wire: Wire) -> None:
        def body(text: str) -> bytes:
            return json.dumps({"model": "tiny", "prompt": text, "max_tokens": 8}).encode()

        read = await wire.ask("/v1/completions", body(prompt))
        assert read.status == 200, read.body
        refused = await wire.ask("/v1/completions", body("3x + 5 = 20"))
        assert refused.status == 422
        message = json.loads(refused.body)["error"]["message"]
        assert message.startswith("tiny reads prompts of its own, which have no '3x', '+', '5',")

    listen(bundle, scenario)
