"""The research's figure: what one pass that is told the answer gets right."""

from pathlib import Path

import pytest
import torch

from equations.verify import Verdict
from tests.training.flan import characters, write_flan
from training.data import Problem
from training.errors import RunError
from training.evaluate import load_model
from training.finetune.examples import Examples
from training.finetune.tasks import Equations
from training.markdown import markdown
from training.prediction import Prediction
from training.publish import summary
from training.report import report
from training.teacher_forced import with_teacher_forced


@pytest.mark.parametrize("first", ["<pad>", "1"])
def test_the_right_answer_s_probability_is_the_loss_and_needs_no_neighbours(
    tmp_path: Path, problems: list[Problem], first: str
) -> None:
    """Also in a vocabulary whose id 0 is no padding."""
    tokenizer = characters(first)
    tokens = {
        f"{role}_token_id": tokenizer.token_to_id(token)
        for role, token in (("pad", "<pad>"), ("eos", "</s>"))
    }
    folder = write_flan(tmp_path, tokenizer, 120, **tokens)
    model = load_model(folder, teacher_forced=True)
    made = model.predict(problems[:40])  # more than one batch
    examples = Examples(problems[:40], tokenizer, Equations("text", {}, [], []).pair)
    for index, prediction in enumerate(made):
        chosen = torch.tensor([index]).numpy()
        inputs = examples.collate(chosen)
        assert inputs["attention_mask"].all()
        with torch.no_grad():
            loss = model.model(**inputs).loss.item()  # type: ignore[attr-defined]
        expected = -loss * examples.label_tokens(chosen)
        assert prediction.expected_logprob == pytest.approx(expected, abs=1e-3)
        assert prediction.teacher_forced is not None
    assert len({prediction.teacher_forced for prediction in made}) > 5


def test_it_is_told_the_beginning_of_the_answer(tmp_path: Path) -> None:
    """A model that repeats the token before: right here only by the luck of `11`'s second digit."""
    tokenizer = characters()
    folder = write_flan(tmp_path, tokenizer, 120)
    model = load_model(folder, teacher_forced=True)
    with torch.no_grad():
        t5 = model.model  # type: ignore[attr-defined]
        for parameter in t5.decoder.parameters():
            parameter.zero_()
        t5.decoder.final_layer_norm.weight.fill_(1.0)
        table = torch.zeros(120, 16)
        for place, token in enumerate("0123456789"):
            table[tokenizer.token_to_id(token), place] = 1.0
        t5.shared.weight.copy_(table)
        t5.lm_head.weight.copy_(table)
    (prediction,) = model.predict([Problem("Solve x = 22 for x.", "22")])
    assert prediction.teacher_forced == "22"  # after 2 it says 2, and at the end 2 again
    assert not prediction.exact


def test_reports_name_it(problems: list[Problem]) -> None:
    right = Prediction(Problem("Solve 2*x = 6 for x.", "3"), "3", "3", Verdict.CORRECT)
    wrong = Prediction(
        Problem("Solve 2*x = 8 for x.", "4"), "3", "3", Verdict.WRONG, -1.0,
        teacher_forced="4", expected_logprob=-2.0,
    )  # fmt: skip
    figures = report([("interpolate", [wrong])])
    forced = figures["splits"]["interpolate"]["teacher_forced"]
    assert (forced["exact_match"], forced["expected_logprob"]) == (1.0, -2.0)
    assert figures["exact_match"] == 0.0
    assert summary(figures)["teacher_forced"] == {"interpolate": 1.0}
    assert "## Teacher-forced, as the research scored" in markdown(figures, {})
    without = report([("interpolate", [right])])
    assert without["splits"]["interpolate"]["teacher_forced"] is None
    assert "Teacher-forced" not in markdown(without, {})


def test_worked_forms_have_no_one_right_text(tmp_path: Path, bundle: Path) -> None:
    with pytest.raises(RunError, match="needs bare answers"):
        with_teacher_forced(object(), characters(), [], "digits")
    with pytest.raises(RunError, match="is a bundle"):
        load_model(bundle, teacher_forced=True)
