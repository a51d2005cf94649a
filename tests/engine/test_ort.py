"""The engine on ONNX Runtime: rows that come and go do not disturb each other."""

from __future__ import annotations

import shutil
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from random import Random

import onnx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.bundle import DECODER, load_manifest
from engine.contracts import Answer, Decoding, Hypothesis, Prompt
from engine.echo import EchoEngine
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from model_export.assembly import Identity
from model_export.bundle import write_bundle

EOS = 1


@pytest.fixture(scope="session")
def int8_bundle(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bundle` in int8, whose cross-attention reads integers and their scales."""
    fp32, out = load_manifest(bundle), tmp_path_factory.mktemp("int8") / "bundle"
    identity = Identity("tiny", "0.0.1", "digits", "work", fp32.limits, {}, "int8")
    sources = [[2800 + number, EOS] for number in range(8)]
    write_bundle(
        bundle.parent / "checkpoint", out, identity, sources, lambda _: "card", least_equal=0.0
    )
    return out


@pytest.fixture(scope="session", params=["own kernels", "definitions", "int8"])
def model(bundle: Path, int8_bundle: Path, request: pytest.FixtureRequest) -> OrtModel:
    folder = int8_bundle if request.param == "int8" else bundle
    kernels = "none" if request.param == "definitions" else "auto"
    return OrtModel(folder, load_manifest(folder), threads=1, provider="cpu", kernels=kernels)


@cache
def alone(model: OrtModel, prompt: Prompt) -> Hypothesis:
    """Return the answer to a prompt from an engine of its own."""
    return generate(OrtEngine(model, rows=1), [prompt])[0].best


def prompts(random: Random) -> Prompt:
    """Return a prompt of a very different length, at times with a beginning of the answer."""
    source = tuple(random.randrange(2700, 4000) for _ in range(random.choice((1, 5, 17, 60))))
    forced = tuple(random.randrange(3, 50) for _ in range(random.choice((0, 0, 1, 4))))
    return Prompt((*source, EOS), forced)


def same(found: Hypothesis, expected: Hypothesis) -> bool:
    """Equal tokens; probabilities equal but for what the shape of a product does to rounding."""
    return (found.tokens, found.runners_up) == (expected.tokens, expected.runners_up) and (
        found.logprobs == pytest.approx(expected.logprobs, abs=1e-3, nan_ok=True)
    )


@hypothesis_settings(max_examples=25)
@given(st.integers(0, 10**9), st.integers(1, 6))
def test_no_schedule_changes_an_answer(model: OrtModel, seed: int, rows: int) -> None:
    """Whatever shares the engine, whenever a row joins, whoever leaves."""
    random = Random(seed)
    engine = OrtEngine(model, rows=rows)
    waiting = {number: prompts(random) for number in range(12)}
    asked = dict(waiting)
    finished: dict[Hashable, Answer] = {}
    left: set[Hashable] = set()
    while waiting or engine.active:
        some = random.sample(sorted(waiting), min(len(waiting), rows - engine.active))
        joining: dict[Hashable, Prompt] = {
            number: waiting.pop(number) for number in some[: random.randint(0, rows)]
        }
        if joining:
            engine.join(joining)
        finished |= engine.step()
        under_way = set(asked) - set(waiting) - set(finished) - left
        if under_way and random.random() < 0.1:
            leaving = random.choice(sorted(under_way, key=str))
            engine.leave([leaving])
            left.add(leaving)
    assert set(finished) | left == set(asked)
    for number, answer in finished.items():
        assert same(answer.best, alone(model, asked[int(str(number))]))


def test_an_answer_begins_as_it_is_made_to(model: OrtModel) -> None:
    greedy = alone(model, Prompt((2800, 2900, EOS)))
    forced = alone(model, Prompt((2800, 2900, EOS), (*greedy.tokens[:3], greedy.runners_up[3])))
    assert forced.tokens[:3] == greedy.tokens[:3]
    assert forced.tokens[3] == greedy.runners_up[3] != greedy.tokens[3]
    assert forced.logprobs[3] == pytest.approx(greedy.runner_up_logprobs[3], abs=1e-4)
    assert forced.runners_up[3] == greedy.tokens[3]
    assert alone(model, Prompt((2800, 2900, EOS), tuple(greedy.tokens))) == greedy


def test_a_forced_end_ends(model: OrtModel) -> None:
    assert alone(model, Prompt((2800, EOS), (5, EOS))).tokens == [5]


def test_the_runner_up_is_less_likely(model: OrtModel) -> None:
    greedy = alone(model, Prompt((2800, 2900, EOS)))
    pairs = zip(greedy.logprobs, greedy.runner_up_logprobs, strict=True)
    assert all(0 > best >= runner_up for best, runner_up in pairs)


def test_more_prompts_than_free_rows_are_refused(model: OrtModel) -> None:
    engine = OrtEngine(model, rows=1)
    engine.join({"a": Prompt((2800, EOS))})
    with pytest.raises(ValueError, match="1 rows for 0 free ones"):
        engine.join({"b": Prompt((2800, EOS))})
    engine.clear()
    assert engine.active == 0
    assert engine.step() == {}


def test_a_prompt_of_more_rows_than_the_engine_has_is_refused() -> None:
    """No step makes room for it, so that decoding would never end."""
    prompts = [Prompt((5, 1)), Prompt((5, 1), (), Decoding(num_beams=2))]
    with pytest.raises(ValueError, match="a prompt of 2 rows; the engine has 1"):
        generate(EchoEngine(rows=1), prompts)


def test_many_long_sources_are_read_in_several_calls(model: OrtModel) -> None:
    random = Random(4)
    prompts = [
        Prompt((*(random.randrange(2700, 4000) for _ in range(length)), EOS))
        for length in (1400, 1400, 1400, 3)
    ]
    together = generate(OrtEngine(model, rows=4), prompts)
    for answer, prompt in zip(together, prompts, strict=True):
        assert same(answer.best, alone(model, prompt))


def test_an_answer_may_be_kept_short(model: OrtModel) -> None:
    source = (2800, 2900, EOS)
    greedy = alone(model, Prompt(source))
    short = alone(model, Prompt(source, decoding=Decoding(max_new_tokens=2)))
    assert short.tokens == greedy.tokens[:2]
    assert not short.ended
    assert alone(model, Prompt(source, decoding=Decoding(max_new_tokens=1000))) == greedy


def test_a_cache_of_a_fixed_size_is_taken_as_it_is(bundle: Path, tmp_path: Path) -> None:
    """Graphs of format 4 have as many columns as the longest answer that is allowed."""
    fixed = tmp_path / "bundle"
    shutil.copytree(bundle, fixed)
    graph = onnx.load(fixed / DECODER)
    limit = load_manifest(bundle).limits.max_new_tokens
    for value in (*graph.graph.input, *graph.graph.output):
        if value.name.startswith(("key.", "value.", "new_")):
            value.type.tensor_type.shape.dim[2].dim_value = limit
    onnx.save(graph, fixed / DECODER)
    manifest, prompt = load_manifest(bundle), Prompt((2800, 2900, EOS))
    answers = [
        alone(OrtModel(folder, manifest, threads=1, provider="cpu"), prompt)
        for folder in (bundle, fixed)
    ]
    assert len(answers[0].tokens) == limit
    assert same(*answers)


def test_what_is_written_so_far(model: OrtModel) -> None:
    source = (2800, 2900, EOS)
    greedy = alone(model, Prompt(source))
    engine = OrtEngine(model, rows=2)
    engine.join({"other": Prompt((2700, EOS)), "this": Prompt(source)})
    for steps in range(1, len(greedy.tokens)):
        engine.step()
        for since in range(steps + 1):
            tokens, logprobs, _ = engine.written("this", since)
            assert tokens == greedy.tokens[since:steps]
            assert logprobs == greedy.logprobs[since:steps]
