"""Define the flags of `python -m training finetune` and read them. Imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from commandline.ranges import COUNT, COUNT_OR_NONE, SEED, SHARE, integer, number
from equations.formats import FORMATS
from training.errors import RunError
from training.finetune.plan import (
    DEFAULT_PRESET,
    OPTIMISERS,
    PRESETS,
    SCORES,
    Layout,
    PairFiles,
    Phase,
    Settings,
    read_phases,
)

_TEXT_FORMATS = [name for name, format_ in FORMATS.items() if not format_.writes_work]
_SETTINGS = (
    "phases", "batch_size", "share", "prompt_format", "precision", "weight_decay",
    "evaluate_every", "monitored", "patience", "seed", "optimiser", "warmup_steps",
    "label_smoothing", "lora", "best", "prefix", "max_source_tokens", "max_target_tokens",
)  # fmt: skip
_Add = Callable[..., argparse.Action]
_OF_PAIRS = ("validation", "prefix", "max_source_tokens", "max_target_tokens")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base", required=True, help="the T5 to begin with: a folder, or a name on the hub"
    )
    _add_data(parser.add_argument_group("data").add_argument)
    _add_learning(parser.add_argument_group("learning").add_argument)
    _add_running(parser.add_argument_group("running").add_argument)


def _add_data(add: _Add) -> None:
    add("--data", type=Path, default=Path("data"), help="folder of the dataset's questions")
    add("--pairs", type=Path,
        help="pairs of your own instead: .csv, .jsonl, .parquet or a folder that `datasets` saved "
        "(default: questions)")  # fmt: skip
    add("--validation", type=Path,
        help="pairs to score (default: 5%% of PAIRS, which are not learnt)")  # fmt: skip
    add("--source", default=PairFiles.source, metavar="COLUMN", help="what the model reads")
    add("--target", default=PairFiles.target, metavar="COLUMN", help="what it should write")
    add("--prefix", help="text before each source, such as 'summarize: ' (default: none)")
    add("--max-source-tokens", type=integer(2), help="longer texts are cut (default: none is)")
    add("--max-target-tokens", type=integer(2), help="likewise (default: none is)")
    add("--prompt-format", choices=_TEXT_FORMATS,
        help="of questions and answers" + _default("prompt_format"))  # fmt: skip
    add("--spaced", dest="prompt_format", action="store_const", const="spaced",
        help="digits apart, in questions and answers: --prompt-format spaced")  # fmt: skip
    add("--share", type=SHARE, help="of the training data, at random" + _default("share"))


def _add_learning(add: _Add) -> None:
    add("--preset", choices=PRESETS, default=DEFAULT_PRESET, help="what the flags begin from")
    add("--phases", type=_phases,
        help="EPOCHS:RATE,...; each with an optimiser of its own" + _default("phases"))  # fmt: skip
    add("--batch-size", type=COUNT,
        help="examples a step, over all processes" + _default("batch_size"))  # fmt: skip
    add("--optimiser", choices=OPTIMISERS,
        help="adafactor needs less memory" + _default("optimiser"))  # fmt: skip
    add("--weight-decay", type=number(or_zero=True),
        help="of the optimiser" + _default("weight_decay"))  # fmt: skip
    add("--warmup-steps", type=COUNT_OR_NONE,
        help="over which rates rise, at the start" + _default("warmup_steps"))  # fmt: skip
    add("--label-smoothing", type=number(0.99, or_zero=True),
        help="share of each label given to all tokens" + _default("label_smoothing"))  # fmt: skip
    add("--lora", type=COUNT_OR_NONE, metavar="RANK",
        help="learn low-rank updates of attention weights alone; 0: all weights"
        + _default("lora"))  # fmt: skip
    add("--precision", choices=["auto", "fp32", "bf16"],
        help="of the forward pass; auto: bf16 on CUDA" + _default("precision"))  # fmt: skip
    add("--seed", type=SEED, help="data order and dropout" + _default("seed"))


def _add_running(add: _Add) -> None:
    add("--run-folder", type=Path, default=Path("runs/finetune"), help="checkpoints, log and model")
    add("--evaluate-every", type=COUNT, help="steps (default: those of an epoch)")
    add("--monitored", type=COUNT_OR_NONE,
        help="test items answered at each evaluation" + _default("monitored"))  # fmt: skip
    add("--best", choices=SCORES, help="score of the model that is kept" + _default("best"))
    add("--patience", type=COUNT_OR_NONE,
        help="evaluations without a better score that end the run; 0: none"
        + _default("patience"))  # fmt: skip
    add("--accumulate", type=COUNT, default=Layout.accumulate, help="passes of a process a step")
    add("--gradient-checkpointing", action="store_true", help="less memory, a third more time")
    add("--log-every", type=COUNT, default=10, help="steps")
    add("--save-every", type=COUNT, default=500, help="steps between checkpoints")
    add("--mlflow", action="store_true", help="figures to MLflow too (MLFLOW_TRACKING_URI)")
    add("--push-to-hub", metavar="REPOSITORY",
        help="upload the model and its card when done (default: no)")  # fmt: skip


def _default(name: str) -> str:
    """Return the defaults of a setting for its help text: one, or one for each preset."""
    by_preset = {
        preset: _shown(given.get(name, getattr(Settings, name)))
        for preset, given in PRESETS.items()
    }
    if len(set(by_preset.values())) == 1:
        return f" (default: {by_preset[DEFAULT_PRESET]})"
    return f" (default: {', '.join(f'{value} of {preset}' for preset, value in by_preset.items())})"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{phase.epochs}:{phase.lr:g}" for phase in value)
    return str(value)


def _phases(text: str) -> tuple[Phase, ...]:
    try:
        return read_phases(text)
    except RunError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the preset, overridden by the given flags. Raises `RunError` for flags that belong to
    the other kind of data.
    """
    given = {name: value for name in _SETTINGS if (value := getattr(arguments, name)) is not None}
    if arguments.pairs is None:
        for name in _OF_PAIRS:
            if getattr(arguments, name) is not None:
                raise RunError(f"--{name.replace('_', '-')} is for --pairs")
        if given.get("best", "exact_match") not in ("exact_match", "validation_loss"):
            raise RunError(f"--best {given['best']} is for --pairs")
    else:
        if arguments.prompt_format is not None:
            raise RunError("--prompt-format is for questions; expected --prefix, or neither")
        given["prompt_format"] = None
    return Settings(base=arguments.base, **{**PRESETS[arguments.preset], **given})


def run(arguments: argparse.Namespace) -> None:
    """Run a fine-tuning. Raises `RunError` and `training.data.DataError`."""
    settings = settings_of(arguments)

    from training.finetune.card import push, write_card
    from training.finetune.loop import MODEL, finetune
    from training.finetune.tasks import Equations, Pairs, Task

    task: Task
    if arguments.pairs is None:
        task = Equations.read(arguments.data, settings)
    else:
        names = (arguments.pairs, arguments.validation, arguments.source, arguments.target)
        task = Pairs.read(PairFiles(*names), settings)
    first = finetune(
        settings,
        Layout(arguments.accumulate, arguments.gradient_checkpointing),
        task,
        run_folder=arguments.run_folder,
        log_every=arguments.log_every,
        save_every=arguments.save_every,
        mlflow=arguments.mlflow,
    )
    if not first:
        return
    write_card(arguments.run_folder)
    if arguments.push_to_hub:
        push(arguments.run_folder / MODEL, arguments.push_to_hub)
