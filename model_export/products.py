"""Matrix products of a T5's layers, with a norm before or a residual or gate after.

In fp32 and in integers they are operators of our own (`fused_products`). In half precision, whose
graphs run on GPUs, they are sequences of standard ONNX operators: products and attention are fp16,
while sums, norms and gates are fp32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from model_export import operators
from model_export.builder import FLOAT, FLOAT16, GraphBuilder
from model_export.checkpoint.configuration import Configuration
from model_export.checkpoint.tensors import Matrix

Weights = Mapping[str, Matrix]


@dataclass(frozen=True)
class Numbers:
    """The number type of a graph's weights, and where they are stored.

    In `half` precision products, attention and its caches are fp16, except those products added to
    a residual that `keep` names: FLAN-T5's feed-forward output overflows fp16. All else stays fp32.
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


class HalfProducts:
    """Implement `Products` with products in fp16."""

    def __init__(
        self, graph: GraphBuilder, config: Configuration, weights: Weights, numbers: Numbers
    ) -> None:
        self._graph = graph
        self._config = config
        self._weights = weights
        self._numbers = numbers
        self._norms: dict[str, str] = {}  # in fp16, for all who read them

    def normed(self, hidden: str, norm: str, matrix: Matrix, *names: str) -> str:
        if norm not in self._norms:
            self._norms[norm] = self._graph.op("Cast", self._norm(hidden, norm), to=FLOAT16)
        weight = self._graph.weight(names[0], matrix.astype(np.float16))
        return self._graph.op("MatMul", self._norms[norm], weight)

    def gated(self, hidden: str, norm: str, gate: str, up: str) -> str:
        # Two products: splitting one of twice the width costs as much as a tenth of it.
        first, second = (
            self.normed(hidden, norm, self._weights[f"{name}.weight"].T, name)
            for name in (gate, up)
        )
        active = activation(self._graph, self._config, self.whole(first))
        return self._graph.op("Mul", active, self.whole(second))

    def whole(self, value: str) -> str:
        return self._graph.op("Cast", value, to=FLOAT)

    def added(self, residual: str, value: str, name: str) -> str:
        g, matrix = self._graph, self._weights[f"{name}.weight"].T
        if self._numbers.is_half(name):
            # A cast of what is in fp16 already is left out at loading.
            half = g.op("Cast", value, to=FLOAT16)
            product = self.whole(g.op("MatMul", half, g.weight(name, matrix.astype(np.float16))))
        else:
            product = g.op("MatMul", value, g.weight(name, matrix))
        return g.op("Add", residual, product)

    def _norm(self, hidden: str, name: str) -> str:
        # An operator that adds the residual too would not be vectorised: it takes longer than two.
        scale = self._graph.weight(name, self._weights[f"{name}.weight"])
        epsilon = self._config.layer_norm_epsilon
        return self._graph.op("RMSNormalization", hidden, scale, axis=-1, epsilon=epsilon)


def activation(graph: GraphBuilder, config: Configuration, value: str) -> str:
    """Return the feed-forward's activation of a value."""
    match config.dense_act_fn:
        case "relu":
            return graph.op("Relu", value)
        case "silu":
            return graph.op("Mul", value, graph.op("Sigmoid", value))
        case name:
            return graph.op("Gelu", value, approximate="tanh" if name == "gelu_new" else "none")
