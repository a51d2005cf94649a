"""Write the two graphs that choose tokens where settings change the choice.

Both read the decoder's `logits` (batch, 1, tokens) float and, for each of n `rows` of them, int64,
its adjustments: `tokens` int64, `biases` and `penalties` (n, adjustments). `candidates` also reads
`normalised` (n) int32 and `count` (1) int64, and returns the `count` largest: `best` int64, their
`scores` after the adjustments and their `logprobs` without (n, count). `draw` also reads
`temperatures` and `uniforms` (n), and returns tokens drawn at random: `drawn` int64, their
`logprobs` and `totals` (n). The meaning of each is in `operators`. They have no weights, so a
bundle of any model has the same two.
"""

from __future__ import annotations

import onnx

from model_export import operators
from model_export.builder import FLOAT, INT32, INT64, GraphBuilder


def candidates() -> onnx.ModelProto:
    graph = GraphBuilder()
    inputs = _adjusted(graph)
    inputs.append(graph.input("normalised", INT32, ["rows"]))
    inputs.append(graph.input("count", INT64, [1]))
    made = graph.ops("Candidates", *inputs, outputs=3, domain=operators.DOMAIN)
    for value, name, kind in zip(
        made, ("best", "scores", "logprobs"), (INT64, FLOAT, FLOAT), strict=True
    ):
        graph.output(value, name, kind, ["rows", "count"])
    return graph.model("candidates", __doc__ or "")


def draw() -> onnx.ModelProto:
    graph = GraphBuilder()
    inputs = _adjusted(graph)
    inputs += [graph.input(name, FLOAT, ["rows"]) for name in ("temperatures", "uniforms")]
    made = graph.ops("Draw", *inputs, outputs=3, domain=operators.DOMAIN)
    for value, name, kind in zip(
        made, ("drawn", "logprobs", "totals"), (INT64, FLOAT, FLOAT), strict=True
    ):
        graph.output(value, name, kind, ["rows"])
    return graph.model("draw", __doc__ or "")


def _adjusted(graph: GraphBuilder) -> list[str]:
    """Add the inputs that both graphs have."""
    return [
        graph.input("logits", FLOAT, ["batch", 1, "tokens"]),
        graph.input("rows", INT64, ["rows"]),
        graph.input("tokens", INT64, ["rows", "adjustments"]),
        graph.input("biases", FLOAT, ["rows", "adjustments"]),
        graph.input("penalties", FLOAT, ["rows", "adjustments"]),
    ]
