"""Fine-tuning on pairs of texts of one's own: files, texts that are cut or lost, scores, LoRA."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from tokenizers import Tokenizer

import model_export.__main__
from engine.bundle import load_manifest
from equations import formats
from tests.training.flan import T5_EMBEDDINGS, T5_TOKENIZER, characters, write_flan
from training import checkpoint
from training.__main__ import main
from training.data import DataError
from training.finetune.examples import Examples
from training.finetune.plan import Phase, Plan
from training.finetune.scores import text_scores
from training.finetune.tasks import Pairs
from training.finetune.unknown import lost_characters
from training.pairs import Pair, read_pairs

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "finetune.md").read_text()
ROWS = [{"article": f"say {word}, twice", "short": f"{word} {word}"} for word in
        ("ab", "cd", "ef", "gh", "ij", "kl", "mn", "op", "qr", "st")]  # fmt: skip
PAIRS = [Pair("do: " + row["article"], row["short"]) for row in ROWS]


def write_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["article", "short"])
        writer.writeheader()
        writer.writerows(ROWS)


def write_json_lines(path: Path) -> None:
    path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")


def write_parquet(path: Path) -> None:
    parquet.write_table(pa.Table.from_pylist(ROWS), path)


def write_arrow(path: Path) -> None:
    """Write as `Dataset.save_to_disk` does: streams of record batches that `state.json` names."""
    path.mkdir()
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    for name, rows in zip(names, (ROWS[:6], ROWS[6:]), strict=True):
        table = pa.Table.from_pylist(rows)
        with (
            pa.OSFile(str(path / name), "wb") as file,
            pa.ipc.new_stream(file, table.schema) as out,
        ):
            out.write_table(table)
    (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": n} for n in names]}))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("pairs.csv", write_csv),
        ("pairs.jsonl", write_json_lines),
        ("pairs.parquet", write_parquet),
        ("folder", write_arrow),
    ],
)
def test_every_kind_of_file_has_the_same_pairs(
    name: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path / name)
    assert read_pairs(tmp_path / name, "article", "short", "do: ") == PAIRS


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.csv", 'source,target\na,b\n"x\ny",\n', "a.csv:4: target is empty; expected text"),
        ("a.csv", "source,target\na,b,c\n", "a.csv:2: expected 2 fields"),
        ("a.csv", "source,target\na\n", "a.csv:2: expected 2 fields"),
        ("a.csv", "question,target\na,b\n", "a.csv:2: no column 'source'; found 'question', 't"),
        ("a.csv", "source,target\n", "a.csv: no pairs; expected one a line"),
        ("a.csv", "source,target\na,\x80\n", "a.csv: 'utf-8' codec can't decode"),
        ("a.jsonl", '{"source": "a", "target": "b"}\n{"source": \n', "a.jsonl:2: Expecting value"),
        ("a.jsonl", '{"source": "a", "target": 3}\n', "a.jsonl:1: target is 3; expected text"),
        ("a.jsonl", '["a", "b"]\n', r"a.jsonl:1: expected an object, found \["),
        ("a.txt", "a\tb\n", "a.txt: expected .csv, .jsonl, .parquet or a folder"),
        ("a.parquet", "PAR", "a.parquet: .*(too small|file)"),
    ],
)
def test_faults_name_file_and_line(name: str, text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=complaint):
        read_pairs(tmp_path / name, "source", "target")


def test_a_folder_of_splits_names_them(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match="expected that of one: train, test"):
        read_pairs(tmp_path, "source", "target")


def test_texts_beyond_the_limits_are_cut_and_keep_their_end() -> None:
    tokenizer = characters()
    pairs = [Pair("abcdef", "xyz"), Pair("ab", "x")]
    examples = Examples(pairs, tokenizer, Pairs({}, [], []).pair, (4, 3))
    assert examples.cut == [1, 1]
    cut = examples.sources.row(0).tolist()
    assert cut == [*tokenizer.encode("abc").ids]
    assert cut[-1] == tokenizer.token_to_id("</s>")
    assert examples.sources.row(1).tolist() == tokenizer.encode("ab").ids


def test_characters_that_the_vocabulary_does_not_have_are_found() -> None:
    tokenizer = Tokenizer.from_file(str(T5_TOKENIZER))
    texts = ["if x < 3 {", "plain text.", "two\nlines {"]
    assert lost_characters(tokenizer, texts) == {"{": 2, "<": 1, "\n": 1}


def test_scores_are_those_of_their_definitions() -> None:
    """The first text is right; of the second the last of five words is not."""
    expected = ["the cat sat on it", "a dog ran to me"]
    scores = text_scores(["the cat sat on it", "a dog ran to us"], expected)
    assert scores["exact_match"] == 0.5
    assert scores["rouge_1"] == scores["rouge_l"] == pytest.approx((1 + 4 / 5) / 2)
    assert scores["rouge_2"] == pytest.approx((1 + 3 / 4) / 2)
    right = 9 / 10 * 7 / 8 * 5 / 6 * 3 / 4  # of runs of one to four words
    assert scores["bleu"] == pytest.approx(100 * right**0.25)
    assert 80 < scores["chrf"] < 100
    assert text_scores(expected, expected)["chrf"] == pytest.approx(100)


def test_rates_rise_over_the_warm_up() -> None:
    plain, warm = Plan((Phase(1, 1.0),), 10), Plan((Phase(1, 1.0),), 10, warmup_steps=4)
    assert [warm.lr(step) / plain.lr(step) for step in range(5)] == pytest.approx(
        [0.25, 0.5, 0.75, 1, 1]
    )


def run(folder: Path, *flags: str) -> list[dict[str, float]]:
    """Fine-tune a tiny T5 on the rows; return the log."""
    write_csv(folder / "pairs.csv")
    base = write_flan(folder / "base", characters(), 120, d_model=32, d_ff=64)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, formats.CONFIG_KEY: "spaced"}))
    arguments = [
        "--base", str(base), "--pairs", str(folder / "pairs.csv"), "--source", "article",
        "--target", "short", "--run-folder", str(folder / "run"), "--batch-size", "3",
        "--log-every", "1", *flags,
    ]  # fmt: skip
    assert main(["finetune", *arguments]) == 0
    return [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]


def test_a_task_of_ones_own_is_learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scored on what it learns; Adafactor, warm-up and label smoothing at once."""
    log = run(
        tmp_path, "--validation", str(tmp_path / "pairs.csv"), "--prefix", "do: ",
        "--phases", "30:2e-2", "--optimiser", "adafactor", "--warmup-steps", "5",
        "--label-smoothing", "0.1", "--best", "validation_loss", "--evaluate-every", "45",
        "--max-source-tokens", "16",
    )  # fmt: skip
    scores = [entry for entry in log if "chrf" in entry]
    assert [entry["step"] for entry in scores] == [45, 90]
    assert scores[1]["validation_loss"] < 0.5 * scores[0]["validation_loss"] or (
        scores[1]["validation_loss"] < 0.3
    )
    said = capsys.readouterr().err
    assert "sources: median 16 tokens, 99% up to 16, longest 16; 10 of 10 cut" in said
    assert "targets: median 6 tokens, 99% up to 6, longest 6; 0 of 10 cut" in said
    model, _ = checkpoint.load(tmp_path / "run" / "model")
    assert model.generation_config.max_new_tokens == 6
    assert not hasattr(model.config, formats.CONFIG_KEY)  # the base's is for equations
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "fine-tuned on pairs of texts" in card
    assert "| step | exact match, greedy | validation loss | ROUGE-1 |" in card


