"""Checkpoints that answer: ours, and T5s that read the question as text."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from equations.parser import parse
from equations.prompt import write_digits
from equations.verify import Verdict
from tests.training.flan import T5_EMBEDDINGS, T5_TOKENIZER
from training.checkpoint import format_of, load
from training.data import Problem
from training.errors import RunError
from training.evaluate import generate, load_model
from training.model import PRESETS, SmallT5, save_plain
from training.vocabulary import EOS_ID, Vocabulary

OTHER_END = 3  # the first token of worked forms


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ours")
    torch.manual_seed(0)
    vocabulary = Vocabulary.digits()
    model = SmallT5(PRESETS["test"], vocabulary).plain()
    model.generation_config.max_new_tokens = 8
    save_plain(model, vocabulary.tokenizer(), folder)
    return folder


@pytest.fixture(scope="module")
def flan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a T5 of random weights with T5's tokenizer."""
    folder = tmp_path_factory.mktemp("flan")
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=T5_EMBEDDINGS, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
        decoder_start_token_id=0, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)
    shutil.copyfile(T5_TOKENIZER, folder / "tokenizer.json")
    return folder


@pytest.mark.parametrize(("limit", "end"), [(1, EOS_ID), (8, EOS_ID), (8, OTHER_END)])
def test_the_logprob_is_that_of_a_teacher_forced_pass(
    ours: Path, problems: list[Problem], limit: int, end: int
) -> None:
    """Over the tokens that may be written, the end token included, and no padding."""
    model, tokenizer = load(ours)
    model.generation_config.max_new_tokens = limit
    model.generation_config.eos_token_id = end
    with torch.no_grad():
        model.lm_head.weight[end] *= -6  # often the likeliest: rows end at many lengths
    forbidden = model.generation_config.suppress_tokens
    assert end not in forbidden
    forbidden += [EOS_ID] * (end != EOS_ID)
    sources = [tokenizer.encode(write_digits(parse(p.question))).ids for p in problems[:60]]
    written = generate(model, tokenizer, sources)
    lengths = set()
    for source, (text, logprob) in zip(sources, written, strict=True):
        tokens = [tokenizer.token_to_id(token) for token in text.split()]
        lengths.add(len(tokens))
        target = torch.tensor([tokens + [end] * (len(tokens) < limit)])
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([source]), labels=target).logits[0]
        logits[:, forbidden] = -torch.inf
        expected = logits.log_softmax(-1).gather(1, target.T).sum().item()
        assert logprob == pytest.approx(expected, abs=1e-3)
    assert limit == 1 or len(lengths) > 2


def test_answers_do_not_depend_on_the_batch(ours: Path, problems: list[Problem]) -> None:
    model = load_model(ours)
    together = model.predict(problems[:4])
    assert [prediction.problem for prediction in together] == problems[:4]
    alone = [model.predict([problem])[0] for problem in problems[:4]]
    assert [p.text for p in alone] == [p.text for p in together]


def test_a_question_beyond_the_prompt_is_answered_with_nothing(ours: Path) -> None:
    (prediction,) = load_model(ours).predict([Problem("Solve x = 1234567890123 for x.", "1")])
    assert (prediction.text, prediction.answer, prediction.logprob) == ("", None, None)
    assert prediction.verdict is Verdict.WRONG


def test_a_t5_reads_text_and_writes_a_bare_answer(flan: Path, problems: list[Problem]) -> None:
    model, tokenizer = load(flan)
    assert format_of(model, tokenizer) == "text"
    assert format_of(model, Vocabulary.digits().tokenizer()) == "digits"
    predictions = load_model(flan).predict(problems[:3])
    ids = tokenizer.encode(problems[0].question).ids
    ((text, _),) = generate(model, tokenizer, [ids])
    assert predictions[0].text == text
    for prediction in predictions:
        assert prediction.answer == (prediction.text.strip() or None)
        assert prediction.logprob is not None
        assert prediction.logprob < 0


def test_a_t5_that_has_learnt_one_answer(flan: Path, tmp_path: Path) -> None:
    """It learns by heart in a few steps: what it writes is decoded and compared as served."""
    model, tokenizer = load(flan)
    problem = Problem("Solve -11*y - 263*y + 3162 = -88*y for y.", "17")
    source, target = (
        torch.tensor([tokenizer.encode(text).ids]) for text in (problem.question, problem.answer)
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-2)
    for _ in range(12):
        model.zero_grad()
        model(input_ids=source, labels=target).loss.backward()
        optimiser.step()
    model.save_pretrained(tmp_path)
    shutil.copyfile(T5_TOKENIZER, tmp_path / "tokenizer.json")
    (prediction,) = load_model(tmp_path, prompt_format="text").predict([problem])
    assert prediction.answer == "17"
    assert prediction.exact
    assert prediction.verdict is Verdict.CORRECT


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ([], "has no config.json"),
        (["config.json"], "no model_type; expected t5, mt5, umt5"),
        (["manifest.json"], "not a manifest"),
    ],
)
def test_a_folder_without_a_checkpoint_is_refused(
    tmp_path: Path, files: list[str], complaint: str
) -> None:
    for name in files:
        (tmp_path / name).write_text(json.dumps({}))
    with pytest.raises(RunError, match=complaint):
        load_model(tmp_path)


def test_a_bundle_is_scored_as_it_is_served(bundle: Path, problems: list[Problem]) -> None:
    """Random weights: every answer is wrong, each is judged, and all of its doubts are there."""
    asked = [*problems[:8], Problem("Solve x = 1234567890123 for x.", "1234567890123")]
    made = load_model(bundle).predict(asked)
    assert [prediction.problem for prediction in made] == asked
    assert {prediction.verdict for prediction in made} == {Verdict.WRONG}
    assert all(prediction.logprob is not None and prediction.text for prediction in made[:8])
    assert (made[8].logprob, made[8].text) == (None, "")  # too long for the model to read
    assert made[0].confidence is None  # a bundle that was never calibrated
