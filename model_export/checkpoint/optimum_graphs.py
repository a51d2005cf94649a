"""Read the weights of a T5 from the graphs that `optimum-cli export onnx` writes.

torch's tracing keeps the path of every module in the names of its nodes, such as
`/decoder/block.0/layer.1/EncDecAttention/k/MatMul`. Weights themselves lose their names where they
are transposed or equal to one another, so they are found by the nodes that read them. The graphs
are read and never run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.files import require_content
from model_export.checkpoint.tensors import OPTIMUM, Matrix

_DECODERS = ("decoder_model.onnx", "decoder_model_merged.onnx")
_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
_TABLES = {  # modules that a Gather reads; decoders exported by some versions say `shared`
    "encoder.embed_tokens": "encoder.embed_tokens",
    "decoder.embed_tokens": "decoder.embed_tokens",
    "decoder.shared": "shared",
    "encoder.shared": "shared",
}


class OptimumGraphs:
    """Implement `checkpoint.tensors.Tensors` for optimum's encoder and decoder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._weights: dict[str, onnx.TensorProto] = {}
        self._transposed: set[str] = set()
        self._places: dict[str, Path] = {}
        self._read(folder / OPTIMUM, "encoder")
        self._read(decoder_of(folder), "decoder")

    def _read(self, path: Path, stack: str) -> None:
        """Note which weight each module of a graph reads."""
        try:
            graph = onnx.load(require_content(path), load_external_data=False).graph
        except DecodeError as error:
            raise CheckpointError(f"{path}: truncated or damaged: not an ONNX model") from error
        stored = {weight.name: weight for weight in graph.initializer}
        for node in _nodes(graph):
            if node.op_type == "Identity" and node.input[0] in stored:  # an equal weight's name
                stored[node.output[0]] = stored[node.input[0]]
            names = [name for name in node.input if name in stored]
            module, _, _ = node.name.strip("/").rpartition("/")
            name = _parameter(module.replace("/", "."), node.op_type, stack)
            if name is None or len(names) != 1 or name in self._weights:
                continue
            self._weights[name] = stored[names[0]]
            self._places[name] = path
            if node.op_type == "MatMul":
                self._transposed.add(name)

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {
            name: tuple(reversed(weight.dims)) if name in self._transposed else tuple(weight.dims)
            for name, weight in self._weights.items()
        }

    def read(self, name: str) -> Matrix:
        weight = self._weights[name]
        if weight.data_type not in _FLOATS:
            raise CheckpointError(
                f"{self.place(name)}: {name} is of type "
                f"{onnx.TensorProto.DataType.Name(weight.data_type)}; expected a float "
                "(use the export before its quantisation)"
            )
        try:
            value = numpy_helper.to_array(weight, str(self._folder)).astype(np.float32)
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            line = str(error).strip().splitlines()[0]
            raise CheckpointError(f"{self.place(name)}: {name} cannot be read: {line}") from error
        return np.ascontiguousarray(value.T) if name in self._transposed else value

    def place(self, name: str) -> str:
        return str(self._places[name])


def decoder_of(folder: Path) -> Path:
    """Return the decoder of a folder that can do without a cache."""
    name = next((name for name in _DECODERS if (folder / name).exists()), _DECODERS[0])
    return folder / name


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of its branches, which a merged decoder has."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def _parameter(module: str, kind: str, stack: str) -> str | None:
    """Return transformers' name of the parameter that a module's node reads, if it reads one."""
    if not module.startswith((f"{stack}.", "lm_head")):
        module = f"{stack}.{module}"
    last = module.rpartition(".")[2]
    match kind:
        case "MatMul" if last in ("q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo", "lm_head"):
            return f"{module}.weight"
        case "Gather" if module in _TABLES:
            return f"{_TABLES[module]}.weight"
        case "Gather" if last == "relative_attention_bias":
            return f"{module}.weight"
        case "Mul" if last in ("layer_norm", "final_layer_norm"):
            return f"{module}.weight"
        case _:
            return None
