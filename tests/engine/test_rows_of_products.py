"""Products take rows in an array of any rank, by the kernels and by the definitions.

The encoder's rows are (tokens, d_model), the decoder's (rows, 1, d_model).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.engine.kernel_harness.cases import Case
from tests.engine.kernel_harness.shapes import Numbers, float_product, product
from tests.engine.test_kernels import Operator, each_level

ROWS, INPUTS, COLUMNS = 6, 20, 48
KINDS = [
    f"{kind}{form}"
    for kind in ("NormLinear", "AddLinear", "NormGatedLinear")
    for form in ("", "ByRow", "Float")
]


def operator(case: Case, *rows: int) -> Operator:
    """Return the operator of a case whose rows are arranged so."""
    inputs = {name: value.reshape(*rows, value.shape[-1]) for name, value in case.inputs.items()}
    attributes: dict[str, Any] = dict(case.attributes)
    return Operator(case.kind, inputs, dict(case.constants), **attributes)


@each_level
@pytest.mark.parametrize("kind", KINDS)
def test_rows_may_have_any_rank(kind: str, level: str) -> None:
    make = float_product if kind.endswith("Float") else product
    case = make(Numbers(2), kind, ROWS, INPUTS, COLUMNS)
    usual = operator(case, 1, ROWS)
    (of_kernel,), (defined,) = usual.by_kernel(level), usual.by_definition()
    for rows in ((ROWS,), (ROWS, 1), (2, 3), (1, 2, 3)):
        arranged = operator(case, *rows)
        (found,), (expected,) = arranged.by_kernel(level), arranged.by_definition()
        assert np.array_equal(found, of_kernel.reshape(*rows, COLUMNS))
        assert found.shape == expected.shape
        np.testing.assert_allclose(expected, defined.reshape(expected.shape), rtol=1e-5, atol=1e-6)
