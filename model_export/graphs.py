"""Write a T5 as two ONNX graphs, from its weights.

`encoder` reads `source` (tokens) int64, all sources in turn without padding, and `source_lengths`
(batch) int32. It returns `cross` (2 * layers, 1, heads, tokens, d_kv): the keys and values of every
decoder layer's cross-attention in turn, from one product.

`decoder` makes one step for rows that may have started at different times. It reads `token`
(batch, 1) int64, the last token of each row; `past` (batch) int32, the number of tokens before it;
`source_lengths`; and for each layer `cross_key`, `cross_value` (batch, heads, length, d_kv) and the
cache `key`, `value` (batch, heads, columns, d_kv), of which a row has filled `past` columns. It
returns `best` (batch, 2) int64, the two likeliest next tokens; `logprobs` (batch, 2), their natural
log-probabilities; `logits` (batch, 1, tokens) of all tokens that it may write; and the caches with
one more column filled. If the output caches are bound to the memory of the input caches they are
written in place, and nothing is copied. `columns`, the most tokens that generation may write, is
fixed at export.

Keys, values and `cross` are fp32, or fp16 in half precision; `logits` and `logprobs` always fp32.

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
from transformers import T5Config, T5ForConditionalGeneration

from model_export import operators
from model_export.builder import FLOAT, INT32, INT64
from model_export.products import Numbers, Weights
from model_export.quantisation import InputRanges
from model_export.stack import Stack

EXTERNAL_SUFFIX = ".data"  # of the file of a graph's external weights

_MOST_IN_GROUP = 64  # tokens: the likeliest token is searched group by group


class UnsupportedCheckpoint(ValueError):
    """The graphs do not cover this checkpoint's configuration."""


@dataclass(frozen=True)
class Graphs:
    encoder: onnx.ModelProto
    decoder: onnx.ModelProto


def write_graphs(
    model: T5ForConditionalGeneration,
    ranges: InputRanges | None = None,
    *,
    half: bool = False,
    external: Path | None = None,
) -> Graphs:
    """Return both graphs in fp32, with fp16 products if `half`, or with int8 products if `ranges`.

    `ranges` are those of the products' inputs. Weights are written to files in the folder
    `external`, if given: see `products.Numbers`.
    Raises `UnsupportedCheckpoint`.
    """
    config = model.config
    if config.dense_act_fn not in ("relu", "gelu_new"):
        raise UnsupportedCheckpoint(f"activation {config.dense_act_fn}; expected relu or gelu_new")
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    encoder, decoder = (
        Numbers(half, data=external / f"{name}{EXTERNAL_SUFFIX}" if external else None)
        for name in ("encoder.onnx", "decoder.onnx")
    )
    return Graphs(
        encoder=_Encoder(config, weights, ranges, encoder).write(),
        decoder=_Decoder(
            config,
            weights,
            ranges,
            decoder,
            predictable=_predictable_tokens(model),
            columns=_columns(model),
        ).write(),
    )


def _columns(model: T5ForConditionalGeneration) -> int:
    """Return the most tokens of an answer. Raises `UnsupportedCheckpoint` if nothing sets it."""
    columns = model.generation_config.max_new_tokens
    if not columns:
        raise UnsupportedCheckpoint("the generation config has no max_new_tokens")
    return int(columns)


def _predictable_tokens(model: T5ForConditionalGeneration) -> int:
    """Return how many ids, from 0, the model may predict; the generation config suppresses others.

    Raises `UnsupportedCheckpoint` when the suppressed ids are not the tail of the vocabulary.
    """
    size = int(model.config.vocab_size)
    suppressed = sorted(model.generation_config.suppress_tokens or [])
    if suppressed != list(range(size - len(suppressed), size)):
        raise UnsupportedCheckpoint("suppress_tokens must be the last ids of the vocabulary")
    if model.config.decoder_start_token_id >= size - len(suppressed):
        raise UnsupportedCheckpoint("the start token must not be one that is suppressed")
    return size - len(suppressed)


