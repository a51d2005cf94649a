"""Attention by the kernels of every level is what the definitions say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.kernel_harness.operator import Arrays, Operator, each_level, normal, seeds, some


def cached_attention(
    random: np.random.Generator, batch: int, heads: int, d_kv: int, columns: int, distances: int = 9
) -> Operator:
    past = random.integers(0, columns, batch).astype(np.int32)
    caches = (batch, heads, columns, d_kv)
    return Operator(
        "CachedAttention",
        {
            "joint": normal(random, batch, 1, 3 * heads * d_kv),
            "key": normal(random, *caches),
            "value": normal(random, *caches),
            "past": past,
        },
        {"biases": 3 * normal(random, heads, distances)},
        outputs=3,
        num_heads=heads,
    )


def assert_as_defined(operator: Operator, level: str, tolerance: float = 1e-5) -> None:
    (found,), (expected,) = operator.by_kernel(level), operator.by_definition()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=tolerance)


def source_inputs(
    random: np.random.Generator, shape: tuple[int, int, int, int], *, integers: bool
) -> Arrays:
    """Return keys, values and lengths of sources, of the shape (sources, heads, length, d_kv)."""
    sources, heads, length, _ = shape
    arrays: Arrays = {}
    for part in ("key", "value"):
        if integers:
            arrays[part] = random.integers(-127, 128, shape).astype(np.int8)
            arrays[f"{part}_scales"] = np.abs(normal(random, sources, heads, length, 1)) / 50
        else:
            arrays[part] = normal(random, *shape)
    return arrays | {"lengths": random.integers(1, length + 1, sources).astype(np.int32)}


@each_level
@some
@given(
    seeds,
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from((8, 16, 24, 32, 64, 80)),
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
)
def test_attention_over_what_was_written(
    level: str, seed: int, batch: int, heads: int, d_kv: int, lengths: tuple[int, int]
) -> None:
    random = np.random.default_rng(seed)
    columns, distances = lengths
    operator = cached_attention(random, batch, heads, d_kv, columns, distances)
    (found, *caches), (expected, *expected_caches) = (
        operator.by_kernel(level),
        operator.by_definition(),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for cache, expected_cache in zip(caches, expected_caches, strict=True):
        for row, past in enumerate(operator.inputs["past"]):
            filled = np.s_[row, :, : past + 1]
            assert np.array_equal(cache[filled], expected_cache[filled])


@each_level
@some
@given(seeds, st.integers(1, 5), st.integers(1, 9), st.integers(1, 40), st.integers(1, 40))
def test_biases_of_format_4_are_those_by_distance(
    level: str, seed: int, batch: int, heads: int, columns: int, distances: int
) -> None:
    """Bundles of that format have a bias for each number of past tokens and each column."""
    random = np.random.default_rng(seed)
    operator = cached_attention(random, batch, heads, 16, columns, distances)
    places = np.arange(columns)
    back = np.clip(places[:, None] - places, 0, distances - 1)
    table = operator.constants["biases"][:, distances - 1 - back]  # (heads, past, column)
    older = Operator(
        "CachedAttention",
        operator.inputs,
        {"biases": np.ascontiguousarray(table.transpose(1, 0, 2)[:, :, None])},
        outputs=3,
        num_heads=heads,
    )
    assert np.array_equal(older.by_kernel(level)[0], operator.by_kernel(level)[0])


@each_level
@some
@given(
    seeds,
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from((4, 16, 20, 32, 64, 128)),
    st.integers(1, 70),
)
def test_attention_over_what_was_read(
    level: str, seed: int, batch: int, heads: int, d_kv: int, length: int
) -> None:
    random = np.random.default_rng(seed)
    read = source_inputs(random, (batch, heads, length, d_kv), integers=False)
    query = {"query": normal(random, batch, 1, heads * d_kv)}
    assert_as_defined(Operator("CrossAttention", query | read, {}, num_heads=heads), level)


@each_level
@some
@given(
    seeds,
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from((4, 16, 20, 32, 64, 128)),
    st.integers(1, 70),
)
def test_attention_over_what_was_read_in_8_bits(
    level: str, seed: int, batch: int, heads: int, d_kv: int, length: int
) -> None:
    random = np.random.default_rng(seed)
    read = source_inputs(random, (batch, heads, length, d_kv), integers=True)
    read["value_scales"] *= 50  # values reach 300
    query = {"query": normal(random, batch, 1, heads * d_kv)}
    operator = Operator("CrossAttentionInt8", query | read, {}, num_heads=heads)
    assert_as_defined(operator, level, 1e-3)


@each_level
@some
@given(
    seeds,
    st.tuples(st.integers(1, 5), st.integers(1, 6)),
    st.sampled_from((4, 16, 20, 32, 64, 80)),
    st.integers(1, 70),
    st.lists(st.integers(0, 4), min_size=1, max_size=12),
    st.booleans(),
)
def test_rows_that_read_the_same_source(
    level: str,
    seed: int,
    sizes: tuple[int, int],
    d_kv: int,
    length: int,
    drawn: list[int],
    integers: bool,
) -> None:
    """Results are the definition's, and to the bit those of rows with a copy each."""
    random = np.random.default_rng(seed)
    count, heads = sizes
    read = source_inputs(random, (count, heads, length, d_kv), integers=integers)
    sources = np.array(drawn, np.int32) % count
    query = {"query": normal(random, len(sources), 1, heads * d_kv)}
    kind = "CrossAttentionInt8" if integers else "CrossAttention"
    shared = Operator(f"Shared{kind}", query | read | {"sources": sources}, {}, num_heads=heads)
    copies = {name: array[sources] for name, array in read.items()}
    own = Operator(kind, query | copies, {}, num_heads=heads)
    (found,), (expected,) = shared.by_kernel(level), shared.by_definition()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert np.array_equal(found, own.by_kernel(level)[0])
    np.testing.assert_allclose(expected, own.by_definition()[0], rtol=1e-4, atol=1e-4)


