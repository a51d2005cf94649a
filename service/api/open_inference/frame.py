"""Read and write HTTP bodies: a JSON object, then the binary data of its tensors, if any."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Response
from pydantic import ValidationError

from service.api.open_inference.errors import InvalidInference
from service.api.open_inference.schemas import InferRequest, InputTensor
from service.api.open_inference.tensors import (
    Tensor,
    require_shape,
    texts_of_binary,
    texts_of_json,
)

HEADER = "inference-header-content-length"  # bytes of the JSON
HEADER_SCHEMA = {
    "description": "Bytes of JSON, where the binary data of tensors follows it.",
    "schema": {"type": "integer"},
}
BINARY = "application/octet-stream"  # JSON followed by the data of tensors
BINARY_SCHEMA = {"schema": {"type": "string", "format": "binary"}}


@dataclass(frozen=True)
class Inference:
    """A request: its JSON, and the elements of its one tensor."""

    head: InferRequest
    texts: list[str]

    @property
    def shape(self) -> list[int]:
        return self.head.inputs[0].shape


def read(body: bytes, headers: Mapping[str, str]) -> Inference:
    """Return the request. Raises `InvalidInference` for an invalid frame, JSON or tensor."""
    encoding = headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise InvalidInference(f"the body is encoded as {encoding!r}; expected it as it is")
    head_bytes, data = _split(body, headers.get(HEADER))
    try:
        head = InferRequest.model_validate_json(head_bytes)
    except ValidationError as error:
        raise InvalidInference(_first_fault(error)) from error
    return Inference(head, _texts(head.inputs[0], data))


def respond(
    head: Mapping[str, Any],
    tensors: Sequence[tuple[Tensor, bool]],
    headers: Mapping[str, str],
) -> Response:
    """Return a response with the outputs in order; True: the tensor's data is binary."""
    outputs: list[dict[str, Any]] = []
    data = []
    for tensor, binary in tensors:
        shown: dict[str, Any] = {
            "name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape,
        }  # fmt: skip
        if binary:
            data.append(tensor.binary())
            shown["parameters"] = {"binary_data_size": len(data[-1])}
        else:
            shown["data"] = list(tensor.elements)
        outputs.append(shown)
    text = json.dumps({**head, "outputs": outputs}, ensure_ascii=False, separators=(",", ":"))
    encoded = text.encode()
    if not data:
        return Response(encoded, headers=headers, media_type="application/json")
    return Response(
        b"".join([encoded, *data]),
        headers={**headers, HEADER: str(len(encoded))},
        media_type=BINARY,
    )


def _split(body: bytes, length: str | None) -> tuple[bytes, bytes | None]:
    """Return the JSON and the data after it; None: the body is JSON alone."""
    if length is None:
        return body, None
    if not (length.isascii() and length.isdigit() and len(length) <= 20):
        raise InvalidInference(f"{HEADER} is {length[:40]!r}; expected a number of bytes")
    if int(length) > len(body):
        raise InvalidInference(f"{HEADER} is {length}; the body has {len(body)} bytes")
    return body[: int(length)], body[int(length) :]


def _texts(tensor: InputTensor, data: bytes | None) -> list[str]:
    """Return the elements of the one input, from the JSON or the binary data."""
    size = tensor.parameters.binary_data_size
    where = f"input {tensor.name!r}"
    if size is None:
        if data:
            raise InvalidInference(f"{len(data)} bytes follow the JSON; expected none")
        if tensor.data is None:
            raise InvalidInference(f"{where} has neither data nor binary_data_size")
        texts = texts_of_json(tensor.name, tensor.data, nested=len(tensor.shape) > 1)
    else:
        if tensor.data is not None:
            raise InvalidInference(f"{where} has both data and binary_data_size; expected one")
        if data is None:
            raise InvalidInference(f"{where} has binary data; expected the header {HEADER}")
        if len(data) != size:
            raise InvalidInference(
                f"{where} has a binary_data_size of {size}; {len(data)} bytes follow the JSON"
            )
        texts = texts_of_binary(tensor.name, data)
    require_shape(tensor.name, tensor.shape, len(texts))
    return texts


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, fault["loc"]))
    message = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
