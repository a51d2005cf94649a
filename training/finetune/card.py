"""Write the card of a fine-tuned model from its run, and upload the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from training.errors import RunError
from training.markdown import interval, percent, table
from training.run_folder import DATA, LOG, SETTINGS, read_log

CARD = "README.md"
_CARD = """\
---
base_model: {base}
library_name: transformers
pipeline_tag: text2text-generation
tags: [t5, math, linear-equations]
---

# {base}, fine-tuned on linear equations in one variable

It reads {reads}, and writes the bare answer. Data: `algebra__linear_1d` of the DeepMind mathematics
dataset (Saxton et al. 2019).

## Figures

{figures}

## Training

{training}

Padding counts for nothing in the loss; learning rates fall linearly in each phase.

## Limits

Linear equations in one variable whose solution is an integer, in the dataset's wording. Answers are
written in one go, without any work, and are often wrong where numbers are longer than in training:
verify them by substitution, as CyberSolve's service does.
"""
_OWN_CARD = """\
---
base_model: {base}
library_name: transformers
pipeline_tag: text2text-generation
tags: [t5]
---

# {base}, fine-tuned on pairs of texts

Before each source text it expects `{reads}`.

## Figures

{figures}

## Training

{training}
"""
_READS = {
    "text": "`Solve 24 = 1601*c - 1605*c for c.`",
    "spaced": "digits apart, `Solve 2 4 = 1 6 0 1*c - 1 6 0 5*c for c.`",
}


_SHOWN = {  # scores beside exact match
    "validation_loss": "validation loss", "rouge_1": "ROUGE-1", "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L", "bleu": "BLEU", "chrf": "chrF",
}  # fmt: skip


class Hub(Protocol):
    """The methods of `huggingface_hub.HfApi` that are used here."""

    def create_repo(self, repo_id: str, *, exist_ok: bool) -> object: ...

    def upload_folder(self, *, repo_id: str, folder_path: str) -> object: ...


def write_card(run_folder: Path, report: Path | None = None) -> Path:
    """Write `model/README.md`, with the figures of `report.json` if one is given.

    Raises `RunError` for a folder without a finished evaluation.
    """
    model = run_folder / "model"
    log = read_log(run_folder / LOG)
    if not (model / "config.json").exists() or not any("loss" in entry for entry in log):
        raise RunError(f"{run_folder} has no fine-tuned model yet")
    settings = json.loads((run_folder / SETTINGS).read_text())
    figures = _evaluation(json.loads(report.read_text())) if report else _monitored(log, settings)
    learnt_from = json.loads((run_folder / DATA).read_text())
    form = settings["prompt_format"]
    text = (_CARD if form else _OWN_CARD).format(
        base=settings["base"],
        reads=_READS[form] if form else settings["prefix"],
        figures=figures,
        training=_training(settings, log, learnt_from),
    )
    path = model / CARD
    path.write_text(text, encoding="utf-8")
    return path


def push(model: Path, repository: str, hub: Hub | None = None) -> None:
    """Upload a checkpoint's folder with its card, as the user logged in to the hub."""
    if hub is None:
        from huggingface_hub import HfApi

        hub = HfApi()
    hub.create_repo(repository, exist_ok=True)
    hub.upload_folder(repo_id=repository, folder_path=str(model.resolve()))


def _evaluation(report: Mapping[str, Any]) -> str:
    head = ["split", "questions", "exact match, greedy", "95% interval", "teacher-forced"]
    rows = []
    for split, figures in report["splits"].items():
        forced = figures.get("teacher_forced")
        rows.append(
            [
                split,
                f"{figures['questions']:,}",
                f"**{percent(figures['exact_match'])}**",
                interval(figures),
                percent(forced["exact_match"]) if forced else None,
            ]
        )
    note = (
        f"`{report['command']}`\n\nTeacher-forced is what the research that this follows reports:"
        " every token is\npredicted from the right ones before it."
    )
    return f"{table(head, rows)}\n\n{note}"


def _monitored(log: list[dict[str, Any]], settings: Mapping[str, Any]) -> str:
    scores = [entry for entry in log if "exact_match" in entry]
    names = [name for name in _SHOWN if any(name in entry for entry in scores)]
    rows = [
        [f"{entry['step']:,}", percent(entry["exact_match"]), *(f"{entry[n]:.3f}" for n in names)]
        for entry in scores
    ]
    head = ["step", "exact match, greedy", *(_SHOWN[name] for name in names)]
    what = "questions" if settings["prompt_format"] else "pairs"
    shown = table(head, rows)
    return f"On at most {settings['monitored']:,} test {what} while it was trained:\n\n{shown}"


def _training(
    settings: Mapping[str, Any], log: list[dict[str, Any]], learnt_from: Mapping[str, Any]
) -> str:
    last = [entry for entry in log if "loss" in entry][-1]
    phases = ", then ".join(f"{p['epochs']} epochs at {p['lr']:g}" for p in settings["phases"])
    return "\n".join(
        [
            f"- {phases}; {last['step']:,} steps of {settings['batch_size']} examples, "
            f"last loss {last['loss']:.4f}.",
            f"- Data: SHA-256 `{learnt_from['sha256']}`, {_origin(learnt_from)}.",
            f"- All settings: `{json.dumps(settings)}`",
        ]
    )


def _origin(learnt_from: Mapping[str, Any]) -> str:
    if "generated" in learnt_from:
        return f"generated with `{json.dumps(learnt_from['generated'])}`"
    return f"columns `{learnt_from['source']}` and `{learnt_from['target']}`"
