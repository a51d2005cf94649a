"""Define the operators of attention."""

from __future__ import annotations

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

# One query a row, over a source of its own; columns beyond the source's length are masked.
_CROSS_ATTENTION = """
CrossAttention <num_heads> (query, key, value, lengths) => (mixed) {
    mixed = com.microsoft.MultiHeadAttention <
        num_heads: int = @num_heads, scale: float = 1.0, mask_filter_value: float = -1e9
    > (query, key, value, , lengths)
}
"""

# Keys and values in 8 bits, each token's of a head with a scale. `CrossAttentionInt8` is in bundles
# of format 5, whose rows have a source each.
_WHOLE = """
    whole_key = Cast <to: int = 1> (key)
    scaled_key = Mul (whole_key, key_scales)
    whole_value = Cast <to: int = 1> (value)
    scaled_value = Mul (whole_value, value_scales)
"""
_CROSS_ATTENTION_INT8 = f"""
CrossAttentionInt8 <num_heads> (query, key, key_scales, value, value_scales, lengths) => (mixed) {{
    {_WHOLE}
    mixed = com.microsoft.MultiHeadAttention <
        num_heads: int = @num_heads, scale: float = 1.0, mask_filter_value: float = -1e9
    > (query, scaled_key, scaled_value, , lengths)
}}
"""

# One query a row, over the source that `sources` (rows) names; keys, values and `lengths` are of
# sources. The queries of a source are put side by side, so that keys and values are read in place,
# without a copy for each row. `at` (rows, 2) is the source of a row's query and its number there,
# and `table` (sources, queries) the row of each query; where a source has fewer, the first row.
# This depends on `sources` alone: ONNX Runtime computes it once for all layers.
_SHARED_CROSS_ATTENTION = """
    zero = Constant <value_int: int = 0> ()
    one = Constant <value_int: int = 1> ()
    axis_1 = Constant <value_ints: ints = [1]> ()
    sources_64 = Cast <to: int = 7> (sources)
    sources_1 = Unsqueeze (sources_64, axis_1)
    is_same = Equal (sources_1, sources_64)
    counted = Cast <to: int = 7> (is_same)
    not_later = Trilu <upper: int = 0> (counted)
    number_1 = ReduceSum (not_later, axis_1)
    most_1 = ReduceMax (number_1)
    most = Reshape (most_1, axis_1)
    nth = Sub (number_1, one)
    at = Concat <axis: int = 1> (sources_1, nth)
    source_count = Shape (lengths)
    shape = Concat <axis: int = 0> (source_count, most)
    first_rows = ConstantOfShape <value: tensor = int64[1] {0}> (shape)
    row_count_1 = Shape (sources)
    row_count = Squeeze (row_count_1)
    rows = Range (zero, row_count, one)
    table = ScatterND (first_rows, at, rows)
    query_of_row = Squeeze (query, axis_1)
    query_of_source = Gather (query_of_row, table)
    mixed_of_source = com.microsoft.MultiHeadAttention <
        num_heads: int = @num_heads, scale: float = 1.0, mask_filter_value: float = -1e9
    > (query_of_source, %s, %s, , lengths)
    mixed_of_row = GatherND (mixed_of_source, at)
    mixed = Unsqueeze (mixed_of_row, axis_1)
"""
_SHARED = f"""
SharedCrossAttention <num_heads> (query, key, value, lengths, sources) => (mixed) {{
    {_SHARED_CROSS_ATTENTION % ("key", "value")}
}}
"""
_SHARED_INT8 = f"""
SharedCrossAttentionInt8 <num_heads>
    (query, key, key_scales, value, value_scales, lengths, sources) => (mixed) {{
    {_WHOLE}
    {_SHARED_CROSS_ATTENTION % ("scaled_key", "scaled_value")}
}}
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

ATTENTION = {
    "CachedAttention": _CACHED_ATTENTION,
    "CrossAttention": _CROSS_ATTENTION,
    "CrossAttentionInt8": _CROSS_ATTENTION_INT8,
    "EncoderAttention": _ENCODER_ATTENTION,
    "QuantiseHeads": _QUANTISE_HEADS,
    "SharedCrossAttention": _SHARED,
    "SharedCrossAttentionInt8": _SHARED_INT8,
}
