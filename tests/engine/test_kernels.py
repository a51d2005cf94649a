"""The kernels of every level that this machine has do what the operators' definitions say."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from engine import kernels
from model_export import operators
from model_export.builder import GraphBuilder
from model_export.quantisation import in_blocks, quantised

Arrays = dict[str, np.ndarray]
FLOATS = TensorProto.FLOAT
INTEGERS = TensorProto.INT8
TYPES = {
    "float32": FLOATS, "int8": INTEGERS, "int32": TensorProto.INT32, "int64": TensorProto.INT64,
}  # fmt: skip
# The type and rank of each output; of other operators one of floats, of the first input's rank.
TOKENS = TensorProto.INT64
OUTPUTS = {
    "CachedAttention": [(FLOATS, 3), (FLOATS, 4), (FLOATS, 4)],
    "Candidates": [(TOKENS, 2), (FLOATS, 2), (FLOATS, 2)],
    "Draw": [(TOKENS, 1), (FLOATS, 1), (FLOATS, 1)],
    "EncoderAttention": [(FLOATS, 2)],
    "Likeliest": [(TOKENS, 2), (FLOATS, 2)],
    "QuantiseHeads": [(INTEGERS, 5), (FLOATS, 5)],
}
seeds = st.integers(0, 2**32 - 1)
some = settings(max_examples=15)  # of each level


def expected_levels() -> list[str]:
    """Levels of x86-64 that this machine should have: those that Linux lists, with a compiler."""
    cpu = Path("/proc/cpuinfo")
    flags = set(cpu.read_text().split()) if cpu.exists() and shutil.which("gcc") else set()
    needed = {
        "avx512vnni": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx2", "fma"},
        "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"},
        "avxvnni": {"avx_vnni", "avx2", "fma"},
        "avx2": {"avx2", "fma"},
    }
    return [level for level, names in needed.items() if names <= flags]


each_level = pytest.mark.parametrize(
    "level",
    kernels.levels() or [pytest.param("none", marks=pytest.mark.skip(reason="no kernels here"))],
)


@pytest.mark.skipif(not expected_levels(), reason="no compiler or a processor without AVX2")
def test_kernels_are_there_where_they_can_be() -> None:
    assert list(kernels.levels()) == expected_levels()


def test_the_fastest_level_is_chosen() -> None:
    assert kernels.level("auto") == next(iter(kernels.levels()), "none")
    assert kernels.level("none") == "none"
    assert kernels.use("none") is None


def test_a_level_that_the_processor_lacks_is_refused() -> None:
    missing = next(level for level in kernels.LEVELS if level not in kernels.levels())
    with pytest.raises(kernels.LevelMissing, match=f"kernels {missing}: .*expected auto, none"):
        kernels.use(missing)


class Operator:
    """A model of one operator: what it gives with our kernel, and by its definition."""

    def __init__(
        self, kind: str, inputs: Arrays, constants: Arrays, outputs: int = 1, **attributes: float
    ) -> None:
        graph = GraphBuilder()
        for name, value in inputs.items():
            graph.input(name, TYPES[str(value.dtype)], list(value.shape))
        for name, value in constants.items():
            graph.weight(name, value)
        made = graph.ops(
            kind, *inputs, *constants, outputs=outputs, domain=operators.DOMAIN, **attributes
        )
        first = next(iter(inputs.values()))
        kinds = OUTPUTS.get(kind, [(FLOATS, first.ndim)])
        for place, (output, (dtype, rank)) in enumerate(zip(made, kinds, strict=True)):
            shape = [f"{place}.{axis}" for axis in range(rank)]
            graph.output(output, f"out{place}", dtype, shape)
        self._model = graph.model(kind, "").SerializeToString()
        self.inputs, self.constants = inputs, constants

    def by_kernel(self, level: str) -> list[np.ndarray]:
        library = kernels.use(level)
        assert library is not None
        return self._run(library)

    def by_definition(self) -> list[np.ndarray]:
        return self._run(None)

    def _run(self, library: Path | None) -> list[np.ndarray]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 2
        if library is not None:
            options.register_custom_ops_library(str(library))
        session = ort.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])
        found: list[np.ndarray] = session.run(None, self.inputs)
        return found


def normal(random: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    return random.standard_normal(shape).astype(np.float32)


# -- attention -------------------------------------------------------------------------------------


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
    operator = Operator(
        "CrossAttention",
        {
            "query": normal(random, batch, 1, heads * d_kv),
            "key": normal(random, batch, heads, length, d_kv),
            "value": normal(random, batch, heads, length, d_kv),
            "lengths": random.integers(1, length + 1, batch).astype(np.int32),
        },
        {},
        num_heads=heads,
    )
    (found,), (expected,) = operator.by_kernel(level), operator.by_definition()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


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
    shape = (batch, heads, length)

    def integers() -> np.ndarray:
        return random.integers(-127, 128, (*shape, d_kv)).astype(np.int8)

    operator = Operator(
        "CrossAttentionInt8",
        {
            "query": normal(random, batch, 1, heads * d_kv),
            "key": integers(),
            "key_scales": np.abs(normal(random, *shape, 1)) / 50,
            "value": integers(),
            "value_scales": np.abs(normal(random, *shape, 1)),
            "lengths": random.integers(1, length + 1, batch).astype(np.int32),
        },
        {},
        num_heads=heads,
    )
    (found,), (expected,) = operator.by_kernel(level), operator.by_definition()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)  # values reach 300


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
    (found,), (expected,) = operator.by_kernel(level), operator.by_definition()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


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


# -- products --------------------------------------------------------------------------------------


def scaled(random: np.random.Generator, rows: int, columns: int, spread: float) -> np.ndarray:
    """Rows (1, rows, columns) of which some are zeros, and with `spread` some beyond the range."""
    x = spread * normal(random, 1, rows, columns)
    x[:, random.random(rows) < 0.1] = 0.0
    return x


each_form = pytest.mark.parametrize("form", ["", "ByRow"], ids=["one scale", "by row"])


def input_scale(form: str, value: float) -> Arrays:
    """Return the constant that only products with one scale for all rows take."""
    return {} if form else {"input_scale": np.array(value, np.float32)}


def rounding_step(form: str, one_scale: float, largest: float) -> float:
    """Return what one unit of a rounded input stands for, at most."""
    return float(largest) / 127 if form else one_scale


def close(found: np.ndarray, expected: np.ndarray, step: float) -> None:
    """Equal, but that an input just between two integers may be rounded to either.

    `step` is what that changes at the most; a row has two such inputs at the most.
    """
    equal = np.isclose(found, expected, rtol=1e-4, atol=1e-4).all(axis=-1)
    assert equal.mean() > 0.8 or found.shape[1] < 5
    assert np.abs(found - expected).max() <= 1e-3 + 2 * step


@each_form
@each_level
@some
@given(seeds, st.integers(1, 20), st.integers(1, 40), st.integers(1, 300), st.floats(0.1, 100))
def test_product_of_a_norm(
    form: str, level: str, seed: int, rows: int, quads: int, columns: int, spread: float
) -> None:
    random = np.random.default_rng(seed)
    integers, scales = quantised(normal(random, 4 * quads, columns))
    operator = Operator(
        f"NormLinear{form}",
        {"x": scaled(random, rows, 4 * quads, spread)},
        {
            "norm": normal(random, 4 * quads),
            "weight": in_blocks(integers),
            "scales": scales,
            **input_scale(form, 0.02),
        },
        epsilon=1e-6,
    )
    step = 63 * scales.max() * rounding_step(form, 0.02, 4 * 4 * np.sqrt(4 * quads))
    close(operator.by_kernel(level)[0], operator.by_definition()[0], step)


@each_form
@each_level
@some
@given(seeds, st.integers(1, 20), st.integers(1, 40), st.integers(1, 300), st.floats(0.1, 100))
def test_product_added_to_a_row(
    form: str, level: str, seed: int, rows: int, quads: int, columns: int, spread: float
) -> None:
    random = np.random.default_rng(seed)
    integers, scales = quantised(normal(random, 4 * quads, columns))
    operator = Operator(
        f"AddLinear{form}",
        {
            "residual": normal(random, 1, rows, columns),
            "x": scaled(random, rows, 4 * quads, spread),
        },
        {
            "weight": in_blocks(integers),
            "scales": scales,
            **input_scale(form, 0.03),
        },
    )
    step = 63 * scales.max() * rounding_step(form, 0.03, np.abs(operator.inputs["x"]).max())
    close(operator.by_kernel(level)[0], operator.by_definition()[0], step)


@each_form
@each_level
@some
@given(seeds, st.integers(1, 20), st.integers(1, 40), st.integers(1, 9), st.floats(0.1, 10))
def test_gated_product(
    form: str, level: str, seed: int, rows: int, quads: int, blocks: int, spread: float
) -> None:
    random = np.random.default_rng(seed)
    matrices = [normal(random, 4 * quads, 16 * blocks) / np.float32(8) for _ in range(2)]
    pairs = [quantised(matrix) for matrix in matrices]
    scales = np.stack([scales for _, scales in pairs])
    operator = Operator(
        f"NormGatedLinear{form}",
        {"x": scaled(random, rows, 4 * quads, spread)},
        {
            "norm": normal(random, 4 * quads),
            "weight": np.stack([in_blocks(integers) for integers, _ in pairs], axis=1),
            "scales": scales,
            **input_scale(form, 0.02),
        },
        epsilon=1e-6,
    )
    found, expected = operator.by_kernel(level)[0], operator.by_definition()[0]
    step = 63 * scales.max() * rounding_step(form, 0.02, 4 * 4 * np.sqrt(4 * quads))
    close(found, expected, step * (1 + np.abs(expected).max()))


@each_form
@each_level
def test_rows_of_zeros_stay_zero(form: str, level: str) -> None:
    integers, scales = quantised(normal(np.random.default_rng(0), 16, 16))
    operator = Operator(
        f"AddLinear{form}",
        {"residual": np.ones((1, 2, 16), np.float32), "x": np.zeros((1, 2, 16), np.float32)},
        {"weight": in_blocks(integers), "scales": scales, **input_scale(form, 0.02)},
    )
    assert np.array_equal(operator.by_kernel(level)[0], operator.inputs["residual"])


@each_level
def test_rows_of_any_size_lose_equally_little(level: str) -> None:
    """Rows scaled by themselves are as exact at a thousandth of the size as at a thousand times."""
    random = np.random.default_rng(5)
    matrix = normal(random, 64, 48)
    integers, scales = quantised(matrix)
    row = normal(random, 1, 1, 64)
    x = np.concatenate([row * size for size in (1e-3, 1, 1e3)], axis=1)
    operator = Operator(
        "AddLinearByRow",
        {"residual": np.zeros((1, 3, 48), np.float32), "x": x},
        {"weight": in_blocks(integers), "scales": scales},
    )
    small, usual, large = operator.by_kernel(level)[0][0]
    np.testing.assert_allclose(small * 1e3, usual, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(large / 1e3, usual, rtol=1e-4, atol=1e-5)
    assert np.abs(usual - row[0, 0] @ matrix).max() < 0.05 * np.abs(row[0, 0] @ matrix).max()


@each_form
@each_level
@pytest.mark.parametrize(("inputs", "columns"), [(64, 200), (1100, 300)], ids=["one", "several"])
def test_a_row_does_not_depend_on_its_company(
    form: str, level: str, inputs: int, columns: int
) -> None:
    """To the bit, with weights of one task or of several: a batch must not change an answer."""
    random = np.random.default_rng(3)
    integers, scales = quantised(normal(random, inputs, columns))
    constants: Arrays = {
        "norm": normal(random, inputs),
        "weight": in_blocks(integers),
        "scales": scales,
        **input_scale(form, 0.02),
    }
    x = normal(random, 1, 13, inputs)
    operator = Operator(f"NormLinear{form}", {"x": x}, constants, epsilon=1e-6)
    together = operator.by_kernel(level)[0]
    step = 63 * scales.max() * rounding_step(form, 0.02, 16 * np.sqrt(inputs))
    close(together, operator.by_definition()[0], step)
    for row in range(13):
        alone = Operator(
            f"NormLinear{form}", {"x": x[:, [row]]}, constants, epsilon=1e-6
        ).by_kernel(level)[0]
        assert np.array_equal(alone[:, 0], together[:, row])


@each_level
def test_rows_of_another_width_are_refused(level: str) -> None:
    integers, scales = quantised(normal(np.random.default_rng(0), 64, 16))
    constants: Arrays = {
        "norm": np.ones(64, np.float32),
        "weight": in_blocks(integers),
        "scales": scales,
        "input_scale": np.array(0.02, np.float32),
    }
    operator = Operator(
        "NormLinear", {"x": np.ones((1, 1, 60), np.float32)}, constants, epsilon=1e-6
    )
    with pytest.raises(Exception, match="must be the weights' number of inputs"):
        operator.by_kernel(level)


# -- choice of tokens ------------------------------------------------------------------------------


@each_level
@some
@given(seeds, st.integers(1, 9), st.integers(2, 60), st.integers(1, 7), st.booleans())
def test_the_two_likeliest(
    level: str, seed: int, batch: int, groups: int, size: int, ties: bool
) -> None:
    random = np.random.default_rng(seed)
    logits = 5 * normal(random, batch, 1, groups * size)
    if ties:
        logits = np.round(logits)
    operator = Operator("Likeliest", {"logits": logits}, {}, outputs=2, size=size)
    best, logprobs = operator.by_kernel(level)
    expected_best, expected_logprobs = operator.by_definition()
    np.testing.assert_allclose(logprobs, expected_logprobs, rtol=1e-4, atol=1e-5)
    if size > 1 and not ties:
        assert np.array_equal(best, expected_best)
    rows = np.arange(batch)[:, None]
    ordered = np.sort(logits[:, 0])[:, ::-1][:, :2]
    assert np.array_equal(logits[:, 0][rows, best], ordered)
    assert (best[:, 0] != best[:, 1]).all()


@each_level
@pytest.mark.parametrize(("first", "second"), [(5, 21), (21, 5), (5, 6), (47, 0)])
def test_the_two_likeliest_wherever_they_are(level: str, first: int, second: int) -> None:
    """Vectors of sixteen: in the same lane, one after the other in either order, or in others."""
    logits = np.full((1, 1, 48), -1.0, np.float32)
    logits[0, 0, [first, second]] = 3.0, 2.0
    best, _ = Operator("Likeliest", {"logits": logits}, {}, outputs=2, size=6).by_kernel(level)
    assert best.tolist() == [[first, second]]


def adjustments(random: np.random.Generator, rows: int, tokens: int, many: int) -> Arrays:
    """Return adjustments of different tokens in each row; some are banned."""
    named = [random.permutation(tokens)[:many] for _ in range(rows)]
    banned = random.random((rows, many)) < 0.2
    return {
        "tokens": np.array(named, np.int64).reshape(rows, many),
        "biases": np.where(banned, -np.inf, normal(random, rows, many)).astype(np.float32),
        "penalties": random.uniform(0.5, 2.0, (rows, many)).astype(np.float32),
    }


@each_level
@some
@given(seeds, st.integers(1, 5), st.integers(1, 300), st.integers(0, 40), st.integers(1, 70))
def test_candidates(level: str, seed: int, rows: int, tokens: int, many: int, most: int) -> None:
    random = np.random.default_rng(seed)
    operator = Operator(
        "Candidates",
        {
            "logits": 5 * normal(random, 3, 1, tokens),
            "rows": random.integers(0, 3, rows),
            **adjustments(random, rows, tokens, min(many, tokens)),
            "normalised": random.integers(0, 2, rows).astype(np.int32),
            "count": np.array([min(most, tokens)]),
        },
        {},
        outputs=3,
    )
    best, scores, logprobs = operator.by_kernel(level)
    expected_best, expected_scores, expected_logprobs = operator.by_definition()
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-5)
    finite = np.maximum(expected_scores, -1e9)
    near = np.abs(np.diff(finite)).min(initial=1.0) < 1e-4  # or two are banned
    if not near:
        assert np.array_equal(best, expected_best)
        np.testing.assert_allclose(logprobs, expected_logprobs, rtol=1e-5, atol=2e-5)
    assert all(len(set(row)) == len(row) for row in best.tolist())


@each_level
@pytest.mark.parametrize("tokens", [103, 32_128, 250_112])
def test_log_probabilities_keep_their_digits(level: str, tokens: int) -> None:
    """They are those in float64, for large logits and over all of mT5's vocabulary."""
    logits = (200 + 5 * np.random.default_rng(1).standard_normal((1, 1, tokens))).astype(np.float32)
    exact = logits[0, 0].astype(np.float64)
    exact -= exact.max() + np.log(np.exp(exact - exact.max()).sum())
    asked: Arrays = {"logits": logits, "rows": np.zeros(1, np.int64)}
    asked |= adjustments(np.random.default_rng(0), 1, tokens, 0)
    ranked: Arrays = {**asked, "normalised": np.ones(1, np.int32), "count": np.array([64])}
    drawn = {name: np.full(1, 0.5, np.float32) for name in ("temperatures", "uniforms")}
    likeliest = Operator("Likeliest", {"logits": logits}, {}, outputs=2, size=1)
    best, logprobs = likeliest.by_kernel(level)
    ranking, scores, of_ranking = Operator("Candidates", ranked, {}, outputs=3).by_kernel(level)
    token, of_token, _ = Operator("Draw", {**asked, **drawn}, {}, outputs=3).by_kernel(level)
    for tokens_found, found in (
        (best[0], logprobs[0]),
        (ranking[0], scores[0]),
        (ranking[0], of_ranking[0]),
        (token, of_token),
    ):
        np.testing.assert_allclose(found, exact[tokens_found], rtol=0, atol=2e-6)


