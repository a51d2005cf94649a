"""The pure parts of the comparison of engines."""

import itertools
import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.comparison.figures import medians
from bench.comparison.report import Conditions
from bench.engines.__main__ import main
from bench.engines.candidate.rows import padded, until_end
from bench.engines.comparison import Result, Results
from bench.engines.entries import Layout, OursEntry, entries, layouts
from bench.engines.figures import Figures, figures
from bench.engines.flops import ModelShape, flops
from bench.engines.machine import Sgemm
from bench.engines.report import Run, details, line, tables
from bench.engines.scenarios import poisson, scenarios, split, take

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=80)


def test_arrivals_are_a_poisson_process_and_repeatable() -> None:
    arrivals = poisson(50.0, 4000, seed=1)
    gaps = [later - sooner for sooner, later in itertools.pairwise(arrivals)]
    assert arrivals[0] == 0
    assert min(gaps) >= 0
    # Exponential gaps: mean and standard deviation are both 1 / rate.
    assert statistics.mean(gaps) == pytest.approx(1 / 50, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(1 / 50, rel=0.05)
    assert poisson(50.0, 4000, seed=1) == arrivals
    assert poisson(50.0, 4000, seed=2) != arrivals


@given(lengths, st.integers(1, 6))
def test_a_split_assigns_every_row_once_by_length(rows: list[int], parts: int) -> None:
    """Each piece is a run of the sorted rows, within one row of its share of all tokens."""
    pieces = split(rows, parts)
    assert sorted(i for piece in pieces for i in piece) == list(range(len(rows)))
    assert 0 < len(pieces) <= parts
    order = [rows[i] for piece in pieces for i in piece]
    assert order == sorted(order)
    share = sum(rows) / parts
    assert all(sum(rows[i] for i in piece) <= share + max(rows) for piece in pieces)


@given(lengths, st.integers(1, 40))
def test_a_free_worker_takes_the_oldest_question_and_those_nearest_in_length(
    waiting: list[int], most: int
) -> None:
    taken = take(waiting, most)
    assert taken[0] == 0
    assert len(taken) == min(most, len(waiting))
    farthest = max(abs(waiting[i] - waiting[0]) for i in taken)
    left = set(range(len(waiting))) - set(taken)
    assert all(abs(waiting[i] - waiting[0]) >= farthest for i in left)


def test_figures_of_a_round_and_their_medians() -> None:
    one = figures([0.1, 0.3, 0.2], questions=24, wall_s=0.6, single_s=0.05)
    assert one.per_s == pytest.approx(40)
    assert replace(one, per_s=40) == Figures(40, p50_ms=200, p99_ms=300, single_ms=50)
    slow, fast = Figures(1, 900, 999), Figures(90, 1, 2)
    assert medians([slow, Figures(40, 20, 30), fast]) == Figures(40, 20, 30)


def test_flops_of_a_small_case_by_hand() -> None:
    """d=2, one head of 3, d_ff=5, gated, one layer each, 7 tokens to choose from; 2 in, 2 steps.

    Encoder, a token: q, k, v, o 4*6; scores and mix over 2 keys 2*2*3; three products of 2*5: 66,
    two of them 132. Cross keys and values of 2 tokens: 2*2*6 = 24. A step: q, k, v, o and q, o
    6*6; over 2 source keys 2*2*3; 30: 78, two of them 156; own keys of both steps 2*3*(1+2) = 18.
    Head: 2 steps * 2 * 7 = 28. Sum 358 multiply-adds.
    """
    shape = ModelShape(2, 3, 5, True, 1, 1, 7)
    assert flops(shape, source=2, steps=2) == 2 * 358


def test_a_shape_is_read_from_a_configuration() -> None:
    config = {
        "d_model": 512, "d_kv": 64, "num_heads": 6, "d_ff": 1024, "num_layers": 8,
        "num_decoder_layers": 8, "feed_forward_proj": "gated-gelu", "vocab_size": 32128,
    }  # fmt: skip
    expected = ModelShape(512, 384, 1024, True, 8, 8, 32100)
    assert ModelShape.of(config, suppressed=28) == expected


def test_sources_are_padded_and_answers_end_before_the_end_token() -> None:
    assert padded([[5, 6], [7]], pad=0) == ([[5, 6], [7, 0]], [[1, 1], [1, 0]])
    assert until_end([[4, 1, 0], [4, 5, 6]], end=1) == [[4], [4, 5, 6]]


def run() -> Run:
    layout = Layout(2, 1)
    batch = {
        "pytorch": Result(layout, Figures(50, 600, 700), 0.1),
        "ours-fp32": Result(layout, Figures(200, 150, 160), 0.4),
    }
    stream = {"ours-fp32": Result(layout, Figures(139, 30, 60, single_ms=20), 0.3)}
    results = Results(
        scenarios={"batch-32": batch, "stream-70": stream},
        agreement={"pytorch": 1.0, "ours-fp32": 1.0},
        excluded={"optimum": "answers 3 of 9 differently"},
        versions={"pytorch": "torch 9"},
        rates={"stream-70": 140.0},
        sgemm=[Sgemm(50e9, 99e9), Sgemm(52e9, 101e9), Sgemm(10e9, 20e9)],
    )
    conditions = Conditions("2 cores", "abc", "python -m bench.engines", rounds=3)
    return Run(conditions, "ours-fp32", {"mini": results})


def test_the_last_line_has_three_figures_for_every_engine() -> None:
    found = line(run())
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {"machine", "commit", "scenarios"}
    assert list(found["scenarios"]) == ["mini/batch-32", "mini/stream-70"]
    assert found["scenarios"]["mini/batch-32"]["pytorch"] == {
        "per_s": 50, "p50_ms": 600, "p99_ms": 700,
    }  # fmt: skip


def test_tables_show_ratios_and_exclusions() -> None:
    text = tables(run())
    assert "| pytorch | 2x1 | 50.0 | 600.0 | 700.0 | 0.25 | 10.0% |" in text
    assert "| ours-fp32 | 2x1 | 139.0 | 30.0 | 60.0 | 1.00 | 30.0% | 20.0 | 3.0 |" in text
    assert "optimum answers 3 of 9 differently." in text
    assert "50.0 GFLOP/s on one core, 99.0 on all" in text  # medians
    assert details(run())["scenarios"]["mini/stream-70"]["ours-fp32"]["layout"] == "2x1"


def test_tables_warn_of_a_busy_machine() -> None:
    busy = run()
    assert "busy" not in tables(busy)
    busy.workloads["mini"].sgemm[:] = [Sgemm(50e9, 3e9)]
    assert "the machine was busy" in tables(busy)


def test_a_given_bundle_becomes_an_entry() -> None:
    """Such as ours in int8: nothing but its label and folder are new."""
    int8 = OursEntry.read("int8=models/small")
    found = entries([int8], Path("python"), layouts(2))[-1]
    assert (found.label, found.exact, found.shapes) == ("ours-int8", False, ("mini",))
    assert found.options == {"bundle": "models/small"}
    assert [str(layout) for layout in found.layouts] == ["1x2", "2x1"]
    assert layouts(1) == [Layout(1, 1)]


def test_a_shape_without_any_of_the_named_scenarios_is_rejected(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Names of two `--only` add up: `bench.engines.by_level` adds its engines to the caller's."""
    assert main(["--only", "flan-small-long", "--only", "batch-128", "ours-int8"]) == 1
    assert capsys.readouterr().err == (
        "error: --only: no scenario of flan-small-long; "
        "expected some of batch-1, batch-8, batch-32, stream-saturated\n"
    )


def test_long_texts_have_fewer_questions_than_short_ones() -> None:
    for quick in (True, False):
        short, long = (scenarios(shape, quick=quick) for shape in ("mini", "flan-base-long"))
        assert {one.name for one in long} < {one.name for one in short}
        assert max(one.questions for one in long) < max(one.questions for one in short)
        assert max(one.questions for one in long) <= 96


def test_an_unknown_name_is_rejected_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "mini", "batch-7"]) == 1
    assert capsys.readouterr().err.startswith("error: --only batch-7: expected some of pytorch, ")
