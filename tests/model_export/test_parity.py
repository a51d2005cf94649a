"""The comparison with PyTorch sees what tokens alone do not show."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from engine.bundle import Limits
from engine.contracts import Hypothesis
from model_export.assembly import Identity
from model_export.bundle import write_bundle
from model_export.checkpoint.reading import read_checkpoint
from model_export.parity import ParityError, compare
from model_export.reference import Answer
from tests.model_export.family import write_member
from tests.model_export.test_family import sources_for


def hypothesis(tokens: list[int], logprobs: list[float]) -> Hypothesis:
    """Return an answer whose runners-up are two tenths less likely."""
    return Hypothesis(tokens, logprobs, [9] * len(logprobs), [value - 0.2 for value in logprobs])


def test_log_probabilities_are_compared_up_to_the_first_other_token() -> None:
    found = [hypothesis([4, 5], [-1.0, -2.0, -0.5]), hypothesis([4, 7], [-1.0, -2.0, -9.0])]
    expected = [Answer([4, 5], [-1.0, -2.25, -0.5]), Answer([4, 8], [-1.125, -7.0, -1.0])]
    comparison = compare(found, expected)
    assert (comparison.questions, comparison.equal, comparison.different) == (2, 1, 1)
    assert comparison.logprob_difference == 0.25


@pytest.mark.parametrize("whose", ["the engine's", "PyTorch's"])
def test_nan_is_an_error_and_not_an_agreement(whose: str) -> None:
    """Both take the argmax of NaN: their tokens are equal."""
    ours, theirs = ((math.nan if name == whose else -1.0) for name in ("the engine's", "PyTorch's"))
    found, expected = [hypothesis([4], [-1.0, ours])], [Answer([4], [-1.0, theirs])]
    with pytest.raises(ParityError, match=f"{whose} log-probability of token 1 of answer 0 is nan"):
        compare(found, expected)


def test_right_tokens_with_wrong_probabilities_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An mT5 that is read as the first T5 is: its head scaled, its tokens right."""
    folder = write_member("mT5, saved by transformers 5", tmp_path / "checkpoint")
    read = read_checkpoint(folder)
    misread = replace(read, config=replace(read.config, scale_decoder_outputs=True))
    monkeypatch.setattr("model_export.bundle.read_checkpoint", lambda _: misread)
    identity = Identity("member", "1", "none", "text", Limits(64, 8), {})
    sources = sources_for(3_000, 1)[:8]
    with pytest.raises(ParityError, match=r"log-probabilities differ from PyTorch's by up to \d"):
        write_bundle(folder, tmp_path / "out", identity, sources, lambda _: "card\n")
    assert not (tmp_path / "out").exists()