@each_level
def test_candidates_of_equal_scores_are_the_first_tokens(level: str) -> None:
    """Also where every vector ties with the worst so far, and where all are banned."""
    logits = np.zeros((1, 1, 100), np.float32)
    logits[0, 0, [97, 40]] = 1.0
    for height in (0.0, -np.inf):
        inputs = {
            "logits": np.where(logits == 0.0, np.float32(height), logits),
            "rows": np.zeros(1, np.int64),
            **adjustments(np.random.default_rng(0), 1, 100, 0),
            "normalised": np.zeros(1, np.int32),
            "count": np.array([5]),
        }
        best, _, _ = Operator("Candidates", inputs, {}, outputs=3).by_kernel(level)
        assert best.tolist() == [[40, 97, 0, 1, 2]]


@each_level
@some
@given(seeds, st.integers(1, 5), st.integers(1, 3000), st.integers(0, 40))
def test_drawn_tokens(level: str, seed: int, rows: int, tokens: int, many: int) -> None:
    random = np.random.default_rng(seed)
    operator = Operator(
        "Draw",
        {
            "logits": 5 * normal(random, 3, 1, tokens),
            "rows": random.integers(0, 3, rows),
            **adjustments(random, rows, tokens, min(many, tokens - 1)),
            "temperatures": random.uniform(0.2, 3.0, rows).astype(np.float32),
            "uniforms": random.uniform(1e-3, 1 - 1e-3, rows).astype(np.float32),
        },
        {},
        outputs=3,
    )
    drawn, logprobs, totals = operator.by_kernel(level)
    expected_drawn, expected_logprobs, expected_totals = operator.by_definition()
    np.testing.assert_allclose(totals, expected_totals, rtol=1e-5, atol=1e-5)
    same = drawn == expected_drawn
    np.testing.assert_allclose(logprobs[same], expected_logprobs[same], rtol=1e-5, atol=2e-5)
    others = _cumulative(operator.inputs)
    for row in np.flatnonzero(~same):  # the number lies on the edge between two tokens
        edges = others[row, [drawn[row], expected_drawn[row]]].min()
        assert edges == pytest.approx(operator.inputs["uniforms"][row], abs=1e-5)


