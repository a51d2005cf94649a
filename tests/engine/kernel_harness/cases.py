"""The harness's files: operators with inputs, and what kernels gave for them.

Numbers are little-endian: lengths, counts, types and ranks of 32 bits, dimensions of 64; a name is
its length and its bytes. A file of cases is their count and the cases; a case is the operator's
name, a count of attributes (name, 64-bit float), a count of inputs (type, whether it is constant,
rank, dimensions, data). A result is the length of an error and the error, or 0, a count of outputs
and the outputs (type, rank, dimensions, data).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np

Arrays = Mapping[str, np.ndarray]
_TYPES = {"float32": 1, "int8": 3, "int32": 6, "int64": 7}
_NAMES = {number: name for name, number in _TYPES.items()}


@dataclass(frozen=True)
class Case:
    """One call of one operator; `constants` follow the other inputs."""

    kind: str
    inputs: Arrays
    constants: Arrays = field(default_factory=dict)
    attributes: Mapping[str, float] = field(default_factory=dict)
    outputs: int = 1


Result = list[np.ndarray] | str  # the outputs, or the error


def write_cases(path: Path, cases: Sequence[Case]) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<i", len(cases)))
        for case in cases:
            file.write(_name(case.kind) + struct.pack("<i", len(case.attributes)))
            for name, value in case.attributes.items():
                file.write(_name(name) + struct.pack("<d", value))
            file.write(struct.pack("<i", len(case.inputs) + len(case.constants)))
            for arrays, constant in ((case.inputs, 0), (case.constants, 1)):
                for array in arrays.values():
                    head = (_TYPES[str(array.dtype)], constant, array.ndim, *array.shape)
                    file.write(struct.pack(f"<iii{array.ndim}q", *head) + array.tobytes())


def read_results(path: Path, count: int) -> list[Result]:
    file = BytesIO(path.read_bytes())
    return [_result(file) for _ in range(count)]


def _result(file: BytesIO) -> Result:
    (length,) = struct.unpack("<i", file.read(4))
    if length:
        return file.read(length).decode()
    (count,) = struct.unpack("<i", file.read(4))
    return [_array(file) for _ in range(count)]


def _array(file: BytesIO) -> np.ndarray:
    kind, rank = struct.unpack("<ii", file.read(8))
    shape = struct.unpack(f"<{rank}q", file.read(8 * rank))
    dtype = np.dtype(_NAMES[kind])
    return np.frombuffer(file.read(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)


def _name(text: str) -> bytes:
    return struct.pack("<i", len(text)) + text.encode()
