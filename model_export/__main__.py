"""`python -m model_export export | describe | parity | single`.

`export` converts a checkpoint to a bundle, `describe` adds figures of an evaluation or calibration
to it, `parity` compares it with PyTorch, and `single` writes it as one file for any client of ONNX
Runtime.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from commandline.packages import installed_by
from commandline.parser import Parser
from commandline.ranges import COUNT, number
from engine.bundle import NO_PROMPT, BundleError, Limits, Manifest
from engine.contracts import Tokens
from equations.errors import EquationError
from equations.formats import CONFIG_KEY, FORMATS, detect
from model_export.provenance import RunError, commit, training_of

_QUESTIONS = Path("data/interpolate/algebra__linear_1d.txt")
_MAX_SOURCE_TOKENS = 400  # 16 terms of each kind at 12 digits, and the end token, come to 385
# No power of two: KV cache slots that far apart would share cache lines' sets.
_MAX_NEW_TOKENS = 500


@installed_by("pip install '.[cpu,export]'")
def main(argv: list[str] | None = None) -> int:
    from model_export.checkpoint.errors import CheckpointError
    from model_export.parity import ParityError

    arguments = _parser().parse_args(argv)
    try:
        arguments.run_command(arguments)
    except (
        BundleError,
        CheckpointError,
        EquationError,
        ParityError,
        RunError,
        OSError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _export(arguments: argparse.Namespace) -> None:
    from model_export.assembly import Identity, sources_of, texts_of
    from model_export.bundle import write_bundle
    from model_export.card import write_card
    from model_export.compared_texts import read_questions, read_texts, require_fit

    checkpoint = _checkpoint(arguments.run)
    if arguments.texts is not None:
        prompt_format, target_format = NO_PROMPT, "text"
        sources = texts_of(read_texts(arguments.texts, arguments.parity), checkpoint)
    else:
        prompt_format = arguments.prompt_format or _format_of(checkpoint)
        target_format = FORMATS[prompt_format].target
        questions = read_questions(arguments.questions, arguments.parity)
        sources = sources_of(questions, prompt_format, checkpoint)
    remedy = "give --max-source-tokens, or shorter texts"
    require_fit(sources, arguments.max_source_tokens, remedy)
    identity = Identity(
        name=arguments.name or arguments.out.resolve().name,
        version=arguments.version,
        prompt_format=prompt_format,
        target_format=target_format,
        limits=Limits(arguments.max_source_tokens, arguments.max_new_tokens),
        precision=arguments.precision,
        provenance={"commit": commit(), "training": training_of(arguments.run, arguments.hardware)},
    )
    manifest = write_bundle(
        checkpoint, arguments.out, identity, sources, write_card, least_equal=arguments.least_equal
    )
    size = sum(file["bytes"] for file in manifest.files.values())
    parity = manifest.provenance["parity"]
    print(
        f"{arguments.out}: {manifest.name} {manifest.version}, {manifest.precision}, "
        f"{size / 1e6:.1f} MB, PyTorch's tokens for {parity['equal']:,} of "
        f"{parity['questions']:,} texts, log-probabilities within "
        f"{parity['logprob_difference']:.2g}"
    )


def _checkpoint(run: Path) -> Path:
    """Return the checkpoint of a run's folder, or the folder itself if it is a checkpoint."""
    for folder in (run / "model", run):
        if any((folder / name).exists() for name in ("config.json", "adapter_config.json")):
            return folder
    raise RunError(f"{run}: neither a run with a model nor the folder of a T5 checkpoint")


def _format_of(checkpoint: Path) -> str:
    from model_export.checkpoint.reading import describe_checkpoint

    described = describe_checkpoint(checkpoint)
    return detect(described.raw.get(CONFIG_KEY), described.tokenizer().token_to_id)


def _describe(arguments: argparse.Namespace) -> None:
    from model_export.assembly import describe
    from model_export.card import write_card

    knots = json.loads(arguments.calibration.read_text()) if arguments.calibration else None
    manifest = describe(
        arguments.bundle,
        write_card,
        evaluation=_evaluation(arguments.evaluation) if arguments.evaluation else None,
        calibration=tuple((float(x), float(y)) for x, y in knots) if knots else None,
    )
    print(f"{arguments.bundle}: {manifest.name} {manifest.version} described")


def _parity(arguments: argparse.Namespace) -> None:
    from engine.bundle import load_manifest

    manifest = load_manifest(arguments.bundle)
    compare = _compare_greedy if arguments.settings is None else _compare_settings
    different = compare(arguments, manifest, _compared(arguments, manifest))
    if manifest.precision == "fp32" and different:
        raise RunError(f"{different} answers differ from PyTorch's")


def _compared(arguments: argparse.Namespace, manifest: Manifest) -> list[Tokens]:
    """Return the sources to compare on: texts as they are, or a dataset's questions."""
    from model_export.assembly import sources_of, texts_of
    from model_export.compared_texts import read_questions, read_texts, require_fit

    if arguments.texts is not None:
        sources = texts_of(read_texts(arguments.texts, arguments.questions), arguments.checkpoint)
    elif manifest.solves:
        questions = read_questions(arguments.data, arguments.questions)
        sources = sources_of(questions, manifest.prompt_format, arguments.checkpoint)
    else:
        raise RunError(f"{arguments.bundle}: solves no equations; expected --texts FILE")
    require_fit(sources, manifest.limits.max_source_tokens, "give shorter texts")
    return sources


