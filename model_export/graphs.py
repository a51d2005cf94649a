"""Write a T5 as two ONNX graphs, from its weights.

`encoder` reads `source` (tokens) int64, all sources in turn without padding, and `source_lengths`
(batch) int32. It returns `cross` (2 * layers, 1, heads, tokens, d_kv): the keys and values of every
decoder layer's cross-attention in turn, from one product.

`decoder` makes one step for rows that may have started at different times. It reads `token` (batch,
1) int64, the last token of each row; `past` (batch) int32, the number of tokens before it;
`sources` (batch) int32, the source that each row reads; `source_lengths` (sources) int32; and for
each layer `cross_key`, `cross_value` (sources, heads, length, d_kv) and the cache `key`, `value`
(batch, heads, columns, d_kv), of which a row has filled `past` columns. It returns `best` (batch,
2) int64, the two likeliest next tokens; `logprobs` (batch, 2), their natural log-probabilities;
`logits` (batch, 1, tokens) of all tokens that it may write; and the caches with one more column
filled. If the output caches are bound to the memory of the input caches they are written in place,
and nothing is copied. `columns` is any number above every row's `past`. In half precision, which is
for a GPU, there is no input `sources`: the source of each row has the row's number.

Keys, values and `cross` are fp32, or fp16 in half precision; `logits` and `logprobs` are always
fp32. With int8 products what cross-attention reads is int8 too: `cross` comes with `cross_scales`
(2 * layers, 1, heads, tokens, 1), and `cross_key` and `cross_value` go with `cross_key_scales` and
`cross_value_scales` (sources, heads, length, 1).

The graphs cover T5's family: relative position biases (a table by distance, because buckets depend
on nothing else), RMS norms without means, attention without scaling, gated or plain feed-forward.
Source: Raffel et al. 2020 and the T5 1.1 / FLAN-T5 configurations of `transformers`. A decoder step
uses operators of our own, which the file defines in terms of standard ones: see `operators`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from model_export import operators
from model_export.builder import FLOAT, INT32, INT64
from model_export.checkpoint.configuration import Configuration
from model_export.checkpoint.reading import Checkpoint
from model_export.products import Numbers, Weights
from model_export.quantisation import InputRanges
from model_export.stack import Stack

EXTERNAL_SUFFIX = ".data"  # of the file of a graph's external weights

_MOST_IN_GROUP = 64  # tokens: the likeliest token is searched group by group


Shape = list[int | str]


@dataclass(frozen=True)
class Graphs:
    encoder: onnx.ModelProto
    decoder: onnx.ModelProto


def write_graphs(
    checkpoint: Checkpoint,
    ranges: InputRanges | None = None,
    *,
    half: bool = False,
    external: Path | None = None,
) -> Graphs:
    """Return both graphs in fp32, with fp16 products if `half`, or with int8 products if `ranges`.

    `ranges` are those of the products' inputs. Weights are read one at a time, and written to files
    in the folder `external`, if given: see `products.Numbers`.
    """
    encoder, decoder = (
        Numbers(half, data=external / f"{name}{EXTERNAL_SUFFIX}" if external else None)
        for name in ("encoder.onnx", "decoder.onnx")
    )
    config, weights = checkpoint.config, checkpoint.weights
    return Graphs(
        encoder=_Encoder(config, weights, ranges, encoder).write(),
        decoder=_Decoder(
            config,
            weights,
            ranges,
            decoder,
            suppressed=checkpoint.generation.suppressed,
            start=checkpoint.generation.start_id,
        ).write(),
    )


class _Encoder(Stack):
    def write(self) -> onnx.ModelProto:
        g, config = self.graph, self.config
        source = g.input("source", INT64, ["tokens"])
        lengths = g.input("source_lengths", INT32, ["batch"])
        farthest = config.relative_attention_max_distance
        distances = range(-farthest, farthest + 1)
        hidden = g.op("Gather", g.weight("shared", self.weights["shared.weight"]), source)
        for layer in range(config.num_layers):
            if layer in config.biased_layers:
                table = self.distance_biases("encoder", layer, distances)
                biases = g.weight(f"encoder.position_biases.{layer}", table)
            block = f"encoder.block.{layer}.layer"
            attention = f"{block}.0.SelfAttention"
            norm = f"{block}.0.layer_norm"
            joint = self.normed_linear(hidden, norm, *(f"{attention}.{part}" for part in "qkv"))
            (mixed,) = self.attention("EncoderAttention", joint, lengths, biases)
            hidden = self.products.added(hidden, mixed, f"{attention}.o")
            hidden = self.feed_forward(hidden, f"{block}.1")
        self._write_cross(hidden)
        return g.model("encoder", __doc__ or "")

    def _write_cross(self, hidden: str) -> None:
        """Output the keys and values for the decoder's cross-attention."""
        g, config = self.graph, self.config
        attentions = [
            f"decoder.block.{layer}.layer.1.EncDecAttention.{part}"
            for layer in range(config.num_decoder_layers)
            for part in "kv"
        ]
        joint = self.normed_linear(hidden, "encoder.final_layer_norm", *attentions)
        named: Shape = [len(attentions), 1, config.num_heads, "tokens"]
        if self.integers:
            shape = g.ints(0, len(attentions), config.num_heads, config.d_kv)
            heads = g.op("Reshape", joint, shape)
            cross, scales = self.attention("QuantiseHeads", heads, outputs=2)
            g.output(scales, "cross_scales", FLOAT, [*named, 1])
        else:
            shape = g.ints(0, 1, len(attentions), config.num_heads, config.d_kv)
            cross = g.op("Transpose", g.op("Reshape", joint, shape), perm=[2, 1, 3, 0, 4])
        g.output(cross, "cross", self.cross_kind, [*named, config.d_kv])