class _Encoder(Stack):
    def write(self) -> onnx.ModelProto:
        g, config = self.graph, self.config
        source = g.input("source", INT64, ["tokens"])
        lengths = g.input("source_lengths", INT32, ["batch"])
        farthest = config.relative_attention_max_distance
        biases = g.weight(
            "encoder.position_biases",
            self.distance_biases("encoder", range(-farthest, farthest + 1)),
        )

        hidden = g.op("Gather", g.weight("shared", self.weights["shared.weight"]), source)
        for layer in range(config.num_layers):
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
        shape = g.ints(0, 1, len(attentions), config.num_heads, config.d_kv)
        cross = g.op("Transpose", g.op("Reshape", joint, shape), perm=[2, 1, 3, 0, 4])
        named = [len(attentions), 1, config.num_heads, "tokens", config.d_kv]
        g.output(cross, "cross", self.numbers.kind, named)


class _Decoder(Stack):
    def __init__(
        self,
        config: T5Config,
        weights: Weights,
        ranges: InputRanges | None,
        numbers: Numbers,
        *,
        predictable: int,
        columns: int,
    ) -> None:
        super().__init__(config, weights, ranges, numbers)
        self._predictable = predictable
        self._columns = columns

    def write(self) -> onnx.ModelProto:
        g, config = self.graph, self.config
        token = g.input("token", INT64, ["batch", 1])
        self._past = g.input("past", INT32, ["batch"])
        self._lengths = g.input("source_lengths", INT32, ["batch"])
        self._biases = self._position_biases()

        # The decoder reads only the start token and tokens that it may predict.
        embedding = g.weight("shared", self.weights["shared.weight"][: self._predictable])
        hidden = g.op("Gather", embedding, token)
        for layer in range(config.num_decoder_layers):
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
        shape = ["batch", config.num_heads, self._columns, config.d_kv]
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
        shape = ["batch", config.num_heads, "length", config.d_kv]
        key = g.input(f"cross_key.{layer}", self.numbers.kind, shape)
        value = g.input(f"cross_value.{layer}", self.numbers.kind, shape)
        query = self.normed_linear(hidden, f"{name}.layer_norm", f"{name}.EncDecAttention.q")
        (mixed,) = self.attention("CrossAttention", query, key, value, self._lengths)
        return self.products.added(hidden, mixed, f"{name}.EncDecAttention.o")

    def _position_biases(self) -> str:
        """Return (columns, heads, 1, columns): the bias of each column, by number of past tokens.

        Biases depend on the distance back; columns ahead are masked.
        """
        columns, farthest = self._columns, self.config.relative_attention_max_distance
        places = np.arange(columns)
        back = np.clip(places[:, None] - places, 0, farthest)
        table = self.distance_biases("decoder", range(0, -farthest - 1, -1))[back]
        name = "decoder.position_biases"
        return self.graph.weight(name, table.transpose(0, 2, 1)[:, :, None])

    def _write_best(self, hidden: str) -> None:
        """Output the two likeliest tokens, greedy decoding's and its runner-up, and all logits."""
        g, config = self.graph, self.config
        head = self.weights["lm_head.weight"]
        if config.scale_decoder_outputs:  # the first T5, whose head is its embeddings
            head = head * config.d_model**-0.5
        matrix = head[: self._predictable].T
        logits = self.products.normed(hidden, "decoder.final_layer_norm", matrix, "lm_head")
        most = min(_MOST_IN_GROUP, self._predictable // 2)  # there are at least two groups
        size = max(n for n in range(1, most + 1) if self._predictable % n == 0)
        logits = self.products.whole(logits)
        best, logprobs = g.ops("Likeliest", logits, outputs=2, domain=operators.DOMAIN, size=size)
        g.output(logits, "logits", FLOAT, ["batch", 1, self._predictable])
        g.output(best, "best", INT64, ["batch", 2])
        g.output(logprobs, "logprobs", FLOAT, ["batch", 2])
