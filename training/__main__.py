"""`python -m training data | train | evaluate`: every stage of making a model is a command."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from dataclasses import fields
from pathlib import Path

from training import data
from training.errors import RunError

_TRAIN, _TEST = 1_200_000, 10_000
_TEST_FRESH = 10_100  # some are left out where training data hold them


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (data.DataError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _data(arguments: argparse.Namespace) -> None:
    fresh = arguments.evaluation > 0
    data.generate(
        arguments.out,
        train=arguments.train if arguments.train is not None else 0 if fresh else _TRAIN,
        test=arguments.test if arguments.test is not None else _TEST_FRESH if fresh else _TEST,
        evaluation=arguments.evaluation,
        seed=arguments.seed,
        workers=arguments.workers,
    )


def _train(arguments: argparse.Namespace) -> None:
    from training.train import Settings, train

    settings = Settings(
        **{field.name: getattr(arguments, field.name) for field in fields(Settings)}
    )
    train(settings, data_folder=arguments.data, run_folder=arguments.run_folder)


def _evaluate(arguments: argparse.Namespace) -> None:
    from training import evaluate

    problems = data.read(data.split_file(arguments.data, arguments.split))
    if arguments.unseen_by is not None:
        problems = data.unseen(problems, arguments.unseen_by)
    if not problems:
        raise RunError(f"no questions to score in {arguments.data}")
    model, tokenizer = evaluate.load(arguments.checkpoint)
    predictions = evaluate.predict(
        model, tokenizer, problems[: arguments.limit], show_progress=True
    )
    report = evaluate.report(predictions, failures=arguments.failures)
    report["description"] = f"{arguments.split}, of {arguments.data}"
    report["command"] = "python -m training " + shlex.join(sys.argv[1:])
    print(json.dumps({key: value for key, value in report.items() if key != "wrong"}))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=text,
            description=text,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        sub.set_defaults(run=run)
        return sub

    make = command("data", _data, "generate questions with the DeepMind generator")
    make.add_argument("--out", type=Path, default=Path("data"), help="folder to write to")
    make.add_argument(
        "--train", type=int, help=f"training questions in all; {_TRAIN:,}, or 0 with --evaluation"
    )
    make.add_argument(
        "--test", type=int, help=f"interpolation; {_TEST:,}, or {_TEST_FRESH:,} with --evaluation"
    )
    make.add_argument(
        "--evaluation", type=int, default=0, help="of each other difficulty, beyond training too"
    )
    make.add_argument("--seed", type=int, default=0, help="decides every question")
    make.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")

    _add_train(command("train", _train, "train a small T5, or resume where it stopped"))

    score = command("evaluate", _evaluate, "score a checkpoint by greedy generation")
    score.add_argument("checkpoint", type=Path, help="folder with a plain checkpoint")
    score.add_argument("--data", type=Path, default=Path("data"), help="folder of questions")
    score.add_argument("--split", choices=data.SPLITS, default=data.TEST_SPLIT, help="which file")
    score.add_argument("--limit", type=int, default=None, help="only the first so many questions")
    score.add_argument(
        "--unseen-by", type=Path, default=None, help="skip the training questions of this folder"
    )
    score.add_argument("--out", type=Path, default=None, help="write the report as JSON")
    score.add_argument("--failures", type=int, default=8, help="wrong answers in the report")
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    from training.model import PRESETS
    from training.train import Settings

    default = Settings()
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of questions")
    parser.add_argument(
        "--run-folder", type=Path, default=Path("runs/mini"), help="checkpoints, log and model"
    )
    parser.add_argument("--preset", choices=PRESETS, default=default.preset, help="the shape")
    parser.add_argument("--steps", type=int, default=default.steps, help="of the schedule")
    parser.add_argument(
        "--batch-size", type=int, default=default.batch_size, help="examples a step"
    )
    parser.add_argument("--lr", type=float, default=default.lr, help="peak rate of AdamW")
    parser.add_argument("--warmup-steps", type=int, default=default.warmup_steps, help="linear")
    parser.add_argument("--seed", type=int, default=default.seed, help="weights and data order")
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        default=default.precision,
        help="of the forward pass",
    )


if __name__ == "__main__":
    sys.exit(main())