class _Decoder(Stack):
    def __init__(
        self,
        config: Configuration,
        weights: Weights,
        ranges: InputRanges | None,
        numbers: Numbers,
        *,
        suppressed: tuple[int, ...],
        start: int,
    ) -> None:
        super().__init__(config, weights, ranges, numbers)
        self._predictable = _predictable_tokens(config.vocab_size, suppressed, start)
        self._suppressed = [id_ for id_ in suppressed if id_ < self._predictable]

    def write(self) -> onnx.ModelProto:
        g, config = self.graph, self.config
        token = g.input("token", INT64, ["batch", 1])
        self._past = g.input("past", INT32, ["batch"])
        # On a GPU the index would cost two more kernels a layer: see docs/decisions/0040.
        self._shares = not self.numbers.half
        self._read = "sources" if self._shares else "batch"  # the first dimension of what is read
        self._lengths = g.input("source_lengths", INT32, [self._read])
        if self._shares:
            self._sources = g.input("sources", INT32, ["batch"])

        # The decoder reads only the start token and tokens that it may predict.
        embedding = g.weight("shared", self.weights["shared.weight"][: self._predictable])
        hidden = g.op("Gather", embedding, token)
        for layer in range(config.num_decoder_layers):
            if layer in config.biased_decoder_layers:
                self._biases = self._position_biases(layer)
            block = f"decoder.block.{layer}.layer"
            hidden = self._self_attention(layer, hidden, f"{block}.0")
            hidden = self._cross_attention(layer, hidden, f"{block}.1")
            hidden = self.feed_forward(hidden, f"{block}.2")
        self._write_best(hidden)
        return g.model("decoder", __doc__ or "")

    def _self_attention(self, layer: int, hidden: str, name: str) -> str:
        g, config = self.graph, self.config
        norm, attention = f"{name}.layer_norm", f"{name}.SelfAttention"
        joint = self.normed_linear(hidden, norm, *(f"{attention}.{part}" for part in "qkv"))
        shape: Shape = ["batch", config.num_heads, "columns", config.d_kv]
        key = g.input(f"key.{layer}", self.numbers.kind, shape)
        value = g.input(f"value.{layer}", self.numbers.kind, shape)
        mixed, new_key, new_value = self.attention(
            "CachedAttention", joint, key, value, self._past, self._biases, outputs=3
        )
        g.output(new_key, f"new_key.{layer}", self.numbers.kind, shape)
        g.output(new_value, f"new_value.{layer}", self.numbers.kind, shape)
        return self.products.added(hidden, mixed, f"{attention}.o")

    def _cross_attention(self, layer: int, hidden: str, name: str) -> str:
        g, config = self.graph, self.config
        query = self.normed_linear(hidden, f"{name}.layer_norm", f"{name}.EncDecAttention.q")
        shape: Shape = [self._read, config.num_heads, "length"]
        read = []
        for part in ("key", "value"):
            key_or_value = [*shape, config.d_kv]
            read.append(g.input(f"cross_{part}.{layer}", self.cross_kind, key_or_value))
            if self.integers:
                read.append(g.input(f"cross_{part}_scales.{layer}", FLOAT, [*shape, 1]))
        operator = "CrossAttentionInt8" if self.integers else "CrossAttention"
        read.append(self._lengths)
        if self._shares:
            operator = f"Shared{operator}"
            read.append(self._sources)
        (mixed,) = self.attention(operator, query, *read)
        return self.products.added(hidden, mixed, f"{name}.EncDecAttention.o")

    def _position_biases(self, layer: int) -> str:
        """Return (heads, distances): the bias of each distance back, the farthest first."""
        farthest = self.config.relative_attention_max_distance
        table = self.distance_biases("decoder", layer, range(-farthest, 1))
        return self.graph.weight(f"decoder.position_biases.{layer}", table.T)

    def _write_best(self, hidden: str) -> None:
        """Output the two likeliest tokens, greedy decoding's and its runner-up, and all logits."""
        g, config = self.graph, self.config
        head = self.weights["lm_head.weight"]
        if config.scale_decoder_outputs:  # the first T5, whose head is its embeddings
            head = head * config.d_model**-0.5
        matrix = head[: self._predictable].T
        logits = self.products.normed(hidden, "decoder.final_layer_norm", matrix, "lm_head")
        logits = self._without_suppressed(self.products.whole(logits))
        most = min(_MOST_IN_GROUP, self._predictable // 2)  # there are at least two groups
        size = max(n for n in range(1, most + 1) if self._predictable % n == 0)
        best, logprobs = g.ops("Likeliest", logits, outputs=2, domain=operators.DOMAIN, size=size)
        g.output(logits, "logits", FLOAT, ["batch", 1, self._predictable])
        g.output(best, "best", INT64, ["batch", 2])
        g.output(logprobs, "logprobs", FLOAT, ["batch", 2])

    def _without_suppressed(self, logits: str) -> str:
        """Return the logits with those of suppressed tokens at minus infinity."""
        if not self._suppressed:
            return logits
        bias = np.zeros(self._predictable, np.float32)
        bias[self._suppressed] = -np.inf
        return self.graph.op("Add", logits, self.graph.weight("suppressed", bias))


def _predictable_tokens(size: int, suppressed: tuple[int, ...], start: int) -> int:
    """Return the number of ids, from 0, of which the decoder needs embeddings and logits.

    A suppressed tail of the vocabulary is left out of the graph, but the start token is read.
    """
    never = set(suppressed)
    while size - 1 in never and size - 1 > start:
        size -= 1
    return size
