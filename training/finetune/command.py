"""Define the flags of `python -m training finetune` and read them. Imports no torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from equations.formats import FORMATS
from training.finetune.plan import PRESETS, Layout, Settings, read_phases

_TEXT_FORMATS = [name for name, format_ in FORMATS.items() if not format_.writes_work]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    defaults, layout = Settings(base=""), Layout()
    add("--base", required=True, help="the T5 to begin with: a folder, or a name on the hub")
    add("--data", type=Path, default=Path("data"), help="folder of questions")
    add("--run-folder", type=Path, default=Path("runs/finetune"), help="checkpoints, log and model")
    add("--preset", choices=PRESETS, default="research", help="what the flags below begin from")
    # The default None leaves the value to the preset.
    add("--phases", type=str, help="EPOCHS:RATE,...; each with an optimiser of its own")
    add("--batch-size", type=int, help="examples a step, over all processes")
    add("--share", type=float, help="of the training data, at random")
    add("--prompt-format", choices=_TEXT_FORMATS, help="what it reads and writes")
    add("--spaced", dest="prompt_format", action="store_const", const="spaced",
        help="digits apart, in questions and answers: --prompt-format spaced")  # fmt: skip
    add("--precision", choices=["auto", "fp32", "bf16"],
        help="of the forward pass; auto: bf16 where CUDA has it")  # fmt: skip
    add("--weight-decay", type=float, help="of AdamW")
    add("--evaluate-every", type=int, help="steps; if not given, every epoch")
    add("--monitored", type=int, help="test questions answered at each evaluation")
    add("--patience", type=int, help="evaluations without a better score that end the run; 0: none")
    add("--seed", type=int, help=f"data order and dropout; {defaults.seed}")
    add("--accumulate", type=int, default=layout.accumulate, help="passes of a process for a step")
    add("--gradient-checkpointing", action="store_true", help="less memory, a third more time")
    add("--log-every", type=int, default=10, help="steps")
    add("--save-every", type=int, default=500, help="steps between checkpoints")
    add("--mlflow", action="store_true", help="figures to MLflow too (MLFLOW_TRACKING_URI)")
    add("--push-to-hub", metavar="REPOSITORY", help="upload the model and its card when done")


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the preset, overridden by the given flags. Raises `RunError`."""
    names = ("batch_size", "share", "prompt_format", "precision", "weight_decay", "evaluate_every",
             "monitored", "patience", "seed")  # fmt: skip
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    if arguments.phases is not None:
        given["phases"] = read_phases(arguments.phases)
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
