"""Make a model; every stage is a command of its own: `python -m training COMMAND --help`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from dataclasses import fields
from pathlib import Path

from commandline.packages import installed_by
from commandline.parser import Parser
from commandline.ranges import COUNT, COUNT_OR_NONE, POSITIVE, SEED
from equations.formats import FORMATS
from training import data
from training.errors import RunError
from training.finetune import command as command_finetune

_TRAIN, _TEST = 1_200_000, 10_000
_TEST_FRESH = 10_100  # some are left out where training data hold them


@installed_by("pip install '.[cpu,train,export]'")
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


def _import(arguments: argparse.Namespace) -> None:
    from training.hub_copy import convert

    counts = convert(arguments.train, arguments.test, arguments.out)
    print(f"{arguments.out}: " + ", ".join(f"{split}: {n:,}" for split, n in counts.items()))


def _train(arguments: argparse.Namespace) -> None:
    from training.train import Settings, train

    settings = Settings(
        **{field.name: getattr(arguments, field.name) for field in fields(Settings)}
    )
    train(
        settings,
        data_folder=arguments.data,
        run_folder=arguments.run_folder,
        compiled=arguments.compile,
    )


def _evaluate(arguments: argparse.Namespace) -> None:
    from training.evaluate import load_model
    from training.publish import publish, summary

    questions = _questions(arguments)
    model = load_model(
        arguments.model,
        prompt_format=arguments.prompt_format,
        teacher_forced=arguments.teacher_forced,
        bf16=arguments.bf16,
        show_progress=True,
    )
    results = []
    for split, problems in questions.items():
        print(f"{split}: {len(problems):,} questions", file=sys.stderr)
        results.append((split, model.predict(problems)))
    unseen = arguments.unseen_by
    facts = {
        "model": str(arguments.model),
        "description": f"Questions of {arguments.data}"
        + (f", none of them in the training data of {unseen}." if unseen else "."),
        "command": "python -m training " + shlex.join(sys.argv[1:]),
    }
    report = publish(results, facts, failures=arguments.failures, folder=arguments.report)
    print(json.dumps(summary(report)))


def _card(arguments: argparse.Namespace) -> None:
    from training.finetune.card import push, write_card

    card = write_card(arguments.run_folder, arguments.report)
    print(card)
    if arguments.push_to_hub:
        push(card.parent, arguments.push_to_hub)


def _resave(arguments: argparse.Namespace) -> None:
    from training.checkpoint import resave

    resave(arguments.checkpoint, arguments.out)


def _calibrate(arguments: argparse.Namespace) -> None:
    from training import calibration
    from training.served import Bundle

    model = Bundle(Path(arguments.model), second_try=False, show_progress=True)
    made = [p for problems in _questions(arguments).values() for p in model.predict(problems)]
    pairs = [(p.score, p.exact) for p in made if p.score is not None]
    knots = calibration.fit([score for score, _ in pairs], [exact for _, exact in pairs])
    arguments.out.write_text(json.dumps(knots) + "\n")
    right = sum(exact for _, exact in pairs)
    print(f"{arguments.out}: {len(knots)} knots, from {len(pairs):,} answers, {right:,} right")


def _questions(arguments: argparse.Namespace) -> dict[str, list[data.Problem]]:
    """Return the questions to score, by split. Raises `RunError` where there is nothing."""
    seen = data.training_sides(arguments.unseen_by) if arguments.unseen_by is not None else set()
    questions = {}
    for split in arguments.split or data.evaluation_splits(arguments.data):
        problems = data.read(data.split_file(arguments.data, split))
        kept = [problem for problem in problems if problem.sides not in seen]
        questions[split] = kept[: arguments.limit]
    questions = {split: problems for split, problems in questions.items() if problems}
    if not questions:
        raise RunError(
            f"no questions to score in {arguments.data}; make some with `python -m training data`"
        )
    return questions


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    make = command("data", _data, "generate questions with the DeepMind generator")
    make.add_argument("--out", type=Path, default=Path("data"), help="folder to write to")
    make.add_argument(
        "--train",
        type=COUNT_OR_NONE,
        help=f"training questions in all (default: {_TRAIN:,}, or 0 with --evaluation)",
    )
    make.add_argument(
        "--test",
        type=COUNT_OR_NONE,
        help=f"interpolation (default: {_TEST:,}, or {_TEST_FRESH:,} with --evaluation)",
    )
    make.add_argument(
        "--evaluation",
        type=COUNT_OR_NONE,
        default=0,
        help="of each other difficulty, beyond training too",
    )
    make.add_argument("--seed", type=SEED, default=0, help="decides every question")
    make.add_argument("--workers", type=COUNT, default=os.cpu_count(), help="processes")

    bring = command("import", _import, "convert the hub's copy of the dataset")
    bring.add_argument("--train", type=Path, nargs="+", required=True, help="Parquet or JSON lines")
    bring.add_argument("--test", type=Path, nargs="+", required=True, help="likewise")
    bring.add_argument("--out", type=Path, default=Path("data"), help="folder to write to")

    _add_train(command("train", _train, "train a small T5, or resume where it stopped"))

    tune = command("finetune", command_finetune.run, "fine-tune FLAN-T5 or any T5, or resume")
    command_finetune.add_arguments(tune)

    describe = command("card", _card, "write the model card of a fine-tuning run")
    describe.add_argument("run_folder", type=Path, help="of `python -m training finetune`")
    describe.add_argument(
        "--report",
        type=Path,
        help="report.json of `training evaluate` (default: the scores of the log)",
    )
    describe.add_argument(
        "--push-to-hub", metavar="REPOSITORY", help="upload model and card (default: no)"
    )

    _add_evaluate(command("evaluate", _evaluate, "score a model by what it writes, greedily"))

    again = command(
        "resave", _resave, "write a checkpoint anew, for transformers 4.57 and 5 and CTranslate2"
    )
    again.add_argument("checkpoint", help="folder of a T5 checkpoint, or a name on the hub")
    again.add_argument("out", type=Path, help="folder to write to, which may be the same")

    calibrate = command("calibrate", _calibrate, "find what a bundle's probabilities are worth")
    _add_questions(calibrate)
    calibrate.add_argument("--out", type=Path, required=True, help="JSON of knots to write")
    return parser


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_questions(parser)
    parser.add_argument(
        "--report",
        type=Path,
        help="folder for report.json, report.md, plots and predictions (default: none)",
    )
    parser.add_argument(
        "--failures", type=COUNT_OR_NONE, default=3, help="wrong answers of each file in the report"
    )
    parser.add_argument(
        "--prompt-format",
        choices=FORMATS,
        help="what the model reads (default: what the checkpoint says)",
    )
    parser.add_argument(
        "--teacher-forced",
        action="store_true",
        help="score as the research did, too: one pass that is told the answer as it goes",
    )
    parser.add_argument("--bf16", action="store_true", help="a checkpoint's weights as bfloat16")


def _add_questions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", help="folder of a bundle or of a checkpoint, ours or any T5, or a name on the hub"
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of questions")
    parser.add_argument(
        "--split",
        action="append",
        choices=data.SPLITS,
        help="a file of it, repeatable (default: every evaluation file there)",
    )
    parser.add_argument(
        "--limit", type=COUNT, help="only the first so many questions of each file (default: all)"
    )
    parser.add_argument(
        "--unseen-by",
        type=Path,
        help="skip what is in the training data of this folder (default: skip nothing)",
    )


def _add_train(parser: argparse.ArgumentParser) -> None:
    from training.model import PRESETS
    from training.train import Settings

    default = Settings()
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of questions")
    parser.add_argument(
        "--run-folder", type=Path, default=Path("runs/mini"), help="checkpoints, log and model"
    )
    parser.add_argument("--preset", choices=PRESETS, default=default.preset, help="the shape")
    parser.add_argument("--steps", type=COUNT, default=default.steps, help="of the schedule")
    parser.add_argument(
        "--batch-tokens", type=COUNT, default=default.batch_tokens, help="tokens a step"
    )
    parser.add_argument("--lr", type=POSITIVE, default=default.lr, help="peak rate of AdamW")
    parser.add_argument("--warmup-steps", type=COUNT, default=default.warmup_steps, help="linear")
    parser.add_argument(
        "--decay-steps", type=COUNT, default=default.decay_steps, help="at the end, linear"
    )
    parser.add_argument("--base", help="folder of an earlier checkpoint (default: random weights)")
    parser.add_argument("--seed", type=SEED, default=default.seed, help="weights and data order")
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler; faster")
    parser.add_argument(
        "--precision",
        choices=["fp32", "bf16"],
        default=default.precision,
        help="of the forward pass",
    )


if __name__ == "__main__":
    sys.exit(main())
