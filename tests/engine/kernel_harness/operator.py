"""One operator of a test: by the kernels of a level in ONNX Runtime, and by its definition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from hypothesis import strategies as st

from engine import kernels
from tests.engine.kernel_harness.cases import Case
from tests.engine.kernel_harness.definitions import computed

Arrays = dict[str, np.ndarray]
seeds = st.integers(0, 2**32 - 1)
some = settings(max_examples=15)  # of each level
each_level = pytest.mark.parametrize(
    "level",
    kernels.levels() or [pytest.param("none", marks=pytest.mark.skip(reason="no kernels here"))],
)


class Operator:
    """An operator with its inputs, which a test may change between two computations."""

    def __init__(
        self, kind: str, inputs: Arrays, constants: Arrays, outputs: int = 1, **attributes: float
    ) -> None:
        self.inputs, self.constants = inputs, constants
        self._case = Case(kind, inputs, constants, attributes, outputs)

    def by_kernel(self, level: str) -> list[np.ndarray]:
        library = kernels.use(level)
        assert library is not None
        return computed(self._case, library=library)

    def by_definition(self) -> list[np.ndarray]:
        return computed(self._case)


def normal(random: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    return random.standard_normal(shape).astype(np.float32)
