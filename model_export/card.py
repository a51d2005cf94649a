"""Write the model card of a bundle from its manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.bundle import Manifest
from equations.formats import FORMATS

_SMALL = """\
This T5 of {parameters:,} parameters solves linear equations in one variable. It reads a question as
digit tokens and writes its work: running sums of the coefficients and the constants, then a long
division. Where the division leaves a remainder, the answer is the fraction of the two sums. Terms
may be products of two numbers, so that systems of equations and composed questions are solved as a
series of such equations (`equations.planner`). The distribution of its training questions is that
of the DeepMind mathematics generator (`algebra__linear_1d`, Saxton et al. 2019), extended by
fractions, decimals, longer numbers, more terms and the steps of systems. Licence: Apache-2.0.
"""
_TUNED = """\
This T5 of {parameters:,} parameters solves linear equations in one variable. It reads a question as
text and writes the bare answer. It is {base}, fine-tuned on `algebra__linear_1d` of the DeepMind
mathematics dataset (Saxton et al. 2019).
"""
_SMALL_LIMITS = """\
- A question may have at most 16 terms with the variable and 16 without. Numbers may have at most
  12 digits, after fractions and decimals are multiplied out. A worked form ends at {most} tokens.
- Version 2.1.0 solved 397 of 400 equations with a number of 12 digits (2.0.0: 16 of 80).
- A fraction is read from the two sums that the model writes, and reduced by the reader.
- Which steps solve a system is planned by the reader; each sum, product and division of a step is
  written by the model. A question of several steps is wrong where one of them is.
- Errors grow with the number and the length of the terms. Real failures:
"""
_TUNED_LIMITS = """\
- The model solves linear equations in one variable whose solution is an integer. It answers
  anything else wrongly, and the service's verdict says so.
- Errors grow with the number and the length of the terms. Real failures:
"""
_CARD = """\
# {name} {version}

{what}

## Figures

{evaluation}

Exact match counts whole answers of plain greedy decoding and has a 95% interval. Where the first
answer is wrong, the service asks the model for alternatives and verifies each of them; the last
column includes these. `interpolate` is the benchmark's test. `easy`, `medium` and `hard` have the
difficulties that the dataset trains on; the splits after `hard` have longer numbers, more terms or
other forms.

{parity}

## Training

{training}

## Limits

{limits}

{failures}
"""
_OTHER_CARD = """\
# {name} {version}

This T5 of {parameters:,} parameters generates text from text. It is {base}. It does not solve
equations: the service offers `POST /generate` for it and does not verify its output.

{parity}

## Training

{training}
"""


def write_card(manifest: Manifest) -> str:
    """Return Markdown, from the `provenance` that `python -m model_export` records."""
    provenance = manifest.provenance
    evaluation = provenance.get("evaluation")
    training = provenance["training"]
    small = manifest.solves and FORMATS[manifest.prompt_format].writes_work
    base = (training or {}).get("settings", {}).get("base", "a checkpoint of unrecorded origin")
    parity = _parity(manifest.precision, provenance["parity"])
    if not manifest.solves:
        return _OTHER_CARD.format(
            name=manifest.name,
            version=manifest.version,
            parameters=manifest.architecture.parameters,
            base=base,
            parity=parity,
            training=_training(training),
        )
    what = (_SMALL if small else _TUNED).format(
        parameters=manifest.architecture.parameters, base=base
    )
    return _CARD.format(
        name=manifest.name,
        version=manifest.version,
        what=what.rstrip(),
        limits=(_SMALL_LIMITS if small else _TUNED_LIMITS)
        .format(most=manifest.limits.max_new_tokens)
        .rstrip(),
        evaluation=_evaluation(evaluation) if evaluation else "Not evaluated yet.",
        parity=parity,
        training=_training(training),
        failures=_failures(evaluation.get("wrong", []) if evaluation else []),
    )


def _evaluation(evaluation: Mapping[str, Any]) -> str:
    with_errors = any("calibration_error" in split for split in evaluation["splits"].values())
    rows = [
        "| split | questions | exact match | 95% interval | with alternatives |"
        + (" confidence off by |" if with_errors else ""),
        "|---|---|---|---|---|" + ("---|" if with_errors else ""),
    ]
    for split, figures in evaluation["splits"].items():
        low, high = figures["interval"]
        second = figures["second_try"]
        rows.append(
            f"| {split} | {figures['questions']:,} | **{_percent(figures)}** | "
            f"{100 * low:.2f} to {100 * high:.2f} | "
            f"{_percent(second) if second else '-'} |"
            + (f" {_error(figures)} |" if with_errors else "")
        )
    made = f"{evaluation['description']} Made by `{evaluation['command']}`."
    return "\n".join([*rows, "", made])


def _error(figures: Mapping[str, Any]) -> str:
    """Return the expected calibration error of a split, `-` where answers have no confidence."""
    error = figures.get("calibration_error")
    return "-" if error is None else f"{error:.3f}"


def _percent(figures: Mapping[str, Any]) -> str:
    return f"{100 * figures['exact_match']:.2f}%"


def _training(training: Mapping[str, Any] | None) -> str:
    if training is None:
        return "- Unrecorded: this bundle was exported from a checkpoint without its run."
    settings = json.dumps(training["settings"])
    return "\n".join(
        [
            f"- {_seen(training)} ({training['steps']:,} steps), "
            f"final training loss {training['loss']:.4f}.",
            f"- Hardware: {training['hardware']}.",
            f"- Data: {_origin(training['data'])}, SHA-256 `{training['data']['sha256'][:16]}...`.",
            f"- Settings: `{settings}`",
        ]
    )


def _seen(training: Mapping[str, Any]) -> str:
    if "tokens" in training:
        return f"About {training['tokens']:,} tokens of questions and worked forms"
    return f"{training['examples']:,} examples"


def _parity(precision: str, parity: Mapping[str, int] | None) -> str:
    if parity is None:
        return (
            f"The precision is {precision}. This bundle was converted without PyTorch and has not "
            "been compared with it."
        )
    return (
        f"The precision is {precision}. At export this bundle generated PyTorch's tokens "
        f"(fp32) for {parity['equal']:,} of {parity['questions']:,} questions."
    )


def _failures(wrong: list[Mapping[str, str]]) -> str:
    return "\n".join(
        f"  - {case['split']}: `{case['question']}` expected {case['expected']}, "
        f"got {case['answer']}"
        for case in wrong
    )


def _origin(data: Mapping[str, Any]) -> str:
    """Return where training data come from: the generator, or columns of a file of one's own."""
    if "generated" in data:
        return f"generated with `{json.dumps(data['generated'])}`"
    return f"columns `{data['source']}` and `{data['target']}` of a file"
