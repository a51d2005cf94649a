"""Matrix products as operators of our own, with the norm, the gate and the residual in them.

Kernels read the weights in blocks of 16 columns, as graphs store them: see `operators`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model_export import operators
from model_export.builder import GraphBuilder
from model_export.checkpoint.configuration import Configuration
from model_export.checkpoint.tensors import Matrix
from model_export.products import Weights, activation
from model_export.quantisation import InputRanges, in_blocks, input_scale, quantised

_COLUMNS = 16  # of a block


class FusedProducts(ABC):
    """Implement `products.Products`; subclasses write the operators of one number type."""

    def __init__(self, graph: GraphBuilder, config: Configuration, weights: Weights) -> None:
        self._graph = graph
        self._config = config
        self._weights = weights

    def normed(self, hidden: str, norm: str, matrix: Matrix, *names: str) -> str:
        return self._norm_operator("NormLinear", hidden, norm, [matrix], *names)

    def gated(self, hidden: str, norm: str, gate: str, up: str) -> str:
        g, config = self._graph, self._config
        matrices = [self._weights[f"{name}.weight"].T for name in (gate, up)]
        if config.dense_act_fn == "gelu_new" and matrices[0].shape[1] % _COLUMNS == 0:
            return self._norm_operator("NormGatedLinear", hidden, norm, matrices, gate, up)
        first, second = (
            self.normed(hidden, norm, matrix, name)
            for matrix, name in zip(matrices, (gate, up), strict=True)
        )
        return g.op("Mul", activation(g, config, first), second)

    def whole(self, value: str) -> str:
        return value

    @abstractmethod
    def added(self, residual: str, value: str, name: str) -> str:
        """Return `residual` plus the linear layer `name` of `value`."""

    @abstractmethod
    def _norm_operator(
        self, kind: str, hidden: str, norm: str, matrices: Sequence[Matrix], *names: str
    ) -> str:
        """Return the operator `kind` of `hidden`, its norm and the matrices of the layers `names`.

        There are two matrices, gate and up, or one.
        """


class FloatProducts(FusedProducts):
    """Write products in fp32. Each norm's weights are multiplied into the matrix that reads it."""

    def added(self, residual: str, value: str, name: str) -> str:
        matrix = self._weights[f"{name}.weight"].T
        weight = self._graph.weight(name, floats_in_blocks(matrix))
        return self._own("AddLinear", residual, value, weight, columns=matrix.shape[1])

    def _norm_operator(
        self, kind: str, hidden: str, norm: str, matrices: Sequence[Matrix], *names: str
    ) -> str:
        scale = self._weights[f"{norm}.weight"][:, np.newaxis]
        blocks = [floats_in_blocks(scale * matrix) for matrix in matrices]
        weight = self._graph.weight(names[0], _alternating(blocks))
        columns = {} if len(matrices) == 2 else {"columns": matrices[0].shape[1]}
        epsilon = self._config.layer_norm_epsilon
        return self._own(kind, hidden, weight, epsilon=epsilon, **columns)

    def _own(self, kind: str, *inputs: str, **attributes: float) -> str:
        form = f"{kind}{operators.FLOAT}"
        return self._graph.op(form, *inputs, domain=operators.DOMAIN, **attributes)


class IntegerProducts(FusedProducts):
    """Write products in 8-bit integers.

    `ranges` are those of the layers' inputs. Where there are none, each row is rounded by its own
    largest magnitude when it is multiplied.
    """

    def __init__(
        self, graph: GraphBuilder, config: Configuration, weights: Weights, ranges: InputRanges
    ) -> None:
        super().__init__(graph, config, weights)
        self._ranges = ranges
        self._norms: dict[str, str] = {}  # for all who read them

    def added(self, residual: str, value: str, name: str) -> str:
        matrix = self._matrix([self._weights[f"{name}.weight"].T], name)
        return self._own("AddLinear", residual, value, *matrix)

    def _norm_operator(
        self, kind: str, hidden: str, norm: str, matrices: Sequence[Matrix], *names: str
    ) -> str:
        if norm not in self._norms:
            self._norms[norm] = self._graph.weight(norm, self._weights[f"{norm}.weight"])
        inputs = hidden, self._norms[norm], *self._matrix(matrices, *names)
        return self._own(kind, *inputs, epsilon=self._config.layer_norm_epsilon)

    def _own(self, kind: str, *inputs: str, **attributes: float) -> str:
        form = kind if self._ranges else f"{kind}{operators.BY_ROW}"
        return self._graph.op(form, *inputs, domain=operators.DOMAIN, **attributes)

    def _matrix(self, matrices: Sequence[Matrix], *names: str) -> list[str]:
        """Return the weights, their scales and, where it is the same for all rows, the input's."""
        g, pairs = self._graph, [quantised(matrix) for matrix in matrices]
        weight = _alternating([in_blocks(integers) for integers, _ in pairs])
        scales = np.stack([scales for _, scales in pairs]) if len(pairs) == 2 else pairs[0][1]
        matrix = [g.weight(names[0], weight), g.weight(f"{names[0]}.scales", scales)]
        if self._ranges:
            matrix.append(g.scalar(input_scale(max(self._ranges[name] for name in names))))
        return matrix


def floats_in_blocks(matrix: Matrix) -> Matrix:
    """Reorder (inputs, columns) to (blocks, inputs, 16), padded with columns of zeros."""
    inputs, columns = matrix.shape
    padded = np.pad(matrix, ((0, 0), (0, -columns % _COLUMNS)))
    return np.ascontiguousarray(padded.reshape(inputs, -1, _COLUMNS).transpose(1, 0, 2))


def _alternating(blocks: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    """Return the blocks of a matrix; those of two alternate along a second axis."""
    return np.stack(blocks, axis=1) if len(blocks) == 2 else blocks[0]
