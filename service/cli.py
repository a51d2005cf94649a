"""`cybersolve serve | solve | batch | key`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import sys
from contextlib import suppress
from pathlib import Path

from engine.bundle import BundleError
from equations.errors import EquationError
from service.api.keys import ApiKeys, KeysError, new_key
from service.bulk import InputError, answers, read_questions, running
from service.errors import EngineRefused, ServiceError
from service.flags import add_flags, given
from service.logs import configure_logging, flush_log
from service.runtime import load_model
from service.settings import Settings, SettingsError
from service.solving import Fallback, Solution

_EXPECTED = (BundleError, EngineRefused, InputError, KeysError, SettingsError, OSError)


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings.from_environment(flags=given(arguments))
        configure_logging(settings.log_format)
        status: int = arguments.run(arguments, settings)
    except _EXPECTED as error:
        flush_log()  # so that the reason is the last line
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status


def _serve(_: argparse.Namespace, settings: Settings) -> int:
    from service.app import create_app
    from service.server import DrainingServer

    if settings.api_keys_file is not None:
        ApiKeys(settings.api_keys_file)  # what is wrong with it is said before a model is loaded
    app = create_app(settings, load_model(settings))
    # What lives as long as the process need not be looked through again and again: 4% of a request.
    gc.collect()
    gc.freeze()
    runtime = app.state.runtime
    server = DrainingServer(app, runtime)
    with suppress(KeyboardInterrupt):  # uvicorn raises Ctrl-C again once it is done
        server.run()
    if runtime.refused is not None:
        raise runtime.refused
    return 0 if server.started else 1


def _solve(arguments: argparse.Namespace, settings: Settings) -> int:
    async def run() -> Solution:
        async with running(settings, load_model(settings, one_attempt=True)) as runtime:
            return await runtime.solver.solve(
                arguments.question,
                timeout_s=settings.default_timeout_s,
                fallback=Fallback(arguments.fallback),
            )

    logging.getLogger().setLevel(logging.WARNING)
    try:
        solution = asyncio.run(run())
    except (EquationError, ServiceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    lines = solution.work or [f"{solution.variable} = {solution.answer}"]
    reason = f": {solution.reason}" if solution.reason else ""
    tries = f", try {solution.tries}" if solution.tries > 1 else ""
    print("\n".join([solution.equation, *lines, f"({solution.verdict}{reason}{tries})"]))
    return 0


def _batch(arguments: argparse.Namespace, settings: Settings) -> int:
    from tqdm import tqdm

    if arguments.ray is not None:
        return _batch_on_ray(arguments, settings)

    async def run() -> None:
        async with running(settings, load_model(settings, one_attempt=True)) as runtime:
            with arguments.output.open("w", encoding="utf-8") as output:
                bar = tqdm(total=len(questions), unit="q", file=sys.stderr)
                async for result in answers(runtime, questions, Fallback(arguments.fallback)):
                    output.write(json.dumps(result) + "\n")
                    bar.update()
                bar.close()

    logging.getLogger().setLevel(logging.WARNING)
    questions = list(read_questions(arguments.input))
    asyncio.run(run())
    return 0


def _batch_on_ray(arguments: argparse.Namespace, settings: Settings) -> int:
    try:
        from deploy.ray import bulk
    except ImportError as error:
        print(f"error: --ray needs the extra `ray`: {error}", file=sys.stderr)
        return 1
    fallback = Fallback(arguments.fallback)
    bulk.run(arguments.input, arguments.output, settings, fallback, address=arguments.ray or None)
    return 0


def _key(arguments: argparse.Namespace, _: Settings) -> int:
    key, line = new_key(arguments.name)
    print(key)
    print(f"shown this once; a line for CYBERSOLVE_API_KEYS_FILE:\n{line}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cybersolve",
        description="Solve equations written as text; settings come from CYBERSOLVE_* variables.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve HTTP on HOST (127.0.0.1) and PORT (8000)")
    add_flags(serve)
    serve.set_defaults(run=_serve)

    solve = commands.add_parser("solve", help="answer one question")
    solve.add_argument("question", help='such as "3x + 5 = 20"')
    solve.set_defaults(run=_solve)

    batch = commands.add_parser("batch", help="answer a file of questions")
    batch.add_argument("input", type=Path, help='JSON Lines: {"question": "..."} each')
    batch.add_argument("output", type=Path, help="JSON Lines, a result for each line, in order")
    batch.set_defaults(run=_batch)

    batch.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="on a Ray cluster (default: the one at hand, or one on this machine); .parquet files "
        "too; goes on where an interrupted run stopped",
    )

    key = commands.add_parser(
        "key", help="make an API key: printed once, its line for the file of keys on stderr"
    )
    key.add_argument("name", help="whose it is; stands in the log with each request")
    key.set_defaults(run=_key)

    for command in (solve, batch):
        command.add_argument(
            "--fallback",
            choices=[choice.value for choice in Fallback],
            default=Fallback.NONE.value,
            help="exact: solve exactly where the model's answer is not correct (default: none)",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
