"""Merge a bundle's two graphs into one file that any client of ONNX Runtime can run.

Inputs: `source` (batch, length) int64, padded at the end, and `source_lengths` (batch) int32.
Output: `tokens` (batch, steps) int64, greedy, with padding after each row's end token. An ONNX
`Loop` runs the decoder for all rows together until the last one ends. The file has none of the
engine's other features: rows that join, forced tokens, log-probabilities. It uses the operators'
definitions instead of our kernels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, inliner, numpy_helper, parser

from engine.bundle import DECODER, ENCODER, REFERENCE, BundleError, Manifest
from engine.contracts import Tokens
from engine.cpu import available_cpus
from engine.sessions import open_sessions
from model_export import operators

_Nodes = list[onnx.NodeProto]

# Sources (batch, length) without their padding, in turn, and for each position (batch, length) the
# index of its token among them; padding has the index of a token before it.
_PACK = """
<domain: "cybersolve", opset_import: ["": 23]>
Pack (source, lengths) => (packed, token) {
    zero = Constant <value_int: int = 0> ()
    one = Constant <value_int: int = 1> ()
    flat = Constant <value_ints: ints = [-1]> ()
    axis_1 = Constant <value_ints: ints = [1]> ()
    length_1 = Shape <start: int = 1, end: int = 2> (source)
    length = Squeeze (length_1)
    places = Range (zero, length, one)
    lengths_64 = Cast <to: int = 7> (lengths)
    length_of_row = Unsqueeze (lengths_64, axis_1)
    present = Less (places, length_of_row)
    shape = Shape (present)
    present_flat = Reshape (present, flat)
    source_flat = Reshape (source, flat)
    packed = Compress (source_flat, present_flat)
    counted = Cast <to: int = 7> (present_flat)
    count = CumSum (counted, zero)
    token_flat = Sub (count, one)
    token = Reshape (token_flat, shape)
}
"""


def write_single(bundle: Path, manifest: Manifest, out: Path) -> None:
    """Write the graphs in `bundle` as the file `out`.

    Raises `BundleError` for graphs of format 4, upgraded or not, whose cache does not grow.
    """
    encoder, decoder = (onnx.load(bundle / name) for name in (ENCODER, DECODER))
    key = next(value for value in decoder.graph.input if value.name == "key.0")
    if columns := key.type.tensor_type.shape.dim[2].dim_value:
        raise BundleError(
            f"{bundle / DECODER}: a cache of {columns} columns; expected one that grows: export "
            "the checkpoint again"
        )
    _packing(encoder)
    encoder, decoder = map(inliner.inline_local_functions, (encoder, decoder))
    decoder = compose.add_prefix(decoder, "step.", rename_functions=False)
    graph = encoder.graph
    caches = _caches(decoder.graph)
    graph.node.extend(_before(graph, manifest, caches, _kind(decoder.graph)))
    body = _body(decoder.graph, manifest, caches)
    carried = ["token.0", "ended.0", *(f"{name}.0" for name, _ in caches)]
    graph.node.append(
        helper.make_node(
            "Loop",
            ["most_steps", "", *carried],
            [f"{name}.last" for name in carried] + ["by_step"],
            body=body,
        )
    )
    graph.node.append(helper.make_node("Transpose", ["by_step"], ["tokens"], perm=[1, 0]))
    del graph.output[:]
    graph.output.append(
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "steps"])
    )
    graph.name, graph.doc_string = "generate", (__doc__ or "")
    onnx.checker.check_model(encoder)
    onnx.save(encoder, out)


def single_tokens(file: Path, manifest: Manifest, sources: Sequence[Tokens]) -> list[list[int]]:
    """Return the answers of the graph in `file` to `sources`, in one call, without end tokens."""
    _, (session,) = open_sessions([file], threads=available_cpus(), provider="cpu")
    shape = manifest.architecture
    lengths = np.array([len(source) for source in sources], np.int32)
    batch = np.full((len(sources), lengths.max()), shape.pad_id, np.int64)
    for row, source in zip(batch, sources, strict=True):
        row[: len(source)] = source
    (tokens,) = session.run(None, {"source": batch, "source_lengths": lengths})
    rows: list[list[int]] = tokens.tolist()
    return [row[: row.index(shape.eos_id)] if shape.eos_id in row else row for row in rows]


def compare_with_reference(file: Path, bundle: Path, manifest: Manifest) -> tuple[int, int]:
    """Return how many of the bundle's reference answers are reproduced, and how many there are."""
    cases = json.loads((bundle / REFERENCE).read_text(encoding="utf-8"))
    found = single_tokens(file, manifest, [case["source"] for case in cases])
    equal = sum(row == case["tokens"] for row, case in zip(found, cases, strict=True))
    return equal, len(cases)


def _caches(decoder: onnx.GraphProto) -> list[tuple[str, list[int]]]:
    """Return the name and (heads, d_kv) of each cache that a step reads and writes."""
    return [
        (value.name, [value.type.tensor_type.shape.dim[axis].dim_value for axis in (1, 3)])
        for value in _cache_inputs(decoder)
    ]


def _kind(decoder: onnx.GraphProto) -> int:
    """Return ONNX's type code of the caches."""
    kind: int = _cache_inputs(decoder)[0].type.tensor_type.elem_type
    return kind


