"""Matrix products of a T5's layers, with a norm before or a residual or gate after.

In floats these are sequences of standard ONNX operators; in integers, operators of our own. In half
precision, products and attention are fp16, while sums, norms and gates are fp32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model_export import operators
from model_export.builder import FLOAT, FLOAT16, GraphBuilder
from model_export.checkpoint.configuration import Configuration
from model_export.checkpoint.tensors import Matrix
from model_export.quantisation import InputRanges, in_blocks, input_scale, quantised

Weights = Mapping[str, Matrix]


@dataclass(frozen=True)
class Numbers:
    """The number type of a graph's weights, and where they are stored.

    In `half` precision products, attention and its caches are fp16, except the products named in
    `keep`: FLAN-T5's feed-forward output overflows fp16. All else stays fp32.
    """

    half: bool = False
    keep: tuple[str, ...] = ("wo",)
    data: Path | None = None

    def is_half(self, name: str) -> bool:
        return self.half and name.rpartition(".")[2] not in self.keep

    @property
    def kind(self) -> int:
        """Return ONNX's type code of attention and its caches."""
        return FLOAT16 if self.half else FLOAT

    @property
    def element(self) -> type[np.floating]:
        """Return NumPy's type of attention and its caches."""
        return np.float16 if self.half else np.float32

    @property
    def domain(self) -> str:
        """Return the domain of attention's operators."""
        return operators.HALF_DOMAIN if self.half else operators.DOMAIN


class Products(Protocol):
    """The products of a stack. A matrix is (inputs, columns) of the linear layers `names`."""

    def normed(self, hidden: str, norm: str, matrix: Matrix, *names: str) -> str:
        """Return the RMS norm `norm` of `hidden` times `matrix`, in attention's number type."""
        ...

    def whole(self, value: str) -> str:
        """Return a value of `normed` in fp32."""
        ...

    def gated(self, hidden: str, norm: str, gate: str, up: str) -> str:
        """Return activation(gate) times up, for the norm of `hidden` and two named layers."""
        ...

    def added(self, residual: str, value: str, name: str) -> str:
        """Return `residual` plus the linear layer `name` of `value`."""
        ...


class FloatProducts:
    """Implement `Products` in fp32, or with products in fp16."""

    def __init__(
        self, graph: GraphBuilder, config: Configuration, weights: Weights, numbers: Numbers
    ) -> None:
        self._graph = graph
        self._config = config
        self._weights = weights
        self._numbers = numbers
        self._norms: dict[str, str] = {}  # for all who read them
        self._halves: dict[str, str] = {}  # likewise, in fp16

    def normed(self, hidden: str, norm: str, matrix: Matrix, *names: str) -> str:
        g, normed = self._graph, self._norm(hidden, norm)
        if self._numbers.is_half(names[0]):
            if normed not in self._halves:
                self._halves[normed] = g.op("Cast", normed, to=FLOAT16)
            weight = g.weight(names[0], matrix.astype(np.float16))
            return g.op("MatMul", self._halves[normed], weight)
        return g.op("MatMul", normed, g.weight(names[0], matrix))

    def gated(self, hidden: str, norm: str, gate: str, up: str) -> str:
        # Two products: splitting one of twice the width costs as much as a tenth of it.
        first, second = (
            self.normed(hidden, norm, self._weights[f"{name}.weight"].T, name)
            for name in (gate, up)
        )
        active = activation(self._graph, self._config, self.whole(first))
        return self._graph.op("Mul", active, self.whole(second))

    def whole(self, value: str) -> str:
        return self._graph.op("Cast", value, to=FLOAT) if self._numbers.half else value

    def added(self, residual: str, value: str, name: str) -> str:
        g, matrix = self._graph, self._weights[f"{name}.weight"].T
        if self._numbers.is_half(name):
            half = g.op(
                "Cast", value, to=FLOAT16
            )  # of what is in fp16 already: left out at loading
            product = self.whole(g.op("MatMul", half, g.weight(name, matrix.astype(np.float16))))
        else:
            product = g.op("MatMul", value, g.weight(name, matrix))
        return g.op("Add", residual, product)

    def _norm(self, hidden: str, name: str) -> str:
        # An operator that adds the residual too would not be vectorised: it takes longer than two.
        if name not in self._norms:
            scale = self._graph.weight(name, self._weights[f"{name}.weight"])
            epsilon = self._config.layer_norm_epsilon
            self._norms[name] = self._graph.op(
                "RMSNormalization", hidden, scale, axis=-1, epsilon=epsilon
            )
        return self._norms[name]