def _cumulative(inputs: Arrays) -> np.ndarray:
    """Cumulative probabilities of the tokens of each row, in float64."""
    x = inputs["logits"][inputs["rows"], 0].astype(np.float64)
    for row, tokens in enumerate(inputs["tokens"]):
        biased = x[row, tokens] + inputs["biases"][row]
        penalties = inputs["penalties"][row]
        x[row, tokens] = np.where(biased < 0, biased * penalties, biased / penalties)
    weights = np.exp((x - x.max(axis=1, keepdims=True)) / inputs["temperatures"][:, None])
    summed: np.ndarray = weights.cumsum(axis=1) / weights.sum(axis=1, keepdims=True)
    return summed


@each_level
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rows": np.array([3])}, "rows must be indices of logits"),
        ({"tokens": np.array([[9]])}, "tokens must be from 0 to the last of logits"),
        ({"count": np.array([10])}, "count must be from 1 to the number of tokens"),
    ],
)
def test_what_candidates_do_not_take(level: str, wrong: Arrays, message: str) -> None:
    inputs = {
        "logits": np.zeros((3, 1, 9), np.float32),
        "rows": np.array([2]),
        "tokens": np.array([[8]]),
        "biases": np.zeros((1, 1), np.float32),
        "penalties": np.ones((1, 1), np.float32),
        "normalised": np.zeros(1, np.int32),
        "count": np.array([9]),
        **wrong,
    }
    with pytest.raises(Exception, match=message):
        Operator("Candidates", inputs, {}, outputs=3).by_kernel(level)
