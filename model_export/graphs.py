"""T5 as two ONNX graphs, written from its weights.

`encoder`: `source` (batch, length) int64, padded -> `cross` (2 * layers, batch, heads, length,
d_kv), the keys and values of every decoder layer's cross-attention in turn, and `bias` (batch, 1,
1, length), which hides padding. All layers' keys and values come from one product.

`decoder`: one greedy step. `token` (batch), `cross`, `bias` and `cache` (2 * layers, batch, heads,
past, d_kv) -> `next` (batch), the most likely tokens, and `cache` one position longer.

The graphs hold what T5's family needs: relative position biases (as a table by distance: buckets
depend on nothing else), RMS norms without means, attention without scaling, gated or plain
feed-forward. Source: Raffel et al. 2020 and the T5 1.1 / FLAN-T5 configurations of `transformers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

from model_export.builder import FLOAT, INT64, GraphBuilder

Weights = Mapping[str, npt.NDArray[np.float32]]
_HIDDEN = -1e9  # added to the scores of padding; finite, so that an all-padding row stays a number


class UnsupportedCheckpoint(ValueError):
    """A T5 whose configuration the graphs do not cover."""


@dataclass(frozen=True)
class Graphs:
    encoder: onnx.ModelProto
    decoder: onnx.ModelProto


def write_graphs(model: T5ForConditionalGeneration) -> Graphs:
    """Both graphs in fp32. Raises `UnsupportedCheckpoint`."""
    config = model.config
    if config.dense_act_fn not in ("relu", "gelu_new"):
        raise UnsupportedCheckpoint(f"activation {config.dense_act_fn}; expected relu or gelu_new")
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    return Graphs(
        encoder=_Encoder(config, weights).write(),
        decoder=_Decoder(config, weights, _predictable_tokens(model)).write(),
    )


def _predictable_tokens(model: T5ForConditionalGeneration) -> int:
    """How many ids, from 0, the model may predict; the rest its generation config suppresses.

    Raises `UnsupportedCheckpoint` when the suppressed ids are not the tail of the vocabulary.
    """
    size = int(model.config.vocab_size)
    suppressed = sorted(model.generation_config.suppress_tokens or [])
    if suppressed != list(range(size - len(suppressed), size)):
        raise UnsupportedCheckpoint("suppress_tokens must be the last ids of the vocabulary")
    if model.config.decoder_start_token_id >= size - len(suppressed):
        raise UnsupportedCheckpoint("the start token must not be one that is suppressed")
    return size - len(suppressed)


class _Stack:
    """What encoder and decoder share: norms, attention, feed-forward."""

    def __init__(self, config: T5Config, weights: Weights) -> None:
        self.config = config
        self.weights = weights
        self.graph = GraphBuilder()

    def linear(self, value: str, *names: str) -> str:
        """`value` times the transposed weights `names`, side by side in one product."""
        matrix = np.concatenate([self.weights[f"{name}.weight"].T for name in names], axis=1)
        return self.graph.op("MatMul", value, self.graph.weight(names[0], matrix))

    def norm(self, value: str, name: str) -> str:
        g = self.graph
        mean = g.op("ReduceMean", g.op("Mul", value, value), g.ints(-1), keepdims=1)
        root = g.op("Sqrt", g.op("Add", mean, g.scalar(self.config.layer_norm_epsilon)))
        return g.op("Mul", g.op("Div", value, root), g.weight(name, self.weights[f"{name}.weight"]))

    def projected(self, value: str, attention: str, parts: str) -> list[str]:
        """Queries, keys or values (`parts`) of an attention, (batch, heads, length, d_kv) each."""
        joint = self.linear(value, *(f"{attention}.{part}" for part in parts))
        stacked = self.heads(joint, len(parts))
        return [self.pick(stacked, index) for index in range(len(parts))]

    def heads(self, value: str, count: int) -> str:
        """(batch, length, count * heads * d_kv) -> (count, batch, heads, length, d_kv)."""
        g, c = self.graph, self.config
        split = g.op("Reshape", value, g.ints(0, 0, count, c.num_heads, c.d_kv))
        return g.op("Transpose", split, perm=[2, 0, 3, 1, 4])

    def pick(self, stacked: str, index: int) -> str:
        return self.graph.op("Gather", stacked, self.graph.scalar(index, np.int64), axis=0)

    def attend(self, query: str, key: str, value: str, bias: str) -> str:
        """Attention of (batch, heads, length, d_kv) tensors -> (batch, length, heads * d_kv)."""
        g = self.graph
        scores = g.op("MatMul", query, g.op("Transpose", key, perm=[0, 1, 3, 2]))
        share = g.op("Softmax", g.op("Add", scores, bias), axis=-1)
        mixed = g.op("Transpose", g.op("MatMul", share, value), perm=[0, 2, 1, 3])
        return g.op("Reshape", mixed, g.ints(0, 0, -1))

    def feed_forward(self, value: str, name: str) -> str:
        g, dense = self.graph, f"{name}.DenseReluDense"
        if not self.config.is_gated_act:
            return self.linear(self.activation(self.linear(value, f"{dense}.wi")), f"{dense}.wo")
        both = self.linear(value, f"{dense}.wi_0", f"{dense}.wi_1")
        gate, up = g.ops("Split", both, outputs=2, axis=-1, num_outputs=2)
        return self.linear(g.op("Mul", self.activation(gate), up), f"{dense}.wo")

    def activation(self, value: str) -> str:
        if self.config.dense_act_fn == "relu":
            return self.graph.op("Relu", value)
        return self.graph.op("Gelu", value, approximate="tanh")

    def distance_biases(self, stack: str, distances: range) -> str:
        """Position biases of key minus query position, one row of heads a distance."""
        config = self.config
        buckets = T5Attention._relative_position_bucket(
            torch.tensor(distances),
            bidirectional=stack == "encoder",
            num_buckets=config.relative_attention_num_buckets,
            max_distance=config.relative_attention_max_distance,
        )
        name = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias"
        return self.graph.weight(name, self.weights[f"{name}.weight"][buckets.numpy()])

    def residual(self, value: str, update: str) -> str:
        return self.graph.op("Add", value, update)


class _Encoder(_Stack):
    def write(self) -> onnx.ModelProto:
        g, config = self.graph, self.config
        source = g.input("source", INT64, ["batch", "length"])
        padding = g.op("Equal", source, g.scalar(config.pad_token_id, np.int64))
        bias = g.op("Where", padding, g.scalar(_HIDDEN), g.scalar(0.0))
        bias = g.op("Unsqueeze", bias, g.ints(1, 2))  # (batch, 1, 1, length)
        position_bias = g.op("Add", self._position_bias(source), bias)

        hidden = g.op("Gather", g.weight("shared", self.weights["shared.weight"]), source)
        for layer in range(config.num_layers):
            block = f"encoder.block.{layer}.layer"
            attention = f"{block}.0.SelfAttention"
            normed = self.norm(hidden, f"{block}.0.layer_norm")
            q, k, v = self.projected(normed, attention, "qkv")
            mixed = self.attend(q, k, v, position_bias)
            hidden = self.residual(hidden, self.linear(mixed, f"{attention}.o"))
            normed = self.norm(hidden, f"{block}.1.layer_norm")
            hidden = self.residual(hidden, self.feed_forward(normed, f"{block}.1"))
        hidden = self.norm(hidden, "encoder.final_layer_norm")

        attentions = [
            f"decoder.block.{layer}.layer.1.EncDecAttention.{part}"
            for layer in range(config.num_decoder_layers)
            for part in "kv"
        ]
        cross = self.heads(self.linear(hidden, *attentions), len(attentions))
        shape = [len(attentions), "batch", config.num_heads, "length", config.d_kv]
        g.output(cross, "cross", FLOAT, shape)
        g.output(bias, "bias", FLOAT, ["batch", 1, 1, "length"])
        return g.model("encoder", __doc__ or "")

    def _position_bias(self, source: str) -> str:
        """(1, heads, length, length), from the distance of each key from each query."""
        g, farthest = self.graph, self.config.relative_attention_max_distance
        length = g.op("Squeeze", g.op("Shape", source, start=1, end=2), g.ints(0))
        places = g.op("Range", g.scalar(0, np.int64), length, g.scalar(1, np.int64))
        distance = g.op(
            "Sub", g.op("Unsqueeze", places, g.ints(0)), g.op("Unsqueeze", places, g.ints(1))
        )
        index = g.op("Add", distance, g.scalar(farthest, np.int64))
        index = g.op("Clip", index, g.scalar(0, np.int64), g.scalar(2 * farthest, np.int64))
        table = self.distance_biases("encoder", range(-farthest, farthest + 1))
        return g.op(
            "Unsqueeze", g.op("Transpose", g.op("Gather", table, index), perm=[2, 0, 1]), g.ints(0)
        )


class _Decoder(_Stack):
    def __init__(self, config: T5Config, weights: Weights, predictable: int) -> None:
        super().__init__(config, weights)
        self._predictable = predictable

    def write(self) -> onnx.ModelProto:
        g, config = self.graph, self.config
        stacked = 2 * config.num_decoder_layers
        token = g.input("token", INT64, ["batch"])
        cross_shape = [stacked, "batch", config.num_heads, "length", config.d_kv]
        cross = g.input("cross", FLOAT, cross_shape)
        bias = g.input("bias", FLOAT, ["batch", 1, 1, "length"])
        cache_shape = [stacked, "batch", config.num_heads, "past", config.d_kv]
        cache = g.input("cache", FLOAT, cache_shape)
        position_bias = self._position_bias(cache)

        # The decoder reads nothing but the start token and what it may predict.
        embedding = g.weight("shared", self.weights["shared.weight"][: self._predictable])
        hidden = g.op("Unsqueeze", g.op("Gather", embedding, token), g.ints(1))
        grown = []
        for layer in range(config.num_decoder_layers):
            block = f"decoder.block.{layer}.layer"
            attention = f"{block}.0.SelfAttention"
            normed = self.norm(hidden, f"{block}.0.layer_norm")
            q, k, v = self.projected(normed, attention, "qkv")
            k = g.op("Concat", self.pick(cache, 2 * layer), k, axis=2)
            v = g.op("Concat", self.pick(cache, 2 * layer + 1), v, axis=2)
            grown += [g.op("Unsqueeze", k, g.ints(0)), g.op("Unsqueeze", v, g.ints(0))]
            mixed = self.attend(q, k, v, position_bias)
            hidden = self.residual(hidden, self.linear(mixed, f"{attention}.o"))

            attention = f"{block}.1.EncDecAttention"
            normed = self.norm(hidden, f"{block}.1.layer_norm")
            (q,) = self.projected(normed, attention, "q")
            mixed = self.attend(
                q, self.pick(cross, 2 * layer), self.pick(cross, 2 * layer + 1), bias
            )
            hidden = self.residual(hidden, self.linear(mixed, f"{attention}.o"))

            normed = self.norm(hidden, f"{block}.2.layer_norm")
            hidden = self.residual(hidden, self.feed_forward(normed, f"{block}.2"))

        hidden = self.norm(hidden, "decoder.final_layer_norm")
        g.output(self._most_likely(hidden), "next", INT64, ["batch"])
        cache_shape[3] = "past + 1"
        g.output(g.op("Concat", *grown, axis=0), "grown_cache", FLOAT, cache_shape)
        return g.model("decoder", __doc__ or "")

    def _position_bias(self, cache: str) -> str:
        """(1, heads, 1, past + 1): the query stands at `past`, keys at 0 .. past."""
        g, farthest = self.graph, self.config.relative_attention_max_distance
        past = g.op("Squeeze", g.op("Shape", cache, start=3, end=4), g.ints(0))
        back = g.op("Range", past, g.scalar(-1, np.int64), g.scalar(-1, np.int64))
        back = g.op("Min", back, g.scalar(farthest, np.int64))
        table = self.distance_biases("decoder", range(0, -farthest - 1, -1))
        return g.op("Unsqueeze", g.op("Transpose", g.op("Gather", table, back)), g.ints(0, 2))

    def _most_likely(self, hidden: str) -> str:
        g, config = self.graph, self.config
        head = self.weights["lm_head.weight"]
        if config.scale_decoder_outputs:  # the first T5, whose head is its embeddings
            head = head * config.d_model**-0.5
        matrix = g.weight("lm_head", head[: self._predictable].T)
        logits = g.op("MatMul", g.op("Squeeze", hidden, g.ints(1)), matrix)
        return g.op("ArgMax", logits, axis=-1, keepdims=0)
