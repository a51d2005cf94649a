"""BYTES, FP32 and INT32 tensors as JSON and as binary data (little-endian, row-major).

This module knows the encodings, not the meaning of tensors.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import Any

from service.api.open_inference.errors import InvalidInference

_LENGTH = struct.Struct("<I")  # before each element of a binary BYTES tensor
Element = str | float | int


class Datatype(StrEnum):
    BYTES = "BYTES"
    FP32 = "FP32"
    INT32 = "INT32"


@dataclass(frozen=True)
class Tensor:
    name: str
    datatype: Datatype
    shape: Sequence[int]
    elements: Sequence[Element]  # row-major

    def binary(self) -> bytes:
        if self.datatype is Datatype.BYTES:
            encoded = [str(element).encode() for element in self.elements]
            return b"".join(_LENGTH.pack(len(element)) + element for element in encoded)
        code = "f" if self.datatype is Datatype.FP32 else "i"
        return struct.pack(f"<{len(self.elements)}{code}", *self.elements)


def texts_of_binary(name: str, data: bytes) -> list[str]:
    """Return the elements of a BYTES tensor: each a length in four bytes, then as many of UTF-8."""
    texts: list[str] = []
    at = 0
    while at < len(data):
        where = f"element {len(texts)} of input {name!r}"
        if len(data) - at < _LENGTH.size:
            raise InvalidInference(f"{where} ends within its length of 4 bytes")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if length > len(data) - at:
            raise InvalidInference(
                f"{where} says that it has {length} bytes; {len(data) - at} are left"
            )
        try:
            texts.append(data[at : at + length].decode())
        except UnicodeDecodeError as error:
            raise InvalidInference(f"{where} is not UTF-8, at its byte {error.start}") from error
        at += length
    return texts


def texts_of_json(name: str, data: Sequence[Any], *, nested: bool) -> list[str]:
    """Return the elements of a BYTES tensor in JSON: flat, or each in its own list if `nested`."""
    texts: list[str] = []
    for index, element in enumerate(data):
        alone = nested and isinstance(element, list) and len(element) == 1
        text = element[0] if alone else element
        if not isinstance(text, str):
            kind = type(text).__name__
            raise InvalidInference(
                f"element {index} of input {name!r} is a {kind}; expected a string"
            )
        texts.append(text)
    return texts


def require_shape(name: str, shape: Sequence[int], elements: int) -> None:
    """Raise `InvalidInference` unless `shape` has so many elements."""
    if prod(shape) != elements:
        raise InvalidInference(
            f"input {name!r} has {elements} elements; its shape {list(shape)} has {prod(shape)}"
        )
