"""The sublayers that encoder and decoder share: products, feed-forward, position biases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model_export.builder import INT8, GraphBuilder
from model_export.checkpoint.configuration import Configuration
from model_export.fused_products import FloatProducts, IntegerProducts
from model_export.position_buckets import buckets_of
from model_export.products import HalfProducts, Numbers, Products, Weights, activation
from model_export.quantisation import InputRanges


class Stack:
    """Build the sublayers of an encoder or decoder.

    `hidden` (batch, length, d_model) is the residual stream; each sublayer reads its norm and adds
    to it.
    """

    def __init__(
        self,
        config: Configuration,
        weights: Weights,
        ranges: InputRanges | None,
        numbers: Numbers,
    ) -> None:
        self.config = config
        self.weights = weights
        self.numbers = numbers
        self.integers = ranges is not None  # products, and what cross-attention reads
        self.graph = GraphBuilder(numbers.data)
        self.products = self._products(ranges)

    def _products(self, ranges: InputRanges | None) -> Products:
        if ranges is not None:
            return IntegerProducts(self.graph, self.config, self.weights, ranges)
        if self.numbers.half:
            return HalfProducts(self.graph, self.config, self.weights, self.numbers)
        return FloatProducts(self.graph, self.config, self.weights)

    @property
    def cross_kind(self) -> int:
        """Return ONNX's type code of the keys and values that cross-attention reads."""
        return INT8 if self.integers else self.numbers.kind

    def normed_linear(self, hidden: str, norm: str, *names: str) -> str:
        """Return the linear layers `names` of the norm of `hidden`, side by side in one product."""
        matrix = np.concatenate([self.weights[f"{name}.weight"].T for name in names], axis=1)
        return self.products.normed(hidden, norm, matrix, *names)

    def attention(self, kind: str, *inputs: str, outputs: int = 1) -> list[str]:
        """Add one of attention's operators: see `operators`."""
        heads, domain = self.config.num_heads, self.numbers.domain
        return self.graph.ops(kind, *inputs, outputs=outputs, domain=domain, num_heads=heads)

    def feed_forward(self, hidden: str, name: str) -> str:
        """Return `hidden` plus the feed-forward sublayer `name`."""
        norm, dense = f"{name}.layer_norm", f"{name}.DenseReluDense"
        if self.config.is_gated_act:
            inner = self.products.gated(hidden, norm, f"{dense}.wi_0", f"{dense}.wi_1")
        else:
            inner = self.products.whole(self.normed_linear(hidden, norm, f"{dense}.wi"))
            inner = activation(self.graph, self.config, inner)
        return self.products.added(hidden, inner, f"{dense}.wo")

    def distance_biases(self, stack: str, layer: int, distances: range) -> npt.NDArray[np.floating]:
        """Return position biases by key minus query position, one row of heads a distance."""
        config = self.config
        buckets = buckets_of(
            np.array(distances),
            bidirectional=stack == "encoder",
            buckets=config.relative_attention_num_buckets,
            farthest=config.relative_attention_max_distance,
        )
        name = f"{stack}.block.{layer}.layer.0.SelfAttention.relative_attention_bias"
        return self.weights[f"{name}.weight"][buckets].astype(self.numbers.element)
