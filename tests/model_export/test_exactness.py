"""`parity --settings` compares any bundle with transformers, and knows what rounding decides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel, T5ForConditionalGeneration

from engine.bundle import Limits, load_manifest
from engine.contracts import Answer, Decoding, Hypothesis, Prompt
from model_export.__main__ import main
from model_export.assembly import Identity, texts_of
from model_export.bundle import write_bundle
from model_export.compared_texts import read_texts
from model_export.exactness import SETTINGS, Equality, compare_settings, equality
from model_export.provenance import RunError
from model_export.reference_decoding import Reference, reference_answers
from tests.conftest import shared_folder
from tests.training.flan import characters, write_flan

TEXTS = ["some texts", "to compare", "transformers with", "the engine"]


@pytest.fixture(scope="session")
def texts_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny `checkpoint` and its `bundle`, which solves no equations."""

    def fill(folder: Path) -> None:
        checkpoint = write_flan(folder / "checkpoint", characters(), 103)
        identity = Identity("tiny", "1", "none", "text", Limits(64, 9), {"seed": 0})
        sources = texts_of(TEXTS[:2], checkpoint)
        write_bundle(checkpoint, folder / "bundle", identity, sources, lambda _: "card")

    return shared_folder(tmp_path_factory, "texts-model", fill)


@pytest.fixture
def model(texts_model: Path) -> PreTrainedModel:
    loaded: PreTrainedModel
    loaded = T5ForConditionalGeneration.from_pretrained(texts_model / "checkpoint").eval()
    return loaded


def test_a_model_of_texts_is_compared_under_every_setting(
    texts_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text("\n\n".join(json.dumps({"text": text}) for text in TEXTS))
    folders = [str(texts_model / "bundle"), str(texts_model / "checkpoint")]
    assert main(["parity", *folders, "--settings", "--texts", str(file), "--questions", "3"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.pop("settings") for line in lines] == list(SETTINGS)
    for line in lines:
        assert line.pop("score_difference") < 1e-4
        assert line == {"texts": 3, "equal": 3, "near_ties": 0, "different": 0}
    assert main(["parity", *folders, "--texts", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["equal"] == len(TEXTS)


def test_settings_are_chosen_by_the_beginning_of_their_names(
    texts_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(TEXTS))
    folders = [str(texts_model / "bundle"), str(texts_model / "checkpoint")]
    asked = ["parity", *folders, "--texts", str(file), "--settings"]
    assert main([*asked, "greedy, "]) == 0
    found = [json.loads(line)["settings"] for line in capsys.readouterr().out.splitlines()]
    assert found == [
        "greedy, repetition penalty", "greedy, no repeated trigram", "greedy, 6 tokens at least",
    ]  # fmt: skip
    assert main([*asked, "9 beams"]) == 1
    assert "--settings '9 beams': expected the beginning of one of greedy, " in (
        capsys.readouterr().err
    )


def test_another_model_differs(texts_model: Path, tmp_path: Path) -> None:
    other = write_flan(tmp_path, characters(), 103, d_ff=32)
    bundle = texts_model / "bundle"
    sources = texts_of(TEXTS, texts_model / "checkpoint")
    for _, found in compare_settings(other, bundle, load_manifest(bundle), sources):
        assert found.different == len(TEXTS)


def test_texts_are_asked_for_where_no_equations_are_solved(
    texts_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(texts_model / "bundle"), str(texts_model / "checkpoint")]
    assert main(["parity", *folders]) == 1
    assert "solves no equations; expected --texts FILE" in capsys.readouterr().err


@pytest.mark.parametrize("beams", [1, 2])
def test_rounding_decides_between_equal_tokens_alone(model: PreTrainedModel, beams: int) -> None:
    """The first token has a twin; a third one is not as good by far more than rounding."""
    decoding = Decoding(num_beams=beams, max_new_tokens=1)
    prompt = Prompt((40, 41, 1), (), decoding)
    [[best]] = reference_answers(model, [prompt], most=1)
    (token,), twin, third = best.tokens, 7, 8
    assert token not in (twin, third)
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        head[twin] = head[token] * (1 - 1e-7)
        head[third] = head[token] * (1 - 1e-3)

    def compared(*found: int) -> Equality:
        answers = [Answer((Hypothesis([one], [-1.0], [9], [-2.0], [], -1.0),)) for one in found]
        references = [Reference([token], -1.0)] * len(found)
        return equality(model, [prompt] * len(found), answers, references, most=1)

    assert compared(token, twin, third) == Equality(3, equal=1, near_ties=1, different=1,
                                                    score_difference=0.0)  # fmt: skip


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", r"line 2: .* at character 2; expected an object such as \{\"text\": \"...\"\}"),
        ('["text"]', "line 2: no text; expected an object"),
        ('{"text": " "}', "line 2: no text; expected an object"),
    ],
)
def test_a_line_without_a_text_is_refused(tmp_path: Path, line: str, expected: str) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text(f"\n{line}\n")
    with pytest.raises(RunError, match=expected):
        read_texts(file)
