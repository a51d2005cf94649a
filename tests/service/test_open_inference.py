"""The Open Inference Protocol as its bytes have it; the real client is in tests/end_to_end."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contracts import Decoding
from engine.echo import EchoEngine
from service.api.open_inference import frame
from service.api.open_inference.errors import InvalidInference
from service.api.open_inference.tasks import slowest
from service.api.open_inference.tensors import Datatype, Tensor, texts_of_binary
from service.contracts import Timings
from service.errors import QuestionTooLong, ServiceError
from service.generating.source import Source
from service.generating.written import Written
from tests.fakes import WritingEngine
from tests.service.app import LIMITS, Held, Loading, of_another_task, serve
from tests.service.text import CODEC, NAME, TEXT, serve_text

INFER = "/v2/models/tiny/infer"
QUESTIONS = ["Solve 24 = 1601*c - 1605*c for c.", "3x + = 20", "2x = 1"]
TIMES = ("x-queue-time", "x-inference-time", "x-total-time")
BINARY = Tensor("question", Datatype.BYTES, [2], ["x = 1", "x = 2"]).binary()


def question(*texts: object, **fields: Any) -> dict[str, Any]:
    tensor = {"name": "question", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    return {"inputs": [{**tensor, **fields}]}


def binary(size: int = len(BINARY), **fields: Any) -> dict[str, Any]:
    tensor = {
        "name": "question", "datatype": "BYTES", "shape": [2],
        "parameters": {"binary_data_size": size},
    }  # fmt: skip
    return {"inputs": [{**tensor, **fields}]}


def framed(head: dict[str, Any], data: bytes) -> dict[str, Any]:
    text = json.dumps(head).encode()
    headers = {"inference-header-content-length": str(len(text))}
    return {"content": text + data, "headers": headers}


def outputs(response: httpx.Response) -> dict[str, list[Any]]:
    assert response.status_code == 200, response.text
    return {output["name"]: output["data"] for output in response.json()["outputs"]}


def error(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    return str(body["error"])


def test_questions_are_answered_in_order(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post(INFER, json={"id": "7", **question(*QUESTIONS)})
        body = response.json()
        assert (body["id"], body["model_name"], body["model_version"]) == ("7", "tiny", "0.0.1")
        assert all(output["shape"] == [3] for output in body["outputs"])
        assert outputs(response) == {
            "answer": ["-6", "", ""],
            "solution": ['{"c": "-6"}', "", ""],
            "verdict": ["correct", "not_understood", "wrong"],
            "reason": [
                "",
                "unexpected '=' at character 6; expected a number, the variable or '('",
                "the model gave no answer",
            ],
            "source": ["model", "", "model"],
            "variable": ["c", "", "x"],
            "equation": ["24 = 1601*c - 1605*c", "", "2*x = 1"],
            "work": ["4*c = -24\nc = -6", "", ""],
            "confidence": [0, 0, 0],  # this bundle has no figures
            "tries": [1, 0, 2],
        }

    serve(bundle, scenario)


def test_a_system_has_its_values_as_json(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post(INFER, json=question("x + y = 5; x - y = 2"))
        found = outputs(response)
        assert (found["answer"], found["variable"]) == ([""], [""])
        assert found["solution"] == ['{"x": "7/2", "y": "3/2"}']
        assert found["verdict"] == ["correct"]

    serve(bundle, scenario)


def test_null_is_as_good_as_no_parameters(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        body = question("x = 1")
        body["inputs"][0]["parameters"] = None
        body |= {"parameters": None, "outputs": [{"name": "answer", "parameters": None}]}
        assert outputs(await client.post(INFER, json=body)) == {"answer": ["1"]}

    serve(bundle, scenario)


def test_the_headers_say_how_long_it_took(bundle: Path) -> None:
    """For several questions they are those of the slowest, and the total is at least as long."""

    async def scenario(client: httpx.AsyncClient) -> None:
        for request in ({"json": question(*QUESTIONS)}, framed(binary(), BINARY)):
            response = await client.post(INFER, **request)
            assert response.status_code == 200
            queue, inference, total = (float(response.headers[name]) for name in TIMES)
            assert queue >= 0
            assert inference > 0
            assert total >= queue + inference

    serve(bundle, scenario)


def test_where_nothing_was_understood_there_is_no_time_to_tell(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post(INFER, json=question("3x + = 20"))
        assert outputs(response)["verdict"] == ["not_understood"]
        assert not response.headers.keys() & set(TIMES)

    serve(bundle, scenario)


def test_the_times_of_several_are_those_of_the_slowest() -> None:
    def written(queue_s: float, inference_s: float) -> Written:
        return Written((), Source(()), None, Timings(queue_s, inference_s), total_s=1)

    refused = QuestionTooLong("-")
    several: list[Written | ServiceError]
    several = [written(0.3, 0.1), refused, written(0.2, 0.4), written(0.1, 0.1)]
    assert slowest(several) == Timings(0.2, 0.4)
    assert slowest([refused]) is None


def test_only_the_outputs_asked_for_come_in_the_order_asked(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        wanted = [{"name": "verdict"}, {"name": "answer"}]
        body = {**question("2x = 1"), "outputs": wanted, "parameters": {"fallback": "exact"}}
        response = await client.post(INFER, json=body)
        assert list(outputs(response).items()) == [("verdict", ["correct"]), ("answer", ["1/2"])]
        assert "id" not in response.json()

    serve(bundle, scenario)


def test_a_column_is_answered_with_columns(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for data in (["x = 1", "x = 2"], [["x = 1"], ["x = 2"]]):
            response = await client.post(INFER, json=question(*data, shape=[2, 1]))
            assert outputs(response)["answer"] == ["1", "2"]
            assert response.json()["outputs"][0]["shape"] == [2, 1]

    serve(bundle, scenario)


def test_binary_and_json_outputs_come_in_one_response(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        head = binary() | {
            "parameters": {"binary_data_output": True},
            "outputs": [
                {"name": "answer"},
                {"name": "verdict", "parameters": {"binary_data": False}},
                {"name": "tries"},
            ],
        }
        response = await client.post(INFER, **framed(head, BINARY))
        assert response.headers["content-type"] == "application/octet-stream"
        length = int(response.headers["inference-header-content-length"])
        answer, verdict, tries = json.loads(response.content[:length])["outputs"]
        size = answer["parameters"]["binary_data_size"]
        rest = response.content[length:]
        assert texts_of_binary("answer", rest[:size]) == ["1", "2"]
        assert verdict["data"] == ["correct", "correct"]
        assert tries["parameters"] == {"binary_data_size": 8}
        assert struct.unpack("<2i", rest[size:]) == (1, 1)

    serve(bundle, scenario)


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"json": {}}, "inputs: Field required"),
    ({"content": b"{"}, "Invalid JSON: EOF while parsing an object"),
    (
        {"json": question("x = 1", name="text")},
        "inputs.0.name: no input 'text'; there is 'question'",
    ),
    ({"json": question("x = 1", datatype="FP32")}, "inputs.0.datatype: Input should be"),
    ({"json": question("x = 1", shape=[2])}, "has 1 elements; its shape [2] has 2"),
    ({"json": question("x = 1", shape=[1, 1, 1])}, "inputs.0.shape: List should have"),
    ({"json": question("x", "y", shape=[1, 2])}, "expected [n] or [n, 1]"),
    ({"json": question(shape=[0])}, "inputs.0.shape.0: Input should be greater than 0"),
    ({"json": question("x = 1", 2)}, "element 1 of input 'question' is a int"),
    ({"json": question(["x = 1"])}, "element 0 of input 'question' is a list"),
    ({"json": question("x = 1", data=None)}, "neither data nor binary_data_size"),
    ({"json": {**question("x"), "parameters": {"fallbak": "exact"}}}, "parameters.fallbak"),
    ({"json": {**question("x"), "parameters": {"max_new_tokens": 3}}}, "there is fallback"),
    ({"json": {**question("x"), "parameters": {"timeout": 0}}}, "parameters.timeout"),
    (
        {"json": {**question("x"), "outputs": [{"name": "answers"}]}},
        "outputs.0.name: no output",
    ),
    (
        {
            "json": question("x")
            | {"outputs": [{"name": "work", "parameters": {"classification": 3}}]}
        },
        "outputs.0.parameters.classification",
    ),
    ({"json": binary()}, "expected the header inference-header-content-length"),
    (framed(binary(), BINARY[:-1]), "a binary_data_size of 18; 17 bytes follow"),
    (framed(binary(), BINARY + b"x"), "a binary_data_size of 18; 19 bytes follow"),
    (framed(binary(3), BINARY[:3]), "element 0 of input 'question' ends within its length"),
    (framed(binary(8), BINARY[:8]), "says that it has 5 bytes; 4 are left"),
    (framed(binary(6), b"\2\0\0\0x\xff"), "element 0 of input 'question' is not UTF-8, at"),
    (framed(binary(shape=[3]), BINARY), "has 2 elements; its shape [3] has 3"),
    (framed(question("x = 1"), b"??"), "2 bytes follow the JSON; expected none"),
    (framed(binary(data=["x"]), BINARY), "both data and binary_data_size"),
    (
        {"content": b"{}", "headers": {"inference-header-content-length": "3"}},
        "is 3; the body has 2 bytes",
    ),
    (
        {"content": b"{}", "headers": {"inference-header-content-length": "-1"}},
        "is '-1'; expected a number of bytes",
    ),
    ({"content": b"{}", "headers": {"content-encoding": "gzip"}}, "encoded as 'gzip'"),
]


def test_what_does_not_fit_says_where(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for request, said in MISFITS:
            assert said in error(await client.post(INFER, **request), 400)

    serve(bundle, scenario)


def test_many_faults_make_a_short_answer(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        many = [1] * 100_000
        for body in (
            {"inputs": many},
            question("x") | {"outputs": many},
            question("x", shape=many),
            question("x") | {"parameters": {f"key{n}": n for n in many}},
            question(*many),
        ):
            response = await client.post(INFER, json=body)
            assert len(error(response, 400)) < 200

    serve(bundle, scenario)


def test_too_much_is_refused(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        four = await client.post(INFER, json=question(*["x = 1"] * 4))
        assert error(four, 400) == "4 questions; a batch takes at most 3"
        large = await client.post(INFER, json=question("x" * 1000))
        assert error(large, 413) == "the body is over 1000 bytes"

    serve(bundle, scenario, max_batch_questions=3, max_body_bytes=1000)


@pytest.mark.parametrize("path", ["", "/versions/0.0.1"])
def test_a_model_is_there_with_and_without_its_version(bundle: Path, path: str) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        body = (await client.get(f"/v2/models/tiny{path}")).json()
        assert (body["name"], body["versions"]) == ("tiny", ["0.0.1"])
        assert body["inputs"] == [{"name": "question", "datatype": "BYTES", "shape": [-1]}]
        ready = await client.get(f"/v2/models/tiny{path}/ready")
        assert ready.json() == {"name": "tiny", "ready": True}
        answered = await client.post(f"/v2/models/tiny{path}/infer", json=question("x = 1"))
        given = {(output["name"], output["datatype"]) for output in answered.json()["outputs"]}
        assert given == {(output["name"], output["datatype"]) for output in body["outputs"]}

    serve(bundle, scenario)


def test_what_is_not_there_is_404_in_the_protocols_words(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for path, said in (
            ("/v2/models/other", "no model 'other'; there is 'tiny'"),
            ("/v2/models/other/ready", "no model 'other'; there is 'tiny'"),
            ("/v2/models/tiny/versions/9", "no version '9' of 'tiny'; there is '0.0.1'"),
            ("/v2/nowhere", "Not Found: there is no GET /v2/nowhere; /docs lists the routes"),
        ):
            assert error(await client.get(path), 404) == said
        assert error(await client.post("/v2/models/other/infer", json=question("x")), 404)
        assert error(await client.get(INFER), 405) == "Method Not Allowed"

    serve(bundle, scenario)


def test_health_follows_the_model(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/v2/health/live")).json() == {"live": True}
        assert (await client.get("/v2/health/ready")).json() == {"ready": True}
        assert (await client.get("/v2")).json()["extensions"] == ["binary_tensor_data"]

    async def cold(client: httpx.AsyncClient) -> None:
        assert (await client.get("/v2/health/live")).status_code == 200
        for path in ("/v2/health/ready", "/v2/models/tiny/ready"):
            assert error(await client.get(path), 503) == "the model is not ready"
        refused = await client.post(INFER, json=question("x = 1"))
        assert error(refused, 503) == "the model is not ready"
        assert refused.headers["retry-after"] == "1"

    serve(bundle, scenario)
    serve(bundle, cold, host=Loading(EchoEngine(), LIMITS), warm=False)


def test_a_deadline_that_passes_fails_the_whole_request(bundle: Path) -> None:
    engine = Held(bundle)

    async def scenario(client: httpx.AsyncClient) -> None:
        for parameters in ({"timeout": 1000}, {"timeout_ms": 1}):
            body = question("x = 1", "3x + = 20") | {"parameters": parameters}
            assert "the deadline passed" in error(await client.post(INFER, json=body), 504)
        engine.gate.set()

    serve(bundle, scenario, engine=engine)


def test_the_verdict_tells_a_long_question_from_a_slip(bundle: Path) -> None:
    long = "1234567890123*x = 5"

    async def scenario(client: httpx.AsyncClient) -> None:
        refused = await client.post("/solve", json={"question": long})
        assert refused.json()["type"].endswith("too-long-for-model")
        found = outputs(await client.post(INFER, json=question(long, "3x + = 20")))
        assert found["verdict"] == ["too_long", "not_understood"]
        assert found["reason"][0] == "the model does not read a number of 13 digits, over 12"

    serve(bundle, scenario)


def test_a_text_with_nothing_to_read_is_rejected(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        body = question(TEXT, " ", name="text")
        found = outputs(await client.post(f"/v2/models/{NAME}/infer", json=body))
        assert found["finish_reason"] == ["end", "rejected"]
        assert found["reason"][1] == "the text is empty; expected something to read before its end"

    serve_text(bundle, scenario)


def test_a_model_of_another_task_takes_texts(bundle: Path, tmp_path: Path) -> None:
    """The engine echoes what it reads."""
    texts = ["L+3x0^0 R+2k1^1", "1 " * 10_000]

    async def scenario(client: httpx.AsyncClient) -> None:
        metadata = (await client.get("/v2/models/tiny")).json()
        assert [tensor["name"] for tensor in metadata["inputs"]] == ["text"]
        body = question(*texts, name="text")
        said = outputs(await client.post(INFER, json=body))
        assert list(said) == [tensor["name"] for tensor in metadata["outputs"]]
        alone = (await client.post("/generate", json={"text": texts[0]})).json()
        assert said["text"] == [alone["text"], ""]
        assert said["finish_reason"] == ["end", "too_long"]
        assert said["tokens"] == [alone["tokens"], 0]
        assert said["reason"][1] == "20000 characters; the model reads at most 200 tokens"
        much = body | {"parameters": {"max_new_tokens": 10_000}}
        said_of_all = error(await client.post(INFER, json=much), 400)
        assert said_of_all == "max_new_tokens is 10000; the model writes at most 8"
        slip = question(texts[0], name="text") | {"parameters": {"fallback": "exact"}}
        said_of_all = error(await client.post(INFER, json=slip), 400)
        assert said_of_all.startswith("parameters.fallback: there is bad_words, do_sample,")

    serve(of_another_task(bundle, tmp_path), scenario, engine=EchoEngine())


def test_the_parameters_are_the_settings_of_a_decoding(bundle: Path) -> None:
    """Several answers to a text are the last dimension of every output."""
    engine = WritingEngine(CODEC)

    async def scenario(client: httpx.AsyncClient) -> None:
        body = question(TEXT, "small " * 40, name="text")
        beams = {"num_beams": 2, "num_return_sequences": 2, "max_new_tokens": 9}
        path = f"/v2/models/{NAME}/infer"
        response = await client.post(path, json=body | {"parameters": beams})
        said = outputs(response)
        assert {tuple(output["shape"]) for output in response.json()["outputs"]} == {(2, 2)}
        assert said["text"] == [TEXT, TEXT[:-1], "", ""]
        assert said["finish_reason"] == ["end", "end", "too_long", ""]
        assert said["logprob"] == [-1.5, -2.5, 0, 0]
        sampled = {"do_sample": True, "top_k": 3, "seed": 5}
        alone = question(TEXT, name="text") | {"parameters": sampled}
        assert len(outputs(await client.post(path, json=alone))["text"]) == 1
        for parameters, message in (
            ({"top_k": 3}, "top_k has no effect without do_sample"),
            ({"logprobs": 1}, "parameters.logprobs: there is bad_words"),
        ):
            wrong = question(TEXT, name="text") | {"parameters": parameters}
            assert message in error(await client.post(path, json=wrong), 400)

    serve_text(bundle, scenario, engine)
    assert [prompt.decoding for prompt in engine.joined] == [
        Decoding(num_beams=2, num_return_sequences=2, max_new_tokens=9),
        Decoding(do_sample=True, top_k=3, seed=5),
    ]


def test_the_metrics_know_the_routes_and_not_the_names(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for name in ("tiny", "a", "b"):
            await client.post(f"/v2/models/{name}/infer", json=question("x = 1"))
        text = (await client.get("/metrics")).text
        route = '{route="/v2/models/{model_name}/infer",status='
        assert f'cybersolve_requests_total{route}"200"}} 1.0' in text
        assert f'cybersolve_requests_total{route}"404"}} 2.0' in text

    serve(bundle, scenario)


@given(
    st.binary(max_size=60),
    st.one_of(st.none(), st.text(max_size=5), st.integers(-5, 300).map(str)),
    st.integers(-5, 80),
)
def test_any_bytes_are_read_or_refused(data: bytes, length: str | None, size: int) -> None:
    """Law: a frame is read, with as many questions as its shape has, or is `InvalidInference`."""
    for head in (b"", json.dumps(binary(size)).encode()):
        headers = {} if length is None else {"inference-header-content-length": length}
        if head:
            headers["inference-header-content-length"] = str(len(head))
        try:
            read = frame.read(head + data, headers)
        except InvalidInference:
            continue
        assert len(read.texts) == prod(read.shape)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_binary_texts_come_back(texts: list[str]) -> None:
    """Law: reading what was written gives it back."""
    assert texts_of_binary("question", Tensor("t", Datatype.BYTES, [1], texts).binary()) == texts
