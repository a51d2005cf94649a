"""Define the flags of `python -m training finetune` and read them. Imports no torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from commandline.ranges import COUNT, COUNT_OR_NONE, SEED, SHARE, number
from equations.formats import FORMATS
from training.errors import RunError
from training.finetune.plan import DEFAULT_PRESET, PRESETS, Layout, Phase, Settings, read_phases

_TEXT_FORMATS = [name for name, format_ in FORMATS.items() if not format_.writes_work]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    layout = Layout()
    add("--base", required=True, help="the T5 to begin with: a folder, or a name on the hub")
    add("--data", type=Path, default=Path("data"), help="folder of questions")
    add("--run-folder", type=Path, default=Path("runs/finetune"), help="checkpoints, log and model")
    add("--preset", choices=PRESETS, default=DEFAULT_PRESET, help="what the flags below begin from")
    # The default None leaves the value to the preset.
    add("--phases", type=_phases,
        help="EPOCHS:RATE,...; each with an optimiser of its own" + _default("phases"))  # fmt: skip
    add("--batch-size", type=COUNT,
        help="examples a step, over all processes" + _default("batch_size"))  # fmt: skip
    add("--share", type=SHARE, help="of the training data, at random" + _default("share"))
    add("--prompt-format", choices=_TEXT_FORMATS,
        help="what it reads and writes" + _default("prompt_format"))  # fmt: skip
    add("--spaced", dest="prompt_format", action="store_const", const="spaced",
        help="digits apart, in questions and answers: --prompt-format spaced")  # fmt: skip
    add("--precision", choices=["auto", "fp32", "bf16"],
        help="of the forward pass; auto: bf16 on CUDA" + _default("precision"))  # fmt: skip
    add("--weight-decay", type=number(or_zero=True),
        help="of AdamW" + _default("weight_decay"))  # fmt: skip
    add("--evaluate-every", type=COUNT, help="steps (default: those of an epoch)")
    add("--monitored", type=COUNT_OR_NONE,
        help="test questions answered at each evaluation" + _default("monitored"))  # fmt: skip
    add("--patience", type=COUNT_OR_NONE,
        help="evaluations without a better score that end the run; 0: none"
        + _default("patience"))  # fmt: skip
    add("--seed", type=SEED, help="data order and dropout" + _default("seed"))
    add(
        "--accumulate", type=COUNT, default=layout.accumulate, help="passes of a process for a step"
    )
    add("--gradient-checkpointing", action="store_true", help="less memory, a third more time")
    add("--log-every", type=COUNT, default=10, help="steps")
    add("--save-every", type=COUNT, default=500, help="steps between checkpoints")
    add("--mlflow", action="store_true", help="figures to MLflow too (MLFLOW_TRACKING_URI)")
    add(
        "--push-to-hub",
        metavar="REPOSITORY",
        help="upload the model and its card when done (default: no)",
    )


def _default(name: str) -> str:
    """Return the defaults of a setting for its help text: one, or one for each preset."""
    by_preset = {preset: _shown(given.get(name, getattr(Settings(""), name)))
                 for preset, given in PRESETS.items()}  # fmt: skip
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
    """Return the preset, overridden by the given flags."""
    names = ("phases", "batch_size", "share", "prompt_format", "precision", "weight_decay",
             "evaluate_every", "monitored", "patience", "seed")  # fmt: skip
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    return Settings(base=arguments.base, **{**PRESETS[arguments.preset], **given})


def run(arguments: argparse.Namespace) -> None:
    """Run a fine-tuning. Raises `RunError` and `training.data.DataError`."""
    from training.finetune.card import push, write_card
    from training.finetune.loop import MODEL, finetune

    first = finetune(
        settings_of(arguments),
        Layout(arguments.accumulate, arguments.gradient_checkpointing),
        data_folder=arguments.data,
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