def test_low_rank_updates_are_merged(tmp_path: Path) -> None:
    """Only queries and values differ from the base, each by a matrix of the rank."""
    run(tmp_path, "--phases", "2:1e-2", "--lora", "2", "--best", "chrf")
    base = checkpoint.load(tmp_path / "base")[0].state_dict()
    tuned = checkpoint.load(tmp_path / "run" / "model")[0].state_dict()
    assert base.keys() == tuned.keys()
    changed = {name for name in base if not torch.equal(base[name], tuned[name])}
    assert changed == {name for name in base if name.endswith(("n.q.weight", "n.v.weight"))}
    for name in changed:
        assert torch.linalg.matrix_rank(tuned[name] - base[name], atol=1e-5) == 2


def test_flags_of_the_other_kind_of_data_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, complaint in (
        (["--prefix", "x"], "--prefix is for --pairs"),
        (["--best", "chrf"], "--best chrf is for --pairs"),
        (["--pairs", "p.csv", "--spaced"], "--prompt-format is for questions"),
        (["--pairs", str(tmp_path / "p.csv")], "p.csv: [Errno 2] No such file"),
    ):
        assert main(["finetune", "--base", "b", *flags]) == 1
        assert complaint in capsys.readouterr().err


def test_the_quick_start_ends_in_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of docs/finetune.md but the last, from a tiny T5 with T5's pieces."""
    (block,) = re.findall(r"## Your own task.*?```console\n(.*?)```", GUIDE, re.DOTALL)
    commands = [line.removeprefix("$ ") for line in block.splitlines()]
    pieces = Tokenizer.from_file(str(T5_TOKENIZER))
    base = write_flan(tmp_path / "base", pieces, T5_EMBEDDINGS)
    monkeypatch.chdir(tmp_path)
    assert commands[-1] == "CYBERSOLVE_MODEL=bundles/headlines cybersolve serve"
    for command in commands[:-1]:
        words = shlex.split(command.replace("google/flan-t5-small", str(base)))
        if words[0] == "python":
            program = {"training": main, "model_export": model_export.__main__.main}[words[2]]
            assert program(words[3:]) == 0
        else:
            subprocess.run(["bash", "-c", command], check=True)
    manifest = load_manifest(tmp_path / "bundles" / "headlines")
    assert not manifest.solves
    assert manifest.provenance["parity"]["equal"] == manifest.provenance["parity"]["questions"] == 8
    printed = capsys.readouterr()
    assert "PyTorch's tokens for 8 of 8 texts" in printed.out
    assert "step/s" in printed.err
    assert "Loading weights" not in printed.err  # nor any other bar of transformers
    assert "Writing model shards" not in printed.err
