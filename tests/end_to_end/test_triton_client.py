"""NVIDIA's own client of the Open Inference Protocol, against the real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from tests.end_to_end.conftest import Server

MODEL = "cybersolve-mini"
QUESTIONS = ["Solve 24 = 1601*c - 1605*c for c.", "2(x \N{MINUS SIGN} 1) = 4", "3x + = 20"]


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as connected:
        yield connected


def question(texts: list[str], *, binary: bool, column: bool = False) -> Any:
    shape = [len(texts), 1] if column else [len(texts)]
    tensor = triton.InferInput("question", shape, "BYTES")
    elements = np.array([text.encode() for text in texts], dtype=np.object_).reshape(shape)
    tensor.set_data_from_numpy(elements, binary_data=binary)
    return tensor


def text(result: Any, name: str) -> list[str]:
    """Return the strings of an output, which came as binary data (bytes) or as JSON (strings)."""
    elements = result.as_numpy(name).ravel().tolist()
    return [each.decode() if isinstance(each, bytes) else each for each in elements]


def test_it_finds_the_server_and_the_model(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert not client.is_model_ready("another")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata(MODEL)
    (version,) = metadata["versions"]
    assert client.get_model_metadata(MODEL, version) == metadata
    assert client.is_model_ready(MODEL, version)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("column", [True, False])
def test_it_asks_and_reads_the_answers(client: Any, binary: bool, column: bool) -> None:
    names = ("answer", "verdict", "reason", "work", "confidence", "tries")
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
    asked = question(QUESTIONS, binary=binary, column=column)
    result = client.infer(MODEL, [asked], outputs=wanted, request_id="7")
    assert text(result, "answer") == ["-6", "3", ""]
    assert text(result, "verdict") == ["correct", "correct", "not_understood"]
    assert text(result, "reason")[2].startswith("unexpected '=' at character 6; expected")
    assert text(result, "work")[1] == "2*x = 6\nx = 3"
    confidence, tries = result.as_numpy("confidence"), result.as_numpy("tries")
    assert confidence.shape == ((3, 1) if column else (3,))
    assert (confidence.dtype, tries.dtype) == (np.float32, np.int32)
    assert 0 < confidence.ravel()[0] < 1
    assert tries.ravel().tolist() == [1, 1, 0]
    assert result.get_response()["id"] == "7"
    assert result.get_output("source") is None


def test_by_default_every_output_comes_as_binary_data(client: Any) -> None:
    result = client.infer(
        MODEL, [question(["x = 12345678901234"], binary=True)], parameters={"fallback": "exact"},
        timeout=30_000_000,
    )  # fmt: skip
    assert (text(result, "answer"), text(result, "source")) == (["12345678901234"], ["exact"])
    for output in result.get_response()["outputs"]:
        assert "binary_data_size" in output["parameters"]


def test_many_are_asked_at_once(client: Any) -> None:
    texts = [f"{n}*x - {7 * n} = 0" for n in range(1, 301)]
    pending = [
        client.async_infer(MODEL, [question(texts[at : at + 100], binary=True)])
        for at in range(0, 300, 100)
    ]
    verdicts = [verdict for one in pending for verdict in text(one.get_result(), "verdict")]
    assert verdicts.count("correct") > 290


def test_it_reads_what_went_wrong(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="no model 'another'") as unknown:
        client.infer("another", [question(["x = 1"], binary=True)])
    assert unknown.value.status() == "404"
    wanted = [triton.InferRequestedOutput("answers")]
    with pytest.raises(InferenceServerException, match="no output 'answers'; there are") as wrong:
        client.infer(MODEL, [question(["x = 1"], binary=True)], outputs=wanted)
    assert wrong.value.status() == "400"
    with pytest.raises(InferenceServerException, match="Not Found"):
        client.get_inference_statistics(MODEL)
