"""Define the operators that CyberSolve adds to ONNX in terms of ONNX Runtime's own.

A model carries these definitions as functions. A session that has a kernel for an operator (see
`engine/kernels`) runs the kernel; any other session expands the definition. So the same file runs
with any client, on any processor and on a GPU.

Integer weights are stored as (blocks, inputs / 4, 16, 4), the order in which the kernels read them:
see `quantisation.in_blocks`. Definitions restore the plain order, which ONNX Runtime computes once
at loading.

Attention in half precision uses the same operators in a domain without kernels: ONNX Runtime
refuses a model whose float type differs from that of a registered kernel.
"""

from __future__ import annotations

import onnx
from onnx import parser

from model_export.choosing_operators import DEFINITIONS as CHOOSING

DOMAIN = "cybersolve"
HALF_DOMAIN = "cybersolve.half"
BY_ROW = "ByRow"  # ends the names of products that round each row by its own largest magnitude

# One query a row, over its own past. The new token's key and value are written at column `past`.
# `biases` (heads, distances) are by distance back, the farthest first, which counts for all beyond.
# Columns beyond the longest row are not read. What depends on `past` alone is the same in all
# layers: ONNX Runtime computes it once.
_CACHED_ATTENTION = """
CachedAttention <num_heads> (joint, key, value, past, biases) => (mixed, new_key, new_value) {
    zero = Constant <value_int: int = 0> ()
    one = Constant <value_int: int = 1> ()
    axis_1 = Constant <value_ints: ints = [1]> ()
    axis_2 = Constant <value_ints: ints = [2]> ()
    past_64 = Cast <to: int = 7> (past)
    most_past = ReduceMax <keepdims: int = 0> (past_64)
    columns_64 = Add (most_past, one)
    columns = Cast <to: int = 6> (columns_64)
    places = Range (zero, columns_64, one)
    past_1 = Unsqueeze (past_64, axis_1)
    ahead = Sub (places, past_1)
    distances_1 = Shape <start: int = 1, end: int = 2> (biases)
    distances = Squeeze (distances_1)
    last = Sub (distances, one)
    shifted = Add (ahead, last)
    index = Clip (shifted, zero, last)
    by_head = Gather <axis: int = 1> (biases, index)
    by_row = Transpose <perm: ints = [1, 0, 2]> (by_head)
    bias = Unsqueeze (by_row, axis_2)
    mixed, new_key, new_value = com.microsoft.GroupQueryAttention <
        num_heads: int = @num_heads, kv_num_heads: int = @num_heads, scale: float = 1.0
    > (joint, , , key, value, past, columns, , , , bias)
}
"""

# One query a row, over its source; columns beyond the row's source length are masked.
_CROSS_ATTENTION = """
CrossAttention <num_heads> (query, key, value, lengths) => (mixed) {
    mixed = com.microsoft.MultiHeadAttention <
        num_heads: int = @num_heads, scale: float = 1.0, mask_filter_value: float = -1e9
    > (query, key, value, , lengths)
}
"""

# Keys and values in 8 bits, each token's of a head with a scale.
_CROSS_ATTENTION_INT8 = """
CrossAttentionInt8 <num_heads> (query, key, key_scales, value, value_scales, lengths) => (mixed) {
    whole_key = Cast <to: int = 1> (key)
    scaled_key = Mul (whole_key, key_scales)
    whole_value = Cast <to: int = 1> (value)
    scaled_value = Mul (whole_value, value_scales)
    mixed = com.microsoft.MultiHeadAttention <
        num_heads: int = @num_heads, scale: float = 1.0, mask_filter_value: float = -1e9
    > (query, scaled_key, scaled_value, , lengths)
}
"""

# `x` (tokens, parts, heads, d_kv) in 8 bits, as cross-attention reads it: (parts, 1, heads, tokens,
# d_kv). Each token of a head has a scale, by which its largest number is 127 or -127.
_QUANTISE_HEADS = """
QuantiseHeads <num_heads> (x) => (integers, scales) {
    ordered = Transpose <perm: ints = [1, 2, 0, 3]> (x)
    batch = Constant <value_ints: ints = [1]> ()
    heads = Unsqueeze (ordered, batch)
    sizes = Abs (heads)
    last = Constant <value_ints: ints = [-1]> ()
    largest = ReduceMax <keepdims: int = 1> (sizes, last)
    least = Constant <value_float: float = 1e-30> ()
    not_zero = Max (largest, least)
    most = Constant <value_float: float = 127.0> ()
    scales = Div (not_zero, most)
    scaled = Div (heads, scales)
    whole = Round (scaled)
    integers = Cast <to: int = 3> (whole)
}
"""

