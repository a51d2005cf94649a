"""What the encoder's and the decoder's graphs share: products, norms, attention, feed-forward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Attention

from model_export.builder import CONTRIB, FLOAT, FLOAT16, GraphBuilder
from model_export.quantisation import INPUT_ZERO, InputRanges, input_scale, quantised

Weights = Mapping[str, npt.NDArray[np.float32]]
_WIDE = 256  # columns
_HIDDEN = -1e9  # added to the scores of padding


@dataclass(frozen=True)
class Numbers:
    """What weights are in a graph, and where: in the model or in the file `data` beside it.

    In `half` precision products are fp16, but for those of `keep`: the feed-forward output of
    FLAN-T5 overflows it. All between products stays fp32.
    """

    half: bool = False
    keep: tuple[str, ...] = ("wo",)
    data: Path | None = None

    def is_half(self, name: str) -> bool:
        return self.half and name.rpartition(".")[2] not in self.keep


class Stack:
    """What encoder and decoder share: norms, attention, feed-forward.

    `hidden` (batch, length, d_model) is what the sublayers so far have added up to; each sublayer
    reads it normed.
    """

    few_rows = False  # whether products are of a few rows only

    def __init__(
        self,
        config: T5Config,
        weights: Weights,
        ranges: InputRanges | None,
        numbers: Numbers = Numbers(),
    ) -> None:
        self.config = config
        self.weights = weights
        self.ranges = ranges
        self.numbers = numbers
        self.graph = GraphBuilder(numbers.data)
        self._halves: dict[str, str] = {}  # likewise
        self._quantised: dict[tuple[str, float], str] = {}  # inputs, for all who read them

    def linear(self, value: str, *names: str) -> str:
        """`value` times the transposed weights `names`, side by side in one product."""
        matrix = np.concatenate([self.weights[f"{name}.weight"].T for name in names], axis=1)
        return self.product(value, matrix, *names)

    def product(self, value: str, matrix: npt.NDArray[np.float32], *names: str) -> str:
        """`value` times `matrix`, which stands for the linear layers `names`."""
        g = self.graph
        if self.numbers.is_half(names[0]):
            return self._half_product(value, matrix, names[0])
        if self.ranges is None:
            return g.op("MatMul", value, g.weight(names[0], matrix))
        scale = input_scale(max(self.ranges[name] for name in names))
        zero = g.scalar(INPUT_ZERO, np.uint8)
        if (value, scale) not in self._quantised:
            self._quantised[value, scale] = g.op("QuantizeLinear", value, g.scalar(scale), zero)
        integers, scales = quantised(matrix)
        columns = g.weight(f"{names[0]}.scales", scales)
        # The operator multiplies the scales of its columns anew each time, one by one: 1 of the 2.4
        # microseconds of one row and 384 columns. Where rows are few, a product apart costs less.
        apart = self.few_rows and len(scales) >= _WIDE
        scaled = g.op(
            "MatMulIntegerToFloat",
            self._quantised[value, scale],
            g.weight(names[0], integers),
            g.scalar(scale),
            g.scalar(1.0) if apart else columns,
            zero,
            domain=CONTRIB,
        )
        return g.op("Mul", scaled, columns) if apart else scaled

    def _half_product(self, value: str, matrix: npt.NDArray[np.float32], name: str) -> str:
        g = self.graph
        if value not in self._halves:
            self._halves[value] = g.op("Cast", value, to=FLOAT16)
        weight = g.weight(name, matrix.astype(np.float16))
        return g.op("Cast", g.op("MatMul", self._halves[value], weight), to=FLOAT)

    def norm(self, hidden: str, name: str) -> str:
        """The RMS norm `name`, which begins a stack."""
        scale = self.graph.weight(name, self.weights[f"{name}.weight"])
        epsilon = self.config.layer_norm_epsilon
        return self.graph.op("RMSNormalization", hidden, scale, axis=-1, epsilon=epsilon)

    def add_and_norm(self, hidden: str, update: str, name: str) -> tuple[str, str]:
        """`hidden + update`, and the RMS norm `name` of it: (normed, hidden).

        Two operators: the one for both is not vectorised and takes two to four times as long.
        """
        total = self.graph.op("Add", hidden, update)
        return self.norm(total, name), total

    def attend(self, query: str, key: str, value: str, lengths: str, bias: str = "") -> str:
        """Attention of a (batch, queries, heads * d_kv) -> the same shape.

        Keys and values have that form or (batch, heads, length, d_kv); those past a row's
        `lengths` are not seen. `bias` is added to the scores.
        """
        return self.graph.op(
            "MultiHeadAttention",
            *(query, key, value, "", lengths, bias),
            domain=CONTRIB,
            num_heads=self.config.num_heads,
            scale=1.0,
            mask_filter_value=_HIDDEN,
        )

    def feed_forward(self, value: str, name: str) -> str:
        g, dense = self.graph, f"{name}.DenseReluDense"
        if not self.config.is_gated_act:
            return self.linear(self.activation(self.linear(value, f"{dense}.wi")), f"{dense}.wo")
        # Two products: splitting one of twice the width costs as much as a tenth of it.
        gate, up = (self.linear(value, f"{dense}.{part}") for part in ("wi_0", "wi_1"))
        return self.linear(g.op("Mul", self.activation(gate), up), f"{dense}.wo")

    def activation(self, value: str) -> str:
        if self.config.dense_act_fn == "relu":
            return self.graph.op("Relu", value)
        return self.graph.op("Gelu", value, approximate="tanh")

    def distance_biases(self, stack: str, distances: range) -> npt.NDArray[np.float32]:
        """Position biases of key minus query position, one row of heads a distance."""
        config = self.config
        buckets = T5Attention._relative_position_bucket(
            torch.tensor(distances),
            bidirectional=stack == "encoder",
            num_buckets=config.relative_attention_num_buckets,
            max_distance=config.relative_attention_max_distance,
        )
        name = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias"
        biases: npt.NDArray[np.float32] = self.weights[f"{name}.weight"][buckets.numpy()]
        return biases
