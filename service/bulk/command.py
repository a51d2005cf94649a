"""`cybersolve batch`: its options, its summary and its exit status."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from service.bulk.backends import backend, local
from service.bulk.formats import Format, format_of
from service.bulk.rows import BulkError, InputError
from service.bulk.run import Run, Tally, answer
from service.bulk.target import STANDARD
from service.settings import Settings
from service.solving import Fallback

DESCRIPTION = """\
Answer a file of questions. Every row keeps its keys and order and gets answer, solution, verdict,
reason, source, work, confidence and tries, or else an error. A key of the input with one of these
names is kept as input_<name>. Blank lines are left out.
"""
EPILOG = """\
Exit status: 0 every row has an answer, 1 some rows have an error, 2 the input or output cannot be
used, 3 the model cannot be run, 130 interrupted.
"""
_ORDER = ("correct", "wrong", "unverifiable", "error")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input",
        type=Path,
        help="JSON Lines, CSV or Parquet by its extension, with a key or column `question`; - for "
        "stdin",
    )
    parser.add_argument(
        "output",
        type=Path,
        nargs="?",
        default=STANDARD,
        help="likewise; appears when all is answered; - for stdout (default: -)",
    )
    formats = [form.value for form in Format]
    parser.add_argument(
        "--input-format", choices=formats, help="of the input (default: by its extension)"
    )
    parser.add_argument(
        "--output-format", choices=formats, help="of the output (default: by its extension)"
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume", action="store_true", help="go on where an interrupted run stopped, if one did"
    )
    existing.add_argument(
        "--overwrite", action="store_true", help="replace the output, should it exist"
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="answer on a Ray cluster (default: the one at hand, or one on this machine)",
    )


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run `cybersolve batch`; return its exit status."""
    started = time.monotonic()
    try:
        tally = answer(_run_of(arguments), settings)
    except InputError as error:
        print(f"error: {arguments.input}: {error}", file=sys.stderr)
        return 2
    except BulkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of the pipe has ended. Python would flush stdout at exit and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        kept = "" if arguments.output == STANDARD else "; --resume continues"
        print(f"interrupted{kept}", file=sys.stderr)
        return 130
    print(summary(tally, time.monotonic() - started), file=sys.stderr)
    return 1 if tally.outcomes["error"] else 0


def _run_of(arguments: argparse.Namespace) -> Run:
    given, wanted = arguments.input_format, arguments.output_format
    source = Format(given) if given else format_of(arguments.input)
    # Rows that go to stdout have the input's format, but Parquet is not for a terminal.
    default = Format.JSONL if source is Format.PARQUET else source
    return Run(
        source=arguments.input,
        target=arguments.output,
        source_format=source,
        target_format=Format(wanted) if wanted else format_of(arguments.output, default),
        fallback=Fallback(arguments.fallback),
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        backend=local if arguments.ray is None else backend("ray"),
        address=arguments.ray or None,
    )


def summary(tally: Tally, seconds: float) -> str:
    """Return one line: the number of rows by outcome, and the speed."""
    rows = tally.outcomes.total()
    parts = [
        f"{tally.outcomes[name]:,} {_plural(name, tally.outcomes[name])}"
        for name in _ORDER
        if tally.outcomes[name]
    ]
    kept = f", {tally.resumed:,} of them from an earlier run" if tally.resumed else ""
    first = f"; first error: {tally.first_error}" if tally.first_error else ""
    found = f": {', '.join(parts)}" if parts else ""
    return f"{rows:,} {_plural('row', rows)} in {seconds:.1f} s{kept}{found}{first}"


def _plural(name: str, count: int) -> str:
    return f"{name}s" if name in ("row", "error") and count != 1 else name
