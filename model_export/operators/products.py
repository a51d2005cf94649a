"""Define the operators of products, with the norm before and the gate or the residual after."""

from __future__ import annotations

FLOAT = "Float"  # ends the names of products in floats
BY_ROW = "ByRow"  # ends the names of products that round each row by its own largest magnitude

# `bytes`: `input` rounded to integers. Either every row has the scale `input_scale`, or each has
# its own, such that its largest magnitude becomes 127.
_BYTES = """
    zero = Constant <value: tensor = uint8 {128}> ()
    bytes = QuantizeLinear (%(input)s, input_scale, zero)
    one = Constant <value_float: float = 1.0> ()
"""
_BYTES_BY_ROW = """
    zero = Constant <value: tensor = uint8 {128}> ()
    magnitudes = Abs (%(input)s)
    last_axis = Constant <value_ints: ints = [-1]> ()
    largest = ReduceMax (magnitudes, last_axis)
    smallest = Constant <value_float: float = 1e-30> ()
    above_zero = Max (largest, smallest)
    most = Constant <value_float: float = 127.0> ()
    row_scale = Div (above_zero, most)
    scaled = Div (%(input)s, row_scale)
    one = Constant <value_float: float = 1.0> ()
    bytes = QuantizeLinear (scaled, one, zero)
"""
_SUMS = "sums = com.microsoft.MatMulIntegerToFloat (bytes, matrix, input_scale, one, zero)"
_SUMS_BY_ROW = """
    sums_of_bytes = com.microsoft.MatMulIntegerToFloat (bytes, matrix, one, one, zero)
    sums = Mul (sums_of_bytes, row_scale)
"""

# `output`: the product of `input`, rounded to integers, and a matrix in blocks.
_PRODUCT = """
    %(bytes)s
    ordered = Transpose <perm: ints = [1, 3, 0, 2]> (weight)
    quads = Shape <start: int = 1, end: int = 2> (weight)
    four = Constant <value_int: int = 4> ()
    inputs = Mul (quads, four)
    rest = Constant <value_ints: ints = [-1]> ()
    shape = Concat <axis: int = 0> (inputs, rest)
    padded = Reshape (ordered, shape)
    begin = Constant <value_ints: ints = [0]> ()
    columns = Shape (scales)
    axis = Constant <value_ints: ints = [1]> ()
    matrix = Slice (padded, begin, columns, axis)
    %(sums)s
    %(output)s = Mul (sums, scales)
"""

# The product of a row's RMS norm.
_NORM_LINEAR = f"""
NormLinear%(by_row)s <epsilon> (x, norm, weight, scales%(input_scale)s) => (y) {{
    normed = RMSNormalization <axis: int = -1, epsilon: float = @epsilon> (x, norm)
    {_PRODUCT}
}}
"""

# A row and the product of another.
_ADD_LINEAR = f"""
AddLinear%(by_row)s (residual, x, weight, scales%(input_scale)s) => (y) {{
    {_PRODUCT}
    y = Add (residual, product)
}}
"""

# Two products of a row's RMS norm: gelu of the first times the second. Blocks of the two alternate
# in `weight`, (blocks, 2, inputs / 4, 16, 4); `scales` are (2, columns).
_NORM_GATED_LINEAR = """
NormGatedLinear%(by_row)s <epsilon> (x, norm, weight, scales%(input_scale)s) => (y) {
    normed = RMSNormalization <axis: int = -1, epsilon: float = @epsilon> (x, norm)
    %(bytes)s
    ordered = Transpose <perm: ints = [2, 4, 1, 0, 3]> (weight)
    quads = Shape <start: int = 2, end: int = 3> (weight)
    four = Constant <value_int: int = 4> ()
    inputs = Mul (quads, four)
    rest = Constant <value_ints: ints = [-1]> ()
    shape = Concat <axis: int = 0> (inputs, rest)
    matrix = Reshape (ordered, shape)
    %(sums)s
    both_scales = Reshape (scales, rest)
    both = Mul (sums, both_scales)
    gate, up = Split <axis: int = -1, num_outputs: int = 2> (both)
    active = Gelu <approximate: string = "tanh"> (gate)
    y = Mul (active, up)
}
"""

