"""`POST /generate` with the settings of a decoding: what the engine gets, and the answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from engine.contracts import Decoding
from tests.fakes import WritingEngine
from tests.service.app import problem
from tests.service.test_generate import events
from tests.service.text import CODEC, TEXT, serve_text

SAMPLED = {"do_sample": True, "seed": 1}
SETTINGS: list[tuple[dict[str, Any], Decoding]] = [
    ({}, Decoding()),
    ({"max_new_tokens": 3, "min_new_tokens": 2}, Decoding(max_new_tokens=3, min_new_tokens=2)),
    (
        {"do_sample": True, "temperature": 0.5, "top_k": 9, "top_p": 0.9, "min_p": 0.1, "seed": 7},
        Decoding(do_sample=True, temperature=0.5, top_k=9, top_p=0.9, min_p=0.1, seed=7),
    ),
    (
        {"num_beams": 4, "length_penalty": 2, "early_stopping": "never", "num_return_sequences": 3},
        Decoding(num_beams=4, length_penalty=2, early_stopping="never", num_return_sequences=3),
    ),
    (
        {"repetition_penalty": 1.5, "no_repeat_ngram_size": 3},
        Decoding(repetition_penalty=1.5, no_repeat_ngram_size=3),
    ),
    (
        {"bad_words": ["house"], "logit_bias": {"12": -100, "3": 2.5}},
        Decoding(bad_words=(CODEC.encode("house")[:-1],), logit_bias=((3, 2.5), (12, -100.0))),
    ),
    ({"stop": "small"}, Decoding(stop=("small",))),
    ({"stop": ["a b", "c"], "logprobs": 2}, Decoding(stop=("a b", "c"), top_logprobs=2)),
    ({"seed": 7}, Decoding()),  # greedy decoding draws nothing
    ({"temperature": 1.0, "top_k": 0, "length_penalty": 1.0}, Decoding()),
    ({"do_sample": True, "top_p": 0, "seed": 1}, Decoding(do_sample=True, top_p=0, seed=1)),
    ({"stream": None, "num_beams": None, "timeout_ms": None}, Decoding()),
]


def test_the_engine_gets_the_settings(bundle: Path) -> None:
    engine = WritingEngine(CODEC)

    async def scenario(client: httpx.AsyncClient) -> None:
        for body, decoding in SETTINGS:
            response = await client.post("/generate", json={"text": TEXT, **body})
            assert response.status_code == 200, response.text
            assert response.json()["seed"] == decoding.seed

    serve_text(bundle, scenario, engine)
    assert {prompt.source for prompt in engine.joined} == {CODEC.encode(TEXT)}
    assert [prompt.decoding for prompt in engine.joined] == [one for _, one in SETTINGS]


def test_the_models_own_settings_are_overridden_one_by_one(bundle: Path) -> None:
    engine = WritingEngine(CODEC)
    own: dict[str, Any] = {
        "num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 3,
        "num_return_sequences": 3, "min_new_tokens": 9,
    }  # fmt: skip

    async def scenario(client: httpx.AsyncClient) -> None:
        for body in ({}, {"num_beams": 1}, {"num_beams": 2, "max_new_tokens": 5}, SAMPLED):
            response = await client.post("/generate", json={"text": TEXT, **body})
            assert response.status_code == 200, response.text
        assert (await client.get("/info")).json()["decoding"] == own

    serve_text(bundle, scenario, engine, decoding=own)
    beams = Decoding(**own)
    assert [prompt.decoding for prompt in engine.joined] == [
        beams,
        replace(beams, num_return_sequences=1, num_beams=1),
        replace(beams, num_return_sequences=2, num_beams=2, max_new_tokens=5),
        replace(beams, num_beams=1, do_sample=True, seed=1),
    ]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"do_sample": True, "temperature": 0}, "temperature is 0.0; expected 1e-20 to 1e+20"),
    ({"do_sample": True, "num_beams": 2}, "num_beams is 2; expected 1 with do_sample"),
    (
        {"num_return_sequences": 2},
        "num_return_sequences is 2; expected 1 without do_sample or more num_beams",
    ),
    ({"min_new_tokens": 4, "max_new_tokens": 3}, "min_new_tokens is 4; max_new_tokens is 3"),
    ({"min_new_tokens": 21}, "min_new_tokens is 21; max_new_tokens is 20"),
    (
        {"prefix": "small " * 1000},
        "prefix has 6000 characters; the model writes at most 20 tokens",
    ),
    ({"prefix": "So </s> on"}, "prefix has '</s>', which would end the answer"),
    ({"prefix": "So {"}, "prefix has '{', which the vocabulary does not write"),
    ({"text": " "}, "the text is empty; expected something to read before its end"),
    ({"temperature": 0.5}, "temperature has no effect without do_sample"),
    ({"length_penalty": 0.5}, "length_penalty has no effect without num_beams above 1"),
    ({"stop": [""]}, "stop is ''; expected texts of a character or more"),
    ({"bad_words": ["日本"]}, "bad_words has '日本', which the vocabulary does not write"),
    ({"bad_words": [""]}, "bad_words has '', which the vocabulary does not write"),
    ({"logit_bias": {"99999": 1}}, "logit_bias is for token 99999; expected 0 to 3424"),
    ({"max_new_tokens": 21}, "max_new_tokens is 21; the model writes at most 20"),
    ({"prefix": "a b c d " * 5}, "prefix has 40 tokens; the model writes at most 20"),
    ({"seed": -1, "do_sample": True}, "seed is -1; expected 0 to 2^64 - 1"),
]


def test_a_setting_that_does_not_fit_is_named(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for body, detail in REFUSED:
            response = await client.post("/generate", json={"text": TEXT, **body})
            assert problem(response, 422)["detail"] == detail
            streamed = await client.post("/generate", json={"text": TEXT, "stream": True, **body})
            assert problem(streamed, 422)["detail"] == detail

    serve_text(bundle, scenario)


def test_a_bundle_of_an_older_format_decodes_greedily_and_says_so(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for body in ({"num_beams": 2}, {"do_sample": True}, {"logprobs": 1}, {"stop": "a"}):
            refused = await client.post("/generate", json={"text": TEXT, **body})
            detail = problem(refused, 422)["detail"]
            assert detail.startswith("writer decodes greedily alone")
            assert detail.endswith("until `cybersolve upgrade` rewrites its bundle")
        greedy = await client.post("/generate", json={"text": TEXT, "max_new_tokens": 3})
        assert greedy.status_code == 200

    serve_text(bundle, scenario, format=4)


def test_an_answer_has_its_reason_tokens_and_scores(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        async def ask(**body: Any) -> dict[str, Any]:
            response = await client.post("/generate", json={"text": TEXT, **body})
            assert response.status_code == 200, response.text
            return dict(response.json())

        ended = await ask()
        assert (ended["text"], ended["finish_reason"]) == (TEXT, "end")
        assert ended["tokens"] == len(CODEC.encode(TEXT)) - 1
        assert ended["logprob"] == -0.25 * len(CODEC.encode(TEXT))
        assert (ended["score"], ended["seed"], ended["alternatives"]) == (None, None, [])
        assert "token_logprobs" not in ended
        cut = await ask(max_new_tokens=2)
        assert (cut["text"], cut["tokens"], cut["finish_reason"]) == ("The house", 2, "length")
        stopped = await ask(stop=["use is"])
        assert (stopped["text"], stopped["finish_reason"]) == ("The ho", "stop")
        begun = await ask(prefix="So: ", logprobs=0)
        assert begun["text"] == f"So: {TEXT}"
        assert begun["logprob"] == ended["logprob"]
        assert {one["logprob"] for one in begun["token_logprobs"]} == {None, -0.25}
        # A stop text that the prefix has is looked for in what follows.
        later = await ask(prefix="The house: ", stop="house")
        assert (later["text"], later["finish_reason"]) == ("The house: The ", "stop")

    serve_text(bundle, scenario)


def test_token_by_token_the_text_has_its_probabilities(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post("/generate", json={"text": TEXT, "logprobs": 2})
        *tokens, end = response.json()["token_logprobs"]
        assert [token["text"] for token in tokens] == ["The", " house", " is", " small", "."]
        assert tuple(token["id"] for token in (*tokens, end)) == CODEC.encode(TEXT)
        assert end["text"] == ""
        assert [top["logprob"] for top in tokens[0]["top"]] == [-0.25, -1.25]
        assert tokens[0]["top"][0]["text"] == CODEC.decode([5])

    serve_text(bundle, scenario)


def test_several_answers_are_alternatives(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        beams = {"text": TEXT, "num_beams": 3, "num_return_sequences": 3}
        body = (await client.post("/generate", json=beams)).json()
        assert body["text"] == TEXT
        assert [one["text"] for one in body["alternatives"]] == [
            "The house is small", "The house is",
        ]  # fmt: skip
        assert [body["score"], *[one["score"] for one in body["alternatives"]]] == [
            -0.25, -0.5, -0.75,
        ]  # fmt: skip

    serve_text(bundle, scenario)


def test_a_drawn_seed_is_answered_and_repeats_the_text(bundle: Path) -> None:
    engine = WritingEngine(CODEC)

    async def scenario(client: httpx.AsyncClient) -> None:
        sampled = {"text": TEXT, "do_sample": True}
        first = (await client.post("/generate", json=sampled)).json()
        again = (await client.post("/generate", json={**sampled, "seed": first["seed"]})).json()
        other = (await client.post("/generate", json=sampled)).json()
        assert again["text"] == first["text"]
        assert other["seed"] != first["seed"]
        both = (
            await client.post("/generate", json={"texts": [TEXT] * 2, "do_sample": True})
        ).json()
        one, two = both["results"]
        assert one["seed"] != two["seed"]

    serve_text(bundle, scenario, engine)


def test_several_texts_are_answered_together_and_in_place(bundle: Path) -> None:
    engine = WritingEngine(CODEC)

    async def scenario(client: httpx.AsyncClient) -> None:
        texts = ["The house.", "small " * 40, "", "is {"]
        response = await client.post("/generate", json={"texts": texts, "max_new_tokens": 9})
        first, long, empty, last = response.json()["results"]
        assert (empty["kind"], empty["status"]) == ("problem", 422)
        assert (first["kind"], first["text"]) == ("answer", "The house.")
        assert (long["kind"], long["status"]) == ("problem", 422)
        assert "tokens; the model reads at most 24" in long["detail"]
        assert (last["kind"], last["unknown"]) == ("answer", ["{"])

    serve_text(bundle, scenario, engine)
    assert len(engine.joins[0]) == 2, "each a row of its own, joining together"


def test_a_long_text_is_cut_where_the_request_says_so(bundle: Path) -> None:
    engine = WritingEngine(CODEC)

    async def scenario(client: httpx.AsyncClient) -> None:
        async def ask(text: str, truncate: object) -> dict[str, Any]:
            body = {"text": text, "truncate": truncate}
            return dict((await client.post("/generate", json=body)).json())

        for truncate, tokens in ((True, 24), (4, 4), (1000, 24)):
            body = await ask("small " * 40, truncate)
            assert (body["source_tokens"], body["truncated"]) == (tokens, True)
        body = await ask("small " * 100_000, True)
        assert (body["source_tokens"], body["truncated"]) == (24, True)
        body = await ask("small", True)
        assert (body["truncated"], body["text"]) == (False, "small")
        for no in (False, None):
            assert (await ask("small " * 40, no))["status"] == 422

    serve_text(bundle, scenario, engine)
    assert {prompt.source[-1] for prompt in engine.joined} == {CODEC.encode("")[-1]}


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({}, "expected either text or texts"),
    ({"text": "a", "texts": ["a"]}, "expected either text or texts"),
    ({"texts": ["a"], "stream": True}, "stream is for one text; expected text, not texts"),
    ({"texts": []}, "List should have at least 1 item"),
    ({"text": "a", "logprobs": 6}, "less than or equal to 5"),
    ({"text": "a", "truncate": 0}, "expected true, false or a number of tokens above 0"),
    ({"text": "a", "stop": ["a"] * 65}, "expected a text, or a list of at most 64"),
    ({"text": "a", "stop": "a" * 1001}, "of up to 1000 characters"),
    ({"text": "a", "bad_words": ["a" * 1001]}, "at most 1000 characters"),
    ({"text": "a", "early_stopping": "often"}, 'expected true, false or "never"'),
    ({"text": "a", "min_p": True}, "valid number"),
    ({"text": "a", "top_p": "1"}, "valid number"),
    ({"text": "a", "temperature": True}, "valid number"),
    ({"text": "a", "length_penalty": "1"}, "valid number"),
    ({"text": "a", "repetition_penalty": True}, "valid number"),
    ({"text": "a", "logit_bias": {"5": "1"}}, "valid number"),
    ({"text": "a", "beams": 2}, "Extra inputs are not permitted"),
]


def test_a_body_that_does_not_fit_says_where(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for body, message in MISFITS:
            errors = problem(await client.post("/generate", json=body), 422)["errors"]
            assert any(message in error["message"] for error in errors), errors

    serve_text(bundle, scenario)


def test_what_may_become_a_stop_is_held_back(bundle: Path) -> None:
    """The pieces never show what the whole text does not have."""

    async def scenario(client: httpx.AsyncClient) -> None:
        for stop in ("is small", "is smart", "house is", "."):
            body = {"text": TEXT, "stop": stop, "stream": True}
            *pieces, (name, last) = events((await client.post("/generate", json=body)).text)
            assert name == "done"
            assert "".join(str(piece["text"]) for _, piece in pieces) == last["text"]
            assert last["text"] == TEXT.split(stop)[0]
            assert len(pieces) > 1 or stop == "house is"

    serve_text(bundle, scenario)


def test_beams_and_several_answers_are_streamed_whole(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for settings in (
            {"num_beams": 2},
            {"do_sample": True, "seed": 0, "num_return_sequences": 2},
        ):
            body = {"text": TEXT, "stream": True, **settings}
            (_, piece), (name, last) = events((await client.post("/generate", json=body)).text)
            assert (piece, name) == ({"text": TEXT}, "done")
            assert last["text"] == TEXT

    serve_text(bundle, scenario)


def test_the_limits_of_texts_hold(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post("/generate", json={"texts": ["a"] * 4})
        assert "a batch takes at most 3" in problem(response, 422)["detail"]

    serve_text(bundle, scenario, knobs={"max_batch_questions": 3})


def test_a_stream_has_the_tokens_of_its_pieces_where_asked(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for settings in (
            {},
            {"stop": "se is smart"},
            {"stop": "use is"},
            {"max_new_tokens": 2},
            {"prefix": "So: "},
            {"num_beams": 2},
            {"do_sample": True, "seed": 2},
        ):
            for count in (0, 2):
                body = {"text": TEXT, "stream": True, "logprobs": count, **settings}
                response = await client.post("/generate", json=body)
                *pieces, (name, last) = events(response.text)
                assert name == "done"
                assert "".join(piece["text"] for _, piece in pieces) == last["text"]
                tokens = [token for _, piece in pieces for token in piece["token_logprobs"]]
                assert tokens == last["token_logprobs"]
                assert {len(token["top"]) for token in tokens} == {count}
        assert len(pieces) > 1
        without = await client.post("/generate", json={"text": TEXT, "stream": True})
        assert {tuple(piece) for _, piece in events(without.text)[:-1]} == {("text",)}

    serve_text(bundle, scenario)
