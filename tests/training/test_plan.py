"""The steps of a fine-tuning run, planned without a model."""

import argparse

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import RunError
from training.finetune.command import add_arguments, settings_of
from training.finetune.examples import Order
from training.finetune.plan import PRESETS, Phase, Plan, Settings, read_phases

PLAN = Plan((Phase(3, 3e-4), Phase(2, 1e-4)), steps_per_epoch=100)
phases = st.lists(
    st.builds(Phase, st.integers(1, 4), st.floats(1e-6, 1.0)), min_size=1, max_size=3
).map(tuple)


def test_the_research_s_two_phases() -> None:
    assert PLAN.steps == 500
    assert [PLAN.lr(step) for step in (0, 150, 299, 300, 400, 499)] == pytest.approx(
        [3e-4, 1.5e-4, 1e-6, 1e-4, 5e-5, 5e-7]
    )
    assert [step for step in range(501) if PLAN.begins_phase(step)] == [0, 300]
    assert [steps for steps in range(1, 501) if PLAN.ends_epoch(steps)] == [100, 200, 300, 400, 500]
    assert PLAN.lr(500) == 0


@given(phases, st.integers(1, 50))
def test_a_rate_falls_within_a_phase_and_never_to_nothing(
    given_phases: tuple[Phase, ...], steps_per_epoch: int
) -> None:
    plan = Plan(given_phases, steps_per_epoch)
    rates = [plan.lr(step) for step in range(plan.steps)]
    assert min(rates) > 0
    begins = [step for step in range(plan.steps) if plan.begins_phase(step)]
    assert [rates[step] for step in begins] == pytest.approx([p.lr for p in given_phases])
    falls = [step for step in range(1, plan.steps) if step not in begins]
    assert all(rates[step] < rates[step - 1] for step in falls)


@given(st.integers(1, 200), st.integers(1, 20), st.integers(0, 5), st.integers(0, 60))
def test_an_epoch_has_every_example_once_and_can_be_joined_anywhere(
    count: int, batch_size: int, seed: int, step: int
) -> None:
    lengths = np.random.default_rng(seed).integers(5, 40, count)
    if count < batch_size:
        with pytest.raises(RunError, match=f"expected a batch of {batch_size}"):
            Order(lengths, batch_size, seed)
        return
    order = Order(lengths, batch_size, seed)
    stream = order.after(0)
    batches = [next(stream) for _ in range(order.steps_per_epoch + step + 1)]
    first = np.concatenate(batches[: order.steps_per_epoch])
    assert len(set(first.tolist())) == len(first) == count // batch_size * batch_size
    assert np.array_equal(next(order.after(step)), batches[step])


def test_like_lengths_share_a_batch() -> None:
    lengths = np.arange(1000) % 40
    batches = Order(lengths, 20, 0)._epoch(0)
    assert max(np.ptp(lengths[batch]) for batch in batches) <= 2


def parsed(*flags: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return settings_of(parser.parse_args(["--base", "b", *flags]))


def test_flags_go_over_the_preset() -> None:
    assert parsed() == Settings(base="b")
    assert parsed().phases == (Phase(3, 3e-4), Phase(2, 1e-4))
    small = parsed("--preset", "downsampled", "--batch-size", "256", "--spaced")
    assert (small.phases, small.batch_size) == ((Phase(3, 1e-4),), 256)
    assert (small.share, small.prompt_format) == (PRESETS["downsampled"]["share"], "spaced")
    assert parsed("--phases", "1:1e-3,2:5e-4").phases == (Phase(1, 1e-3), Phase(2, 5e-4))


@pytest.mark.parametrize("text", ["", "3", "3:", "0:1e-3", "1:-1e-3", "1:1e-3;2:1e-3"])
def test_phases_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(RunError, match="phases"):
        read_phases(text)
