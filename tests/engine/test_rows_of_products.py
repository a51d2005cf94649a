"""Products take rows in an array of any rank, by the kernels and by the definitions.

The encoder's rows are (tokens, d_model), the decoder's (rows, 1, d_model).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine import kernels
from tests.engine.kernel_harness.cases import Case
from tests.engine.kernel_harness.definitions import computed
from tests.engine.kernel_harness.operator import each_level
from tests.engine.kernel_harness.shapes import Numbers, float_product, product

ROWS, INPUTS, COLUMNS = 6, 20, 48
KINDS = [
    f"{kind}{form}"
    for kind in ("NormLinear", "AddLinear", "NormGatedLinear")
    for form in ("", "ByRow", "Float")
]


def arranged(case: Case, *rows: int) -> Case:
    """Return the case with its rows in an array of the shape (*rows, numbers)."""
    inputs = {name: value.reshape(*rows, value.shape[-1]) for name, value in case.inputs.items()}
    return replace(case, inputs=inputs)


@each_level
@pytest.mark.parametrize("kind", KINDS)
def test_rows_may_have_any_rank(kind: str, level: str) -> None:
    make = float_product if kind.endswith("Float") else product
    case = make(Numbers(2), kind, ROWS, INPUTS, COLUMNS)
    library = kernels.use(level)
    assert library is not None
    (of_kernel,), (defined,) = computed(case, library=library), computed(case)
    for rows in ((ROWS,), (ROWS, 1), (2, 3), (1, 2, 3)):
        other = arranged(case, *rows)
        (found,), (expected,) = computed(other, library=library), computed(other)
        assert np.array_equal(found, of_kernel.reshape(*rows, COLUMNS))
        assert found.shape == expected.shape
        np.testing.assert_allclose(expected, defined.reshape(expected.shape), rtol=1e-5, atol=1e-6)