def _cache_inputs(decoder: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    return [value for value in decoder.input if value.name.startswith(("step.key.", "step.value."))]


def _packing(encoder: onnx.ModelProto) -> None:
    """Let the encoder read padded sources. `token` maps padded positions to packed tokens, so that
    keys and values can be padded again.
    """
    graph = encoder.graph
    for reader in graph.node:
        reader.input[:] = ["packed" if name == "source" else name for name in reader.input]
    source = next(value for value in graph.input if value.name == "source")
    sizes: list[int | str] = ["batch", "length"]
    source.CopyFrom(helper.make_tensor_value_info("source", TensorProto.INT64, sizes))
    encoder.functions.append(parser.parse_function(_PACK))
    names = ["source", "source_lengths"], ["packed", "token"]
    graph.node.insert(0, helper.make_node("Pack", *names, domain=operators.DOMAIN))


def _before(
    graph: onnx.GraphProto, manifest: Manifest, caches: list[tuple[str, list[int]]], kind: int
) -> _Nodes:
    """Compute once the cross-attention's keys and values by layer and the first step's inputs."""
    shape, size = manifest.architecture, caches[0][1]
    for name, value in {
        "most_steps": np.array(manifest.limits.max_new_tokens),
        "start": np.array([[shape.start_id]]),
        "cache_size": np.array([size[0], 0, size[1]]),  # it grows by a column a step
        "one": np.array([1]),
        "zeroth": np.array([0]),
        "axis_0": np.array(0),
    }.items():
        graph.initializer.append(numpy_helper.from_array(value.astype(np.int64), name))
    node = helper.make_node
    nodes = []
    for layer in range(shape.decoder_layers):
        for part, name in enumerate(("key", "value")):
            index = numpy_helper.from_array(
                np.array(2 * layer + part), f"cross_index.{name}.{layer}"
            )
            graph.initializer.append(index)
            for cross in (value.name for value in graph.output):  # and, in 8 bits, their scales
                read = f"{cross.replace('cross', f'cross_{name}')}.{layer}"
                names = [f"{read}.{step}" for step in ("all", "one", "padded")]
                nodes += [
                    node("Gather", [cross, index.name], [names[0]], axis=0),
                    node("Squeeze", [names[0], "zeroth"], [names[1]]),
                    node("Gather", [names[1], "token"], [names[2]], axis=1),
                    node("Transpose", [names[2]], [f"step.{read}"], perm=[1, 0, 2, 3]),
                ]
    false = numpy_helper.from_array(np.array([False]))
    one = numpy_helper.from_array(np.array([1], np.int32))
    nodes += [
        node("Shape", ["source_lengths"], ["batch_size"]),
        node("Concat", ["batch_size", "one"], ["column"], axis=0),
        node("Expand", ["start", "column"], ["token.0"]),
        node("ConstantOfShape", ["batch_size"], ["ended.0"], value=false),
        node("Concat", ["batch_size", "cache_size"], ["cache_shape"], axis=0),
        node("ConstantOfShape", ["batch_size"], ["ones"], value=one),
        node("CumSum", ["ones", "axis_0"], ["own_sources"], exclusive=1),
    ]
    zero = helper.make_tensor("zero", kind, [1], [0.0])
    return nodes + [
        node("ConstantOfShape", ["cache_shape"], [f"{name}.0"], value=zero) for name, _ in caches
    ]


def _body(
    step: onnx.GraphProto, manifest: Manifest, caches: list[tuple[str, list[int]]]
) -> onnx.GraphProto:
    """Return the body of the loop: one decoder step for all rows, and which rows have ended."""
    shape, node = manifest.architecture, helper.make_node
    weights = [*step.initializer]
    for name, value in {"end": shape.eos_id, "pad": shape.pad_id, "likeliest": 0}.items():
        weights.append(numpy_helper.from_array(np.array(value, np.int64), name))
    before = [
        node("Cast", ["iteration"], ["place"], to=TensorProto.INT32),
        node("Sub", ["source_lengths", "source_lengths"], ["zeros"]),
        node("Add", ["zeros", "place"], ["step.past"]),
        node("Identity", ["source_lengths"], ["step.source_lengths"]),
    ]
    if any(value.name == "step.sources" for value in step.input):
        before.append(node("Identity", ["own_sources"], ["step.sources"]))
    after = [
        node("Gather", ["step.best", "likeliest"], ["taken"], axis=1),
        node("Where", ["ended", "pad", "taken"], ["written"]),
        node("Unsqueeze", ["taken", "axis"], ["next_token"]),
        node("Equal", ["taken", "end"], ["ends"]),
        node("Or", ["ended", "ends"], ["now_ended"]),
        node("Cast", ["now_ended"], ["counted"], to=TensorProto.INT32),
        node("ReduceMin", ["counted"], ["all_ended"], keepdims=0),
        node("Equal", ["all_ended", "none"], ["go_on"]),
    ]
    weights.append(numpy_helper.from_array(np.array([1]), "axis"))
    weights.append(numpy_helper.from_array(np.array(0, np.int32), "none"))

    def info(name: str, dtype: int, sizes: list[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, dtype, sizes)

    kind = _kind(step)
    kept = [(name, name.replace("step.", "step.new_"), sizes) for name, sizes in caches]
    return helper.make_graph(
        [*before, *step.node, *after],
        "step",
        [
            info("iteration", TensorProto.INT64, []),
            info("goes_on", TensorProto.BOOL, []),
            info("step.token", TensorProto.INT64, ["batch", 1]),
            info("ended", TensorProto.BOOL, ["batch"]),
            *(info(old, kind, ["batch", sizes[0], "past", sizes[1]]) for old, _, sizes in kept),
        ],
        [
            info("go_on", TensorProto.BOOL, []),
            info("next_token", TensorProto.INT64, ["batch", 1]),
            info("now_ended", TensorProto.BOOL, ["batch"]),
            *(info(new, kind, ["batch", sizes[0], "columns", sizes[1]]) for _, new, sizes in kept),
            info("written", TensorProto.INT64, ["batch"]),
        ],
        weights,
    )