class IntegerProducts:
    """Implement `Products` in 8-bit integers.

    `ranges` are those of the layers' inputs. Where there are none, each row is rounded by its own
    largest magnitude when it is multiplied.
    """

    def __init__(
        self, graph: GraphBuilder, config: Configuration, weights: Weights, ranges: InputRanges
    ) -> None:
        self._graph = graph
        self._config = config
        self._weights = weights
        self._ranges = ranges
        self._norms: dict[str, str] = {}

    def normed(self, hidden: str, norm: str, matrix: Matrix, *names: str) -> str:
        integers, scales = quantised(matrix)
        return self._own(
            "NormLinear",
            *(hidden, self._norm(norm)),
            *self._matrix(in_blocks(integers), scales, *names),
            epsilon=self._config.layer_norm_epsilon,
        )

    def gated(self, hidden: str, norm: str, gate: str, up: str) -> str:
        g, config = self._graph, self._config
        matrices = [self._weights[f"{name}.weight"].T for name in (gate, up)]
        if config.dense_act_fn != "gelu_new" or matrices[0].shape[1] % 16:
            first, second = (
                self.normed(hidden, norm, matrix, name)
                for matrix, name in zip(matrices, (gate, up), strict=True)
            )
            return g.op("Mul", activation(g, config, first), second)
        pairs = [quantised(matrix) for matrix in matrices]
        blocks = np.stack([in_blocks(integers) for integers, _ in pairs], axis=1)
        return self._own(
            "NormGatedLinear",
            *(hidden, self._norm(norm)),
            *self._matrix(blocks, np.stack([scales for _, scales in pairs]), gate, up),
            epsilon=config.layer_norm_epsilon,
        )

    def added(self, residual: str, value: str, name: str) -> str:
        integers, scales = quantised(self._weights[f"{name}.weight"].T)
        matrix = self._matrix(in_blocks(integers), scales, name)
        return self._own("AddLinear", residual, value, *matrix)

    def whole(self, value: str) -> str:
        return value

    def _own(self, kind: str, *inputs: str, **attributes: float) -> str:
        form = kind if self._ranges else f"{kind}{operators.BY_ROW}"
        return self._graph.op(form, *inputs, domain=operators.DOMAIN, **attributes)

    def _norm(self, name: str) -> str:
        if name not in self._norms:
            self._norms[name] = self._graph.weight(name, self._weights[f"{name}.weight"])
        return self._norms[name]

    def _matrix(
        self, blocks: npt.NDArray[np.int8], scales: npt.NDArray[np.float32], *names: str
    ) -> list[str]:
        g = self._graph
        matrix = [g.weight(names[0], blocks), g.weight(f"{names[0]}.scales", scales)]
        if self._ranges:
            matrix.append(g.scalar(input_scale(max(self._ranges[name] for name in names))))
        return matrix


def activation(graph: GraphBuilder, config: Configuration, value: str) -> str:
    """Return the feed-forward's activation of a value."""
    match config.dense_act_fn:
        case "relu":
            return graph.op("Relu", value)
        case "silu":
            return graph.op("Mul", value, graph.op("Sigmoid", value))
        case name:
            return graph.op("Gelu", value, approximate="tanh" if name == "gelu_new" else "none")
