"""A variant of our fp16 bundle: cross-attention by `Attention` of ONNX's operator set 24.

By ONNX Runtime's sources CUDA runs it by flash attention, with lengths by row (decision 42). No GPU
has run it. The bundle is otherwise the same, and the variant is a folder beside it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import onnx
from onnx import parser

from engine.bundle import DECODER
from model_export.operators import HALF_DOMAIN

_OPERATOR = "CrossAttention"
_OPSET = 24
# One query a row: to put its heads first moves no number.
_DEFINITION = f"""
<domain: "{HALF_DOMAIN}", opset_import: ["": {_OPSET}]>
{_OPERATOR} <num_heads> (query, key, value, lengths) => (mixed) {{
    one = Constant <value_ints: ints = [1]> ()
    rest = Constant <value_ints: ints = [-1]> ()
    rows = Constant <value_ints: ints = [0]> ()
    heads_0 = Constant <value_int: int = @num_heads> ()
    heads = Reshape (heads_0, one)
    by_head = Concat <axis: int = 0> (rows, heads, one, rest)
    query_by_head = Reshape (query, by_head)
    lengths_64 = Cast <to: int = 7> (lengths)
    mixed_by_head = Attention <scale: float = 1.0> (
        query_by_head, key, value, , , , lengths_64
    )
    by_row = Concat <axis: int = 0> (rows, one, rest)
    mixed = Reshape (mixed_by_head, by_row)
}}
"""


def with_attention24(bundle: Path) -> Path:
    """Write the variant of an fp16 `bundle` beside it, unless it is there; return its folder."""
    folder = bundle.with_name(f"{bundle.name}-attention24")
    if folder.exists():
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for path in bundle.iterdir():
        os.link(path, partial / path.name)  # weights have gigabytes
    decoder = partial / DECODER
    model = changed(onnx.load(decoder, load_external_data=False))
    decoder.unlink()  # only the link
    onnx.save(model, decoder)
    partial.rename(folder)
    return folder


def changed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a decoder in fp16 with the other definition, and its operator set."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for owner in (result, *result.functions):
        for opset in owner.opset_import:
            if opset.domain == "":
                opset.version = _OPSET
    (own,) = (one for one in result.functions if one.name == _OPERATOR)
    own.CopyFrom(parser.parse_function(_DEFINITION))
    return result