def _compare_greedy(
    arguments: argparse.Namespace, manifest: Manifest, sources: Sequence[Tokens]
) -> int:
    """Print how plain greedy answers compare; return the number of those that differ."""
    from model_export.checkpoint.reading import read_checkpoint
    from model_export.parity import compare, engine_answers
    from model_export.reference import Reference

    reference = Reference(read_checkpoint(arguments.checkpoint))
    expected = reference.answers(sources, manifest.limits.max_new_tokens)
    comparison = compare(engine_answers(arguments.bundle, manifest, sources), expected)
    print(json.dumps(comparison.to_dict()))
    return comparison.different


def _compare_settings(
    arguments: argparse.Namespace, manifest: Manifest, sources: Sequence[Tokens]
) -> int:
    """Print a line for each settings; return the number of answers that differ."""
    from model_export.exactness import SETTINGS, compare_settings

    chosen = {
        name: decoding for name, decoding in SETTINGS.items() if name.startswith(arguments.settings)
    }
    if not chosen:
        names = ", ".join(SETTINGS)
        raise RunError(
            f"--settings {arguments.settings!r}: expected the beginning of one of {names}"
        )
    different = 0
    for name, equality in compare_settings(
        arguments.checkpoint, arguments.bundle, manifest, sources, chosen
    ):
        print(json.dumps({"settings": name, **asdict(equality)}), flush=True)
        different += equality.different
    return different


def _single(arguments: argparse.Namespace) -> None:
    from engine.bundle import load_manifest
    from model_export.single import compare_with_reference, write_single

    manifest = load_manifest(arguments.bundle)
    write_single(arguments.bundle, manifest, arguments.file)
    equal, of = compare_with_reference(arguments.file, arguments.bundle, manifest)
    print(f"{arguments.file}: {equal} of {of} reference answers are the bundle's")
    if manifest.precision == "fp32" and equal < of:
        raise RunError(f"{arguments.file}: does not answer as {arguments.bundle} does")


def _evaluation(path: Path) -> dict[str, Any]:
    """Return the part of a report that a manifest keeps: settings, figures by split, failures."""
    report = json.loads(path.read_text())
    if "splits" not in report:
        raise RunError(f"{path}: no figures by split; evaluate with --report")
    kept = ("questions", "exact", "exact_match", "interval", "second_try", "verdicts")
    splits = {
        split: {key: figures[key] for key in kept} | _calibration_error(figures)
        for split, figures in report["splits"].items()
    }
    return {**report, "splits": splits}


def _calibration_error(figures: Mapping[str, Any]) -> dict[str, float]:
    known = figures["confidence"]
    return {} if known is None else {"calibration_error": known["expected_calibration_error"]}


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m model_export", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run_command=run)
        return sub

    _add_export(command("export", _export, "write a run's checkpoint as a bundle"))
    describe = command("describe", _describe, "put figures into a bundle's manifest and card")
    describe.add_argument("bundle", type=Path, help="the bundle's folder")
    describe.add_argument(
        "--calibration",
        type=Path,
        help="knots of `training calibrate`, for confidences (default: those it has)",
    )
    describe.add_argument(
        "--evaluation",
        type=Path,
        help="report.json of `training evaluate` (default: the figures it has)",
    )
    parity = command("parity", _parity, "compare a bundle's tokens with PyTorch's")
    parity.add_argument("bundle", type=Path, help="the bundle's folder")
    parity.add_argument("checkpoint", type=Path, help="what it was exported from")
    parity.add_argument("--questions", type=COUNT, default=10_000, help="how many to compare")
    parity.add_argument(
        "--settings",
        nargs="?",
        const="",
        metavar="NAME",
        help="compare beams of 2, 4 and 8 and penalties, a line each, or those whose names begin "
        "with NAME, such as '8 beams' (default: greedy decoding)",
    )
    parity.add_argument("--data", type=Path, default=_QUESTIONS, help="dataset file")
    parity.add_argument(
        "--texts",
        type=Path,
        help="texts to compare on as they are, one a line, or the `text` of each line of a .jsonl "
        "file (default: DATA, where the bundle solves equations)",
    )
    single = command("single", _single, "write a bundle as one graph: source ids in, token ids out")
    single.add_argument("bundle", type=Path, help="the bundle's folder")
    single.add_argument("file", type=Path, help="the ONNX file to write")
    return parser


def _add_export(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", type=Path, help="run folder of `training train` or `finetune`, or a checkpoint")
    add("--out", type=Path, required=True, help="the bundle's folder")
    add("--name", help="the model's name in every answer (default: the name of the folder OUT)")
    add("--version", default="1.0.0", help="the model's version in every answer")
    add("--prompt-format", choices=FORMATS,
        help="what the model reads (default: what the checkpoint says)")  # fmt: skip
    add("--precision", choices=["fp32", "fp16", "int8"], default="int8",
        help="of the products; fp16 leaves those that overflow it in fp32")  # fmt: skip
    add("--max-source-tokens", type=COUNT, default=_MAX_SOURCE_TOKENS, help="of what may be asked")
    add("--max-new-tokens", type=COUNT, default=_MAX_NEW_TOKENS, help="where generation is cut off")
    add("--questions", type=Path, default=_QUESTIONS,
        help="dataset file to compare with PyTorch on")  # fmt: skip
    add("--texts", type=Path,
        help="texts to compare on, one a line, or the `text` of each line of a .jsonl file, for a "
        "model of another task than equations: it is served by POST /generate alone (default: "
        "QUESTIONS)")  # fmt: skip
    add("--parity", type=COUNT, default=1000, help="how many of them to compare")
    add("--least-equal", type=number(1.0, or_zero=True),
        help="share that must have PyTorch's tokens (default: that of the precision)")  # fmt: skip
    add("--hardware", default="unrecorded", help="for the model card: what it was trained on")


if __name__ == "__main__":
    sys.exit(main())
