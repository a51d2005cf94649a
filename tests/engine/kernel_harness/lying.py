"""Operators whose shapes disagree, each with what the error must say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.engine.kernel_harness.cases import Case
from tests.engine.kernel_harness.shapes import (
    Numbers,
    cached,
    choosing,
    cross,
    cross_int8,
    encoder,
    float_product,
    heads_in_8_bits,
    likeliest,
    product,
    shared,
)


def _changed(case: Case, name: str, value: np.ndarray) -> Case:
    """The case with another value of one input or constant."""
    inputs, constants = dict(case.inputs), dict(case.constants)
    (inputs if name in inputs else constants)[name] = value
    return Case(case.kind, inputs, constants, case.attributes, case.outputs)


def lying_cases() -> Iterator[tuple[Case, str]]:
    """Operators whose shapes disagree, each with what the error must say."""
    numbers = Numbers(8)
    yield from _lying_products(numbers)
    yield from _lying_float_products(numbers)
    yield from _lying_encoder(numbers)
    yield from _lying_decoder(numbers)
    yield from _lying_sources(numbers)
    yield from _lying_choosing(numbers)


def _lying_products(numbers: Numbers) -> Iterator[tuple[Case, str]]:
    plain = product(numbers, "NormLinear", 3, 16, 40)
    yield _changed(plain, "x", numbers.normal(1, 3, 12)), "number of inputs"
    yield _changed(plain, "x", numbers.normal(1, 3, 20)), "number of inputs"
    yield _changed(plain, "x", np.array(1, np.float32)), "number of inputs"
    yield _changed(plain, "norm", numbers.normal(12)), "norm must have a number for each input"
    yield _changed(plain, "norm", numbers.normal(20)), "norm must have a number for each input"
    yield _changed(plain, "scales", numbers.normal(49)), "a block for each 16 columns"
    yield _changed(plain, "scales", numbers.normal(16)), "a block for each 16 columns"
    yield _changed(plain, "scales", numbers.normal(2, 20)), "scales must be (columns)"
    yield _changed(plain, "scales", numbers.normal(0)), "a block for each 16 columns"
    yield _changed(plain, "input_scale", numbers.normal(2)), "input_scale must be one number"
    yield _changed(plain, "input_scale", numbers.normal(0)), "input_scale must be one number"
    weight = plain.constants["weight"]
    for wrong in (weight[..., :3], weight[:, :, :8], weight[0], weight[:, :0]):
        yield _changed(plain, "weight", np.ascontiguousarray(wrong)), "weight must"
    yield _changed(plain, "weight", np.full_like(weight, 64)), "weights must be within 63"
    yield _changed(plain, "weight", np.full_like(weight, -64)), "weights must be within 63"

    added = product(numbers, "AddLinear", 3, 16, 40)
    for shape in ((1, 3, 39), (1, 2, 40), (3, 40), (1, 3, 41)):
        yield _changed(added, "residual", numbers.normal(*shape)), "residual must have the rows"

    gated = product(numbers, "NormGatedLinear", 3, 16, 32)
    yield _changed(gated, "weight", gated.constants["weight"][:, :1].copy()), "(blocks, 2,"
    yield _changed(gated, "weight", gated.constants["weight"][:, 0].copy()), "(blocks, 2,"
    yield _changed(gated, "scales", numbers.normal(32)), "scales must be (2, columns)"
    yield _changed(gated, "scales", numbers.normal(1, 32)), "scales must be (2, columns)"
    yield _changed(gated, "scales", numbers.normal(2, 48)), "a block for each 16 columns"


def _lying_float_products(numbers: Numbers) -> Iterator[tuple[Case, str]]:
    plain = float_product(numbers, "NormLinearFloat", 3, 16, 40)
    yield _changed(plain, "x", numbers.normal(1, 3, 12)), "number of inputs"
    yield _changed(plain, "x", np.array(1, np.float32)), "number of inputs"
    for shape in ((3, 16, 15), (3, 16), (3, 4, 16, 4)):
        yield _changed(plain, "weight", numbers.normal(*shape)), "weight must be (blocks, inputs"
    for blocks in (0, 2, 4):
        yield _changed(plain, "weight", numbers.normal(blocks, 16, 16)), "for each 16 columns"
    yield _changed(plain, "weight", numbers.normal(3, 0, 16)), "at least one input"
    for columns in (-1, 0, 32, 49):
        other = Case(plain.kind, plain.inputs, plain.constants, {"epsilon": 1, "columns": columns})
        yield other, "for each 16 columns"

    added = float_product(numbers, "AddLinearFloat", 3, 16, 40)
    for shape in ((1, 3, 39), (1, 2, 40), (3, 40), (1, 3, 41)):
        yield _changed(added, "residual", numbers.normal(*shape)), "residual must have the rows"

    gated = float_product(numbers, "NormGatedLinearFloat", 3, 16, 32)
    for shape in ((2, 1, 16, 16), (2, 16, 16), (2, 2, 16, 15)):
        yield _changed(gated, "weight", numbers.normal(*shape)), "weight must be (blocks, 2,"
    yield _changed(gated, "weight", numbers.normal(0, 2, 16, 16)), "for each 16 columns"


def _lying_encoder(numbers: Numbers) -> Iterator[tuple[Case, str]]:
    rows = encoder(numbers, [3, 4], 2, 8)
    yield _changed(rows, "joint", numbers.normal(7, 47)), "joint must be"
    yield _changed(rows, "joint", numbers.normal(7, 0)), "from 1 to 256 numbers"
    yield _changed(rows, "joint", numbers.normal(7, 3 * 2 * 257)), "from 1 to 256 numbers"
    yield _changed(rows, "joint", numbers.normal(6, 48)), "add up"
    yield _changed(rows, "joint", numbers.normal(1, 7, 48)), "joint must be"
    yield _changed(rows, "lengths", np.array([3, 5], np.int32)), "add up"
    yield _changed(rows, "lengths", np.array([8, -1], np.int32)), "at least 1"
    yield _changed(rows, "lengths", np.array([2**31 - 1, 7], np.int32)), "at most"
    yield _changed(rows, "biases", numbers.normal(13, 1)), "biases must be"
    yield _changed(rows, "biases", numbers.normal(12, 2)), "distances odd"
    yield _changed(rows, "biases", numbers.normal(0, 2)), "distances odd"


def _lying_decoder(numbers: Numbers) -> Iterator[tuple[Case, str]]:
    read = cross(numbers, 2, 5, 2, 8)
    yield _changed(read, "query", numbers.normal(2, 1, 15)), "query must be"
    yield _changed(read, "query", numbers.normal(1, 1, 16)), "query must be"
    yield _changed(read, "query", numbers.normal(2, 2, 16)), "query must be"
    yield _changed(read, "key", numbers.normal(2, 1, 5, 8)), "key must be"
    yield _changed(read, "key", numbers.normal(2, 2, 5)), "key must be"
    yield _changed(read, "value", numbers.normal(2, 2, 4, 8)), "value must have the shape of key"
    yield _changed(read, "lengths", np.array([5], np.int32)), "lengths must be (sources)"
    yield _changed(read, "lengths", np.array([5, 6], np.int32)), "from 1 to the length"
    yield _changed(read, "lengths", np.array([5, 0], np.int32)), "from 1 to the length"

    in_8_bits = cross_int8(numbers, 2, 5, 2, 8)
    yield _changed(in_8_bits, "key", np.zeros((2, 1, 5, 8), np.int8)), "key must be"
    yield _changed(in_8_bits, "value", np.zeros((2, 2, 4, 8), np.int8)), "value must have the shape"
    for name in ("key_scales", "value_scales"):
        for shape in ((2, 2, 4, 1), (2, 1, 5, 1), (1, 2, 5, 1), (2, 2, 5), (2, 2, 5, 0)):
            yield _changed(in_8_bits, name, numbers.normal(*shape)), "scales must be"

    heads = heads_in_8_bits(numbers, 5, 2, 3, 8)
    yield _changed(heads, "x", numbers.normal(5, 2, 2, 8)), "x must be"
    yield _changed(heads, "x", numbers.normal(5, 2, 3)), "x must be"
    yield _changed(heads, "x", numbers.normal(5, 2, 3, 257)), "from 1 to 256 numbers"

    written = cached(numbers, 2, 5, 2, 8)
    yield _changed(written, "joint", numbers.normal(2, 1, 47)), "joint must be"
    yield _changed(written, "joint", numbers.normal(3, 1, 48)), "joint must be"
    yield _changed(written, "key", numbers.normal(2, 3, 5, 8)), "key must be"
    yield _changed(written, "value", numbers.normal(2, 2, 5, 7)), "value must have the shape"
    yield _changed(written, "past", np.array([0], np.int32)), "past must be (batch)"
    yield _changed(written, "past", np.array([0, 5], np.int32)), "past must be from 0"
    yield _changed(written, "past", np.array([-1, 0], np.int32)), "past must be from 0"
    yield _changed(written, "biases", numbers.normal(3, 6)), "biases must be"
    yield _changed(written, "biases", numbers.normal(2, 0)), "biases must be"
    yield _changed(written, "biases", numbers.normal(6)), "biases must be"
    yield _changed(written, "biases", numbers.normal(4, 2, 1, 5)), "biases must be"
    yield _changed(written, "biases", numbers.normal(5, 2, 1, 4)), "biases must be"

    choice = likeliest(numbers, 2, 5)
    yield _changed(choice, "logits", numbers.normal(2, 5)), "logits must be"
    yield _changed(choice, "logits", numbers.normal(2, 2, 5)), "logits must be"
    yield _changed(choice, "logits", numbers.normal(2, 1, 1)), "logits must be"


def _lying_sources(numbers: Numbers) -> Iterator[tuple[Case, str]]:
    for of in (cross, cross_int8):
        case = shared(of(numbers, 2, 5, 2, 8), [1, 0, 1])
        yield _changed(case, "sources", np.array([1, 0], np.int32)), "sources must be (batch)"
        yield _changed(case, "sources", np.array([[1, 0, 1]], np.int32)), "sources must be (batch)"
        for wrong in (-1, 2, np.iinfo(np.int32).max, np.iinfo(np.int32).min):
            changed = _changed(case, "sources", np.array([1, 0, wrong], np.int32))
            yield changed, "sources must be from 0"
        yield _changed(case, "query", numbers.normal(3, 1, 15)), "query must be"
        yield _changed(case, "lengths", np.array([5, 4, 3], np.int32)), "lengths must be (sources)"
        yield _changed(case, "lengths", np.array([5, 6], np.int32)), "from 1 to the length"


def _lying_choosing(numbers: Numbers) -> Iterator[tuple[Case, str]]:
    candidates, draw = choosing(numbers, 2, 9, 4)
    for case in (candidates, draw):
        yield _changed(case, "logits", numbers.normal(3, 9)), "logits must be"
        yield _changed(case, "logits", numbers.normal(3, 1, 0)), "logits must be"
        yield _changed(case, "rows", np.array([0, 3])), "rows must be indices"
        yield _changed(case, "rows", np.array([0, -1])), "rows must be indices"
        yield _changed(case, "tokens", np.array([0, 1])), "tokens must be (rows, adjustments)"
        yield _changed(case, "tokens", np.full((2, 3), 9)), "tokens must be from 0"
        yield _changed(case, "tokens", np.full((2, 3), -1)), "tokens must be from 0"
        yield _changed(case, "biases", numbers.normal(2, 2)), "the shape of tokens"
        yield _changed(case, "penalties", numbers.normal(1, 3)), "the shape of tokens"
    yield _changed(candidates, "normalised", np.array([1], np.int32)), "normalised must be (rows)"
    yield _changed(candidates, "count", np.array([0])), "count must be from 1"
    yield _changed(candidates, "count", np.array([10])), "count must be from 1"
    yield _changed(candidates, "count", np.array([1, 2])), "count must be (1)"
    yield _changed(draw, "temperatures", numbers.normal(1)), "must be (rows)"
    yield _changed(draw, "uniforms", numbers.normal(3)), "must be (rows)"