@each_level
@pytest.mark.parametrize("source", [-1, 2])
def test_sources_that_are_not_there_are_refused(level: str, source: int) -> None:
    random = np.random.default_rng(0)
    read = source_inputs(random, (2, 1, 3, 16), integers=False)
    query = {"query": normal(random, 3, 1, 16)}
    sources = {"sources": np.array([0, source, 1], np.int32)}
    operator = Operator("SharedCrossAttention", query | read | sources, {}, num_heads=1)
    with pytest.raises(Exception, match="sources must be from 0 to the last"):
        operator.by_kernel(level)


@each_level
@some
@given(
    seeds,
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from((1, 4, 16, 20, 32, 64, 80)),
)
def test_keys_and_values_in_8_bits(
    level: str, seed: int, tokens: int, parts: int, heads: int, d_kv: int
) -> None:
    """To the bit; and each number is within half a step of what it was."""
    random = np.random.default_rng(seed)
    x = normal(random, tokens, parts, heads, d_kv) * np.float32(10.0 ** random.integers(-3, 4))
    x[random.random(tokens) < 0.1] = 0.0
    operator = Operator("QuantiseHeads", {"x": x}, {}, outputs=2, num_heads=heads)
    integers, scales = operator.by_kernel(level)
    expected, expected_scales = operator.by_definition()
    assert np.array_equal(integers, expected)
    assert np.array_equal(scales, expected_scales)
    restored = (integers * scales)[:, 0].transpose(2, 0, 1, 3)
    assert (np.abs(restored - x) <= 0.501 * scales[:, 0].transpose(2, 0, 1, 3)).all()