# `matrix`: the (inputs, columns) of a matrix of floats in blocks.
_MATRIX_OF_FLOATS = """
    by_input = Transpose <perm: ints = [1, 0, 2]> (weight)
    inputs = Shape <start: int = 1, end: int = 2> (weight)
    rest = Constant <value_ints: ints = [-1]> ()
    shape = Concat <axis: int = 0> (inputs, rest)
    padded = Reshape (by_input, shape)
    begin = Constant <value_ints: ints = [0]> ()
    width = Constant <value_int: int = @columns> ()
    end = Reshape (width, rest)
    axis = Constant <value_ints: ints = [1]> ()
    matrix = Slice (padded, begin, end, axis)
"""

# `normed`: a row divided by the root of its mean square.
_NORMED = """
    one = Constant <value_float: float = 1.0> ()
    ones = Expand (one, inputs)
    normed = RMSNormalization <axis: int = -1, epsilon: float = @epsilon> (x, ones)
"""

_NORM_LINEAR_FLOAT = f"""
NormLinearFloat <epsilon, columns> (x, weight) => (y) {{
    {_MATRIX_OF_FLOATS}
    {_NORMED}
    y = MatMul (normed, matrix)
}}
"""

_ADD_LINEAR_FLOAT = f"""
AddLinearFloat <columns> (residual, x, weight) => (y) {{
    {_MATRIX_OF_FLOATS}
    product = MatMul (x, matrix)
    y = Add (residual, product)
}}
"""

# Blocks of gate and up alternate: (blocks, 2, inputs, 16). Two products, as splitting one of twice
# the width costs as much as a tenth of it.
_NORM_GATED_LINEAR_FLOAT = f"""
NormGatedLinearFloat <epsilon> (x, weight) => (y) {{
    by_input = Transpose <perm: ints = [1, 2, 0, 3]> (weight)
    inputs = Shape <start: int = 2, end: int = 3> (weight)
    two = Constant <value_ints: ints = [2]> ()
    rest = Constant <value_ints: ints = [-1]> ()
    shape = Concat <axis: int = 0> (two, inputs, rest)
    matrices = Reshape (by_input, shape)
    first, second = Split <axis: int = 0, num_outputs: int = 2> (matrices)
    axis_0 = Constant <value_ints: ints = [0]> ()
    gate_matrix = Squeeze (first, axis_0)
    up_matrix = Squeeze (second, axis_0)
    {_NORMED}
    gate = MatMul (normed, gate_matrix)
    up = MatMul (normed, up_matrix)
    active = Gelu <approximate: string = "tanh"> (gate)
    y = Mul (active, up)
}}
"""


def _linear(template: str, *, read: str, write: str) -> dict[str, str]:
    """Return the two forms of a product: with one scale for all rows, and with one for each."""
    forms = {
        "": (_BYTES, _SUMS, ", input_scale"),
        BY_ROW: (_BYTES_BY_ROW, _SUMS_BY_ROW, ""),
    }
    return {
        by_row: template
        % {
            "by_row": by_row,
            "bytes": to_bytes % {"input": read},
            "sums": sums,
            "input_scale": input_scale,
            "output": write,
        }
        for by_row, (to_bytes, sums, input_scale) in forms.items()
    }


_LINEAR = {
    "AddLinear": _linear(_ADD_LINEAR, read="x", write="product"),
    "NormGatedLinear": _linear(_NORM_GATED_LINEAR, read="normed", write="y"),
    "NormLinear": _linear(_NORM_LINEAR, read="normed", write="y"),
}
_IN_FLOATS = {
    "AddLinear": _ADD_LINEAR_FLOAT,
    "NormGatedLinear": _NORM_GATED_LINEAR_FLOAT,
    "NormLinear": _NORM_LINEAR_FLOAT,
}
PRODUCTS = {
    kind + by_row: text for kind, forms in _LINEAR.items() for by_row, text in forms.items()
} | {kind + FLOAT: text for kind, text in _IN_FLOATS.items()}
