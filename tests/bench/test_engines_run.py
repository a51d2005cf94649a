"""The comparison of engines through real processes, on a tiny model of random weights."""

import functools
import operator
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import T5Config

from bench.comparison.report import Conditions
from bench.engines import plot, report
from bench.engines.candidate.serving import Pool
from bench.engines.comparison import Comparison
from bench.engines.entries import OURS, Entry, Layout, entries
from bench.engines.machine import Sgemm
from bench.engines.random_weights import write_random
from bench.engines.scenarios import Batches, Stream
from bench.engines.workloads import Workload, prepare

SCENARIOS = (
    Batches("batch-3", 3, 2),
    Stream("stream-saturated", 10, None),
    Stream("stream-70", 8, 0.7),
)
SOURCES = [[2 + (7 * row + 11 * i * i) % 57 for i in range(3 + row % 5)] for row in range(30)]


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    folder = tmp_path_factory.mktemp("workload")
    config = T5Config(
        vocab_size=60, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_decoder_layers=2, num_heads=2,
        dropout_rate=0.0, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        initializer_factor=3.0, pad_token_id=0, eos_token_id=59, decoder_start_token_id=0,
    )  # fmt: skip
    write_random(config, folder / "checkpoint", steps=4)
    found = prepare("tiny", folder / "checkpoint", SOURCES, folder / "cache", count=20)
    assert len({tuple(answer) for answer in found.answers}) > 5  # questions have different answers
    assert {len(answer) for answer in found.answers} == {4}
    return found


def compare(workload: Workload, out: Path, said: list[str]) -> Comparison:
    return Comparison(
        workload,
        out,
        ours="ours-fp32",
        rate_per_s=None,
        say=said.append,
        peak=lambda: Sgemm(1e9, 2e9),
        settle_s=0.0,
    )


def in_repository(layouts: Sequence[Layout]) -> list[Entry]:
    """PyTorch, and ours in fp32 and int8."""
    every = entries(OURS, Path(sys.executable), layouts)
    return [entry for entry in every if entry.engine in ("pytorch", "ours")]


def test_engines_take_turns(workload: Workload, tmp_path: Path) -> None:
    said: list[str] = []
    comparison = compare(workload, tmp_path, said)
    try:
        for entry in in_repository([Layout(1, 1)]):
            comparison.admit(entry)
        for scenario in SCENARIOS:
            comparison.run(scenario, rounds=2)
    finally:
        comparison.close()
    results = comparison.results
    assert results.excluded == {}
    assert results.agreement.pop("ours-int8") > 0.5
    assert results.agreement == {"pytorch": 1.0, "ours-fp32": 1.0}
    turns = ["pytorch", "ours-fp32", "ours-int8"] * 2
    assert [text.split(":")[1].split()[0] for text in said[:6]] == turns
    saturated = results.scenarios["stream-saturated"]["ours-fp32"].figures
    assert results.rates == {"stream-70": pytest.approx(0.7 * saturated.per_s)}
    conditions = Conditions("here", None, "test", rounds=2)
    run = report.Run(conditions, "ours-fp32", {"tiny": results})
    assert set(report.line(run)["scenarios"]) == {f"tiny/{one.name}" for one in SCENARIOS}
    for found in report.line(run)["scenarios"].values():
        assert set(found) == {"pytorch", "ours-fp32", "ours-int8"}
        assert all(one["per_s"] > 0 and one["p99_ms"] >= one["p50_ms"] for one in found.values())
    assert results.scenarios["stream-70"]["ours-fp32"].figures.single_ms is not None
    plot.draw(run, tmp_path / "engines.png")
    assert (tmp_path / "engines.png").read_bytes().startswith(b"\x89PNG")


def test_ours_divides_batches_among_workers(workload: Workload, tmp_path: Path) -> None:
    comparison = compare(workload, tmp_path, [])
    try:
        comparison.admit(in_repository([Layout(2, 1)])[1])
        comparison.run(SCENARIOS[1], rounds=1)
    finally:
        comparison.close()
    assert comparison.results.agreement == {"ours-fp32": 1.0}
    assert list(comparison.results.scenarios["stream-saturated"]) == ["ours-fp32"]


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_pool_returns_answers_in_the_order_of_their_sources(kind: str) -> None:
    """The engine here echoes its sources."""
    echo = functools.partial(operator.itemgetter, slice(None))  # () -> (rows -> rows)
    pool = Pool.of_threads(2, echo()) if kind == "threads" else Pool.of_processes(2, echo)
    with pool:
        assert pool.answer(SOURCES) == SOURCES
        arrivals_s = [0.0] * 20 + [0.02] * 10
        latencies_s = pool.stream(SOURCES, arrivals_s)
    assert len(latencies_s) == len(SOURCES)
    assert min(latencies_s) > 0  # none is answered before it arrives


def test_engines_with_wrong_answers_or_no_interpreter_are_excluded(
    workload: Workload, tmp_path: Path
) -> None:
    wrong = replace(workload, answers=[[3], *workload.answers[1:]])
    said: list[str] = []
    comparison = compare(wrong, tmp_path, said)
    ours = in_repository([Layout(1, 1)])[1]
    try:
        comparison.admit(ours)
        comparison.admit(replace(ours, label="absent", python=tmp_path / "python"))
        comparison.admit(replace(ours, label="rounded", exact=False))
        comparison.run(SCENARIOS[0], rounds=1)
        comparison.run(SCENARIOS[2], rounds=1)
    finally:
        comparison.close()
    results = comparison.results
    assert results.excluded["ours-fp32"] == "answers 1 of 20 differently"
    assert results.excluded["absent"].endswith("`make bench` installs it")
    assert results.agreement == {"rounded": 0.95}
    assert list(results.scenarios["batch-3"]) == ["rounded"]
    assert said[-1].startswith("stream-70 left out")


def test_an_engine_in_int8_is_excluded_where_its_answers_are_wrong_from_the_start(
    workload: Workload, tmp_path: Path
) -> None:
    rounded = in_repository([Layout(1, 1)])[2]
    first, *others = workload.answers
    none = first[:0]  # PyTorch's answer may have no token: the model may end at once
    late = replace(workload, answers=[none, *([*answer[:-1], 3] for answer in others)])
    found = {}
    for name, wrong in (
        ("all", replace(workload, answers=[none, *[[3]] * len(others)])),
        ("late", late),
    ):
        comparison = compare(wrong, tmp_path / name, [])
        try:
            comparison.admit(rounded)
        finally:
            comparison.close()
        found[name] = comparison.results
    assert found["all"].excluded == {
        "ours-int8": "writes only 0.0% of the tokens before another than PyTorch's"
    }
    assert not found["late"].excluded
    assert found["late"].agreement == {"ours-int8": 0.0}
