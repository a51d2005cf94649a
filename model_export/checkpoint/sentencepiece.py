"""Read a SentencePiece model file, which is one protocol buffer, without its libraries.

Source: `sentencepiece_model.proto` of google/sentencepiece, and the wire format of protocol
buffers. Only the fields that a Unigram tokenizer needs are read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.files import require_content

UNIGRAM = 1  # TrainerSpec.ModelType
UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4  # SentencePiece.Type; normal pieces are 1
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5  # wire types
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3  # fields of ModelProto


@dataclass(frozen=True)
class Piece:
    text: str
    score: float
    kind: int


@dataclass(frozen=True)
class SentencePieceModel:
    pieces: tuple[Piece, ...]
    model_type: int
    charsmap: bytes  # normalisation rules, compiled; may be empty


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Return the model in a file. Raises `CheckpointError`."""
    data = require_content(path).read_bytes()
    pieces: list[Piece] = []
    model_type, charsmap = UNIGRAM, b""
    try:
        for field, value in _fields(data):
            if field == _PIECES:
                pieces.append(_piece(_bytes(value)))
            elif field == _TRAINER:
                found = dict(_fields(_bytes(value))).get(3, UNIGRAM)
                model_type = found if isinstance(found, int) else UNIGRAM
            elif field == _NORMALIZER:
                charsmap = _bytes(dict(_fields(_bytes(value))).get(2, b""))
    except (IndexError, TypeError, ValueError, struct.error) as error:
        raise CheckpointError(f"{path}: truncated or damaged: not a SentencePiece model") from error
    if not pieces:
        raise CheckpointError(f"{path}: no pieces; expected a SentencePiece model")
    return SentencePieceModel(tuple(pieces), model_type, charsmap)


def _piece(data: bytes) -> Piece:
    fields = dict(_fields(data))
    score = struct.unpack("<f", _bytes(fields.get(2, b"\0\0\0\0")))[0]
    kind = fields.get(3, 1)
    return Piece(_bytes(fields[1]).decode(), float(score), kind if isinstance(kind, int) else 1)


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise TypeError("a number where bytes were expected")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and value of each field of a message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        field, wire = key >> 3, key & 7
        if wire == _VARINT:
            number, at = _varint(data, at)
            yield field, number
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED_32, _FIXED_64):
            size = 4 if wire == _FIXED_32 else 8
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(data):
            raise ValueError("a field ends beyond the message")
        yield field, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a position, seven bits a byte, and the position after it."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