# All queries of a source over all keys of the same source. `joint` (tokens, 3 * heads * d_kv) holds
# the sources in turn; they are padded to the longest for the attention, and the padding is dropped
# afterwards. `biases` (distances, heads) are indexed by key minus query position, ascending.
_ENCODER_ATTENTION = """
EncoderAttention <num_heads> (joint, lengths, biases) => (mixed) {
    zero = Constant <value_int: int = 0> ()
    one = Constant <value_int: int = 1> ()
    two = Constant <value_int: int = 2> ()
    axis_0 = Constant <value_ints: ints = [0]> ()
    axis_1 = Constant <value_ints: ints = [1]> ()
    lengths_64 = Cast <to: int = 7> (lengths)
    longest = ReduceMax <keepdims: int = 0> (lengths_64)
    places = Range (zero, longest, one)
    length_of_row = Unsqueeze (lengths_64, axis_1)
    present = Less (places, length_of_row)
    shape = Shape (present)
    flat = Constant <value_ints: ints = [-1]> ()
    present_flat = Reshape (present, flat)
    counted = Cast <to: int = 7> (present_flat)
    count = CumSum (counted, zero)
    token_flat = Sub (count, one)
    token = Reshape (token_flat, shape)
    padded = Gather (joint, token)
    query, key, value = Split <axis: int = -1, num_outputs: int = 3> (padded)
    keys = Unsqueeze (places, axis_0)
    queries = Unsqueeze (places, axis_1)
    distance = Sub (keys, queries)
    distances_1 = Shape <start: int = 0, end: int = 1> (biases)
    distances = Squeeze (distances_1)
    farthest = Div (distances, two)
    last = Sub (distances, one)
    shifted = Add (distance, farthest)
    index = Clip (shifted, zero, last)
    by_pair = Gather (biases, index)
    by_head = Transpose <perm: ints = [2, 0, 1]> (by_pair)
    bias = Unsqueeze (by_head, axis_0)
    mixed_padded = com.microsoft.MultiHeadAttention <
        num_heads: int = @num_heads, scale: float = 1.0, mask_filter_value: float = -1e9
    > (query, key, value, , lengths, bias)
    width_1 = Shape <start: int = 2, end: int = 3> (mixed_padded)
    lines = Concat <axis: int = 0> (flat, width_1)
    mixed_flat = Reshape (mixed_padded, lines)
    mixed = Compress <axis: int = 0> (mixed_flat, present_flat)
}
"""

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

# The two likeliest tokens and the natural logarithms of their probabilities, the likeliest first.
# They are in the two groups of `size` tokens with the largest members: `ReduceMax` is vectorised,
# `TopK` is not.
_LIKELIEST = """
Likeliest <size> (logits) => (best, logprobs) {
    values = LogSoftmax <axis: int = -1> (logits)
    width = Constant <value_int: int = @size> ()
    last = Constant <value_ints: ints = [-1]> ()
    width_1 = Reshape (width, last)
    rows = Constant <value_ints: ints = [0, -1]> ()
    shape = Concat <axis: int = 0> (rows, width_1)
    groups = Reshape (values, shape)
    largest = ReduceMax <keepdims: int = 0> (groups, last)
    two = Constant <value_ints: ints = [2]> ()
    largest_two, group = TopK <axis: int = -1> (largest, two)
    group_1 = Unsqueeze (group, last)
    members = GatherND <batch_dims: int = 1> (groups, group_1)
    candidates = Reshape (members, rows)
    logprobs, place = TopK <axis: int = -1> (candidates, two)
    nth = Div (place, width)
    of_group = GatherElements <axis: int = 1> (group, nth)
    groups_before = Sub (of_group, nth)
    begin = Mul (groups_before, width)
    best = Add (place, begin)
}
"""

_HEAD = '<domain: "%s", opset_import: ["": 23, "com.microsoft": 1]>'


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
_DEFINITIONS = {
    "CachedAttention": _CACHED_ATTENTION,
    "CrossAttention": _CROSS_ATTENTION,
    "CrossAttentionInt8": _CROSS_ATTENTION_INT8,
    "EncoderAttention": _ENCODER_ATTENTION,
    "Likeliest": _LIKELIEST,
    **{kind + by_row: text for kind, forms in _LINEAR.items() for by_row, text in forms.items()},
    "QuantiseHeads": _QUANTISE_HEADS,
    **CHOOSING,
}


def definition(kind: str, domain: str) -> onnx.FunctionProto:
    """Return the definition of the operator `kind` in one of the two domains here."""
    return parser.parse_function(_HEAD % domain + _DEFINITIONS[kind])
