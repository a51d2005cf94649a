"""Settings over each API give transformers' own answers; a real engine behind a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from transformers import T5ForConditionalGeneration

from engine.bundle import TOKENIZER, load_manifest
from engine.contracts import Decoding, Prompt
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from engine.tokens import TextCodec
from model_export.reference_decoding import reference_answers
from tests.conftest import shared_folder
from tests.service.sockets import Wire, listen
from tests.service.test_generate import events
from tests.writer import COLUMNS, write_writer

TEXTS = [
    "some", "texts to compare on", "equal token for token", "over HTTP", "a long one " * 5, "x",
    "the answers differ", "with each setting",
]  # fmt: skip
PREFIX, EOS = "So ", 1
Answers = list[list[str]]  # to each text

# The settings of a request; and those from whose answers theirs must differ. Token 1 is the end.
BEAMS: dict[str, Any] = {"num_beams": 4}
ENDING = BEAMS | {"num_return_sequences": 4, "logit_bias": {1: 4.0}}
LONGER = ENDING | {"length_penalty": 2.0}
AT_ONCE: dict[str, Any] = {"logit_bias": {1: 30.0}}
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "max_new_tokens": ({"max_new_tokens": 5}, {}),
    "min_new_tokens": (AT_ONCE | {"min_new_tokens": 7}, AT_ONCE),
    "repetition_penalty": ({"repetition_penalty": 1.7}, {}),
    "no_repeat_ngram_size": ({"no_repeat_ngram_size": 1}, {}),
    "logit_bias": ({"logit_bias": {20: 4.0, 1: -3.0}}, {}),
    "num_beams": (BEAMS, {}),
    "num_return_sequences": (BEAMS | {"num_return_sequences": 3}, BEAMS),
    "length_penalty": (LONGER, ENDING),
    "negative length_penalty": (ENDING | {"length_penalty": -1.0}, ENDING),
    "early_stopping": (LONGER | {"early_stopping": True}, LONGER),
    "early_stopping never": (LONGER | {"early_stopping": "never"}, LONGER),
    "repetition_penalty of beams": (BEAMS | {"repetition_penalty": 1.3}, BEAMS),
}


def decoding_of(settings: Mapping[str, Any]) -> Decoding:
    bias = tuple(sorted(settings.get("logit_bias", {}).items()))
    return Decoding(**{**settings, "logit_bias": bias})


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_folder(tmp_path_factory, "writer", write_writer)


@pytest.fixture(scope="module")
def codec(writer: Path) -> TextCodec:
    return TextCodec(writer / "bundle" / TOKENIZER)


@pytest.fixture(scope="module")
def expected(writer: Path, codec: TextCodec) -> Callable[..., Answers]:
    """Return the answers of transformers to so many tokens of each text."""
    model = T5ForConditionalGeneration.from_pretrained(writer / "checkpoint").eval()

    @cache
    def answers(decoding: Decoding, prefix: str = "", most_read: int = 64) -> Answers:
        forced = codec.encode(prefix)[:-1]
        sources = [(*codec.encode(text)[:-1][: most_read - 1], EOS) for text in TEXTS]
        prompts = [Prompt(source, forced, decoding) for source in sources]
        each = [reference_answers(model, [prompt], most=COLUMNS)[0] for prompt in prompts]
        return [[codec.decode(one.tokens) for one in answers] for answers in each]

    return answers


def ask(writer: Path, calls: Callable[[str], None]) -> None:
    """Let `calls` use the service at a URL, in a thread of its own."""

    async def scenario(wire: Wire) -> None:
        await asyncio.to_thread(calls, f"http://127.0.0.1:{wire.port}")

    listen(writer / "bundle", scenario, engine=OrtEngine(opened(writer), rows=16))


def opened(writer: Path) -> OrtModel:
    bundle = writer / "bundle"
    return OrtModel(bundle, load_manifest(bundle), threads=1, provider="cpu")


def post(url: str, body: Mapping[str, Any]) -> Any:
    response = httpx.post(url, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def by_generate(url: str, settings: dict[str, Any]) -> Answers:
    found = post(f"{url}/generate", {"texts": TEXTS, **settings})["results"]
    return [[one["text"], *[other["text"] for other in one["alternatives"]]] for one in found]


def by_stream(url: str, settings: dict[str, Any]) -> Answers:
    answers = []
    for text in TEXTS:
        body = {"text": text, "stream": True, **settings}
        *pieces, (_, last) = events(httpx.post(f"{url}/generate", json=body).text)
        others = [one["text"] for one in last["alternatives"]]
        answers.append(["".join(piece["text"] for _, piece in pieces), *others])
    return answers


def by_completions(url: str, settings: dict[str, Any]) -> Answers:
    own = {name: value for name, value in settings.items() if name == "logit_bias"}
    more = {name: value for name, value in settings.items() if name not in own}
    answers = int(settings.get("num_return_sequences", 1))
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        found = client.completions.create(
            model="writer", prompt=TEXTS, **own, extra_body={"max_new_tokens": COLUMNS, **more}
        )
    texts = [choice.text for choice in found.choices]
    return [texts[first : first + answers] for first in range(0, len(texts), answers)]


def by_hub(url: str, settings: dict[str, Any]) -> Answers:
    found = post(f"{url}/", {"inputs": TEXTS, "parameters": settings})
    lists = [one if isinstance(one, list) else [one] for one in found]
    return [[one["generated_text"] for one in answers] for answers in lists]


def by_open_inference(url: str, settings: dict[str, Any]) -> Answers:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(TEXTS)], "data": TEXTS}
    body = {"inputs": [tensor], "parameters": settings, "outputs": [{"name": "text"}]}
    (found,) = post(f"{url}/v2/models/writer/infer", body)["outputs"]
    each = len(found["data"]) // len(TEXTS)
    return [found["data"][first : first + each] for first in range(0, len(found["data"]), each)]


APIS = [by_generate, by_stream, by_completions, by_hub, by_open_inference]


@pytest.mark.parametrize("api", APIS, ids=lambda api: str(api.__name__))
def test_each_setting_gives_the_answers_of_transformers(
    writer: Path,
    codec: TextCodec,
    expected: Callable[..., Answers],
    api: Callable[[str, dict[str, Any]], Answers],
) -> None:
    def calls(url: str) -> None:
        for name, (settings, others) in SETTINGS.items():
            answers = expected(decoding_of(settings))
            assert answers != expected(decoding_of(others)), f"{name} changes no answer"
            assert api(url, settings) == answers, name
        for name, (value, answers) in of_plain_answers(codec, expected).items():
            assert api(url, {name: value}) == answers, name

    ask(writer, calls)


def of_plain_answers(
    codec: TextCodec, expected: Callable[..., Answers]
) -> dict[str, tuple[Any, Answers]]:
    """Return settings that are made from the plain answers, with those that they must give."""
    plain = [text for (text,) in expected(Decoding())]
    first = sorted({text[0] for text in plain})
    words = tuple(codec.encode(word)[:-1] for word in first)
    stop = plain[0][2:4]
    return {
        "prefix": (PREFIX, expected(Decoding(), prefix=PREFIX)),
        "bad_words": (first, expected(Decoding(bad_words=words))),
        "truncate": (5, expected(Decoding(), most_read=5)),
        "stop": (stop, [[text.split(stop)[0]] for text in plain]),
    }


@pytest.mark.parametrize("api", APIS, ids=lambda api: str(api.__name__))
def test_a_seed_gives_the_same_texts_over_each_api(
    writer: Path, codec: TextCodec, api: Callable[[str, dict[str, Any]], Answers]
) -> None:
    settings: dict[str, Any] = {
        "do_sample": True, "seed": 7, "temperature": 1.5, "top_k": 40, "top_p": 0.95,
    }  # fmt: skip
    decoding = Decoding(**settings)
    prompts = [Prompt(codec.encode(text), (), decoding) for text in TEXTS]
    alone = [generate(OrtEngine(opened(writer), rows=1), [prompt])[0] for prompt in prompts]
    answers = [[codec.decode(answer.best.tokens)] for answer in alone]

    def calls(url: str) -> None:
        assert api(url, settings) == answers
        assert api(url, {**settings, "seed": 8}) != answers

    ask(writer, calls)