@each_level
@some
@given(
    seeds,
    st.integers(1, 5),
    st.tuples(st.integers(1, 4), st.sampled_from((8, 16, 20, 32, 64))),
    st.integers(1, 50),
    st.integers(1, 60),
)
def test_attention_of_the_encoder(
    level: str, seed: int, batch: int, shape: tuple[int, int], length: int, farthest: int
) -> None:
    """Each row sees its own tokens, wherever they are."""
    heads, d_kv = shape
    random = np.random.default_rng(seed)
    lengths = random.integers(1, length + 1, batch).astype(np.int32)
    operator = Operator(
        "EncoderAttention",
        {"joint": normal(random, int(lengths.sum()), 3 * heads * d_kv), "lengths": lengths},
        {"biases": 3 * normal(random, 2 * farthest + 1, heads)},
        num_heads=heads,
    )
    assert_as_defined(operator, level)


@each_level
@some
@given(seeds, st.integers(2, 5), st.sampled_from((8, 20, 32, 64)), st.integers(1, 50))
def test_a_source_does_not_depend_on_its_company(
    level: str, seed: int, batch: int, d_kv: int, length: int
) -> None:
    """To the bit, whatever is read before it and after it, and how long the longest is."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, length + 1, batch).astype(np.int32)
    joint = normal(random, int(lengths.sum()), 3 * 2 * d_kv)
    constants = {"biases": 3 * normal(random, 21, 2)}

    def attended(joint: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        inputs = {"joint": joint, "lengths": lengths}
        return Operator("EncoderAttention", inputs, constants, num_heads=2).by_kernel(level)[0]

    ends = np.cumsum(lengths)
    together = np.split(attended(joint, lengths), ends[:-1])
    for row, tokens in enumerate(np.split(joint, ends[:-1])):
        assert np.array_equal(attended(tokens, lengths[[row]]), together[row])


@each_level
def test_large_scores_do_not_overflow(level: str) -> None:
    """The largest score comes last: all before it are corrected to nothing."""
    keys = np.linspace(-50, 50, 40, dtype=np.float32).reshape(1, 1, 40, 1).repeat(16, axis=3)
    operator = Operator(
        "CrossAttention",
        {
            "query": np.full((1, 1, 16), 10, np.float32),
            "key": keys,
            "value": keys,
            "lengths": np.array([40], np.int32),
        },
        {},
        num_heads=1,
    )
    np.testing.assert_allclose(operator.by_kernel(level)[0], 50.0, rtol=1e-6)


@each_level
@pytest.mark.parametrize("past", [-1, 5])
def test_places_beyond_the_cache_are_refused(level: str, past: int) -> None:
    operator = cached_attention(np.random.default_rng(0), 2, 1, 16, 5)
    operator.inputs["past"][1] = past
    with pytest.raises(Exception, match="past must be from 0 to the last column"):
        operator.by_kernel(level)


@each_level
@pytest.mark.parametrize(
    ("lengths", "expected"),
    [((5, 0), "must be at least 1"), ((3, 1), "add up"), ((3, 3), "add up")],
)
def test_lengths_that_are_not_those_of_the_sources_are_refused(
    level: str, lengths: tuple[int, int], expected: str
) -> None:
    operator = Operator(
        "EncoderAttention",
        {"joint": np.zeros((5, 48), np.float32), "lengths": np.array(lengths, np.int32)},
        {"biases": np.zeros((3, 1), np.float32)},
        num_heads=1,
    )
    with pytest.raises(Exception, match=expected):
        operator.by_kernel(level)


@each_level
@pytest.mark.parametrize("length", [0, 4])
def test_lengths_beyond_the_keys_are_refused(level: str, length: int) -> None:
    keys = np.zeros((2, 1, 3, 16), np.float32)
    lengths = np.array([3, length], np.int32)
    query = np.zeros((2, 1, 16), np.float32)
    operator = Operator(
        "CrossAttention",
        {"query": query, "key": keys, "value": keys, "lengths": lengths},
        {},
        num_heads=1,
    )
    with pytest.raises(Exception, match="must be from 1 to the length of the sources"):
        operator.by_kernel(level)
