"""Define the operators that choose tokens by the logits."""

from __future__ import annotations

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

# `adjusted` (n, tokens): of rows of the logits (batch, 1, tokens) the logits, or the
# log-probabilities where a row is `normalised`. Of each of `tokens` (n, adjustments) first its bias
# is added; then a score below 0 is multiplied by its penalty, and any other is divided by it. To
# name a token twice with the same numbers is to name it once.
_ADJUSTED = """
    axis_1 = Constant <value_ints: ints = [1]> ()
    chosen = Gather (logits, rows)
    raw = Squeeze (chosen, axis_1)
    model = LogSoftmax <axis: int = -1> (raw)
    %(base)s
    before = GatherElements <axis: int = 1> (base, tokens)
    biased = Add (before, biases)
    nothing = Constant <value_float: float = 0.0> ()
    is_negative = Less (biased, nothing)
    multiplied = Mul (biased, penalties)
    divided = Div (biased, penalties)
    after = Where (is_negative, multiplied, divided)
    adjusted = ScatterElements <axis: int = 1> (base, tokens, after)
"""

# The `count` largest after the adjustments, the largest first and of equals the first token, with
# the log-probabilities that they have without.
_CANDIDATES = f"""
Candidates (logits, rows, tokens, biases, penalties, normalised, count)
    => (best, scores, logprobs) {{
    {
    _ADJUSTED
    % {
        "base": '''
    is_normalised = Cast <to: int = 9> (normalised)
    is_normalised_1 = Unsqueeze (is_normalised, axis_1)
    base = Where (is_normalised_1, model, raw)'''
    }
}
    scores, best = TopK <axis: int = -1> (adjusted, count)
    logprobs = GatherElements <axis: int = 1> (model, best)
}}
"""

# A token of each row: the first up to which the probabilities, after the adjustments and at the
# row's temperature, add up to more than its uniform number, from 0 to 1. Also its log-probability
# without them, and the logarithm of the sum of e^(adjusted / temperature).
_DRAW = f"""
Draw (logits, rows, tokens, biases, penalties, temperatures, uniforms)
    => (drawn, logprobs, totals) {{
    {_ADJUSTED % {"base": "base = Identity (raw)"}}
    temperatures_1 = Unsqueeze (temperatures, axis_1)
    cooled = Div (adjusted, temperatures_1)
    soft = LogSoftmax <axis: int = -1> (cooled)
    cooled_largest = ReduceMax <keepdims: int = 0> (cooled, axis_1)
    soft_largest = ReduceMax <keepdims: int = 0> (soft, axis_1)
    totals = Sub (cooled_largest, soft_largest)
    probabilities = Exp (soft)
    one = Constant <value_int: int = 1> ()
    summed = CumSum (probabilities, one)
    all = ReduceMax (summed, axis_1)
    uniforms_1 = Unsqueeze (uniforms, axis_1)
    wanted = Mul (uniforms_1, all)
    is_before = LessOrEqual (summed, wanted)
    counted = Cast <to: int = 7> (is_before)
    drawn_1 = ReduceSum (counted, axis_1)
    drawn = Squeeze (drawn_1, axis_1)
    logprobs_1 = GatherElements <axis: int = 1> (model, drawn_1)
    logprobs = Squeeze (logprobs_1, axis_1)
}}
"""

CHOOSING = {"Candidates": _CANDIDATES, "Draw": _DRAW, "Likeliest": _LIKELIEST}
