"""`cybersolve serve | solve | batch | inspect | upgrade | key`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from engine.bundle import FORMAT, BundleError
from engine.cpu import available_cpus
from equations.errors import EquationError
from equations.verify import Verdict
from service.api.keys import ApiKeys, KeysError, new_key
from service.bulk import command
from service.bulk.answering import running
from service.errors import EngineRefused, QuestionTooLong, ServiceError
from service.flags import add_flags, given
from service.garbage import spare_requests
from service.logs import configure_logging, flush_log
from service.models import with_bundle
from service.runtime import load_model
from service.settings import Settings, SettingsError
from service.solving import Fallback, Solution

_LOG = logging.getLogger(__name__)
_EXPECTED = (BundleError, EngineRefused, KeysError, SettingsError, OSError)
_NOT_CORRECT, _NOT_UNDERSTOOD, _NOT_RUN = 1, 2, 3  # exit statuses


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings.from_environment(flags=given(arguments))
        configure_logging(settings.log_format)
        if arguments.needs_model:
            settings = with_bundle(settings)
        status: int = arguments.run(arguments, settings)
    except _EXPECTED as error:
        flush_log()  # the reason must be the last line
        print(f"error: {error}", file=sys.stderr)
        return int(getattr(arguments, "failed", 1))
    return status


def _serve(_: argparse.Namespace, settings: Settings) -> int:
    from service.app import create_app
    from service.server import ListeningServer
    from service.shards.service import ShardedService
    from service.shards.share import within_cores

    if settings.api_keys_file is not None:
        ApiKeys(settings.api_keys_file)  # report its faults before a model is loaded
    asked, settings = settings.processes, within_cores(settings, available_cpus())
    if settings.processes < asked:
        _LOG.warning(
            "CYBERSOLVE_PROCESSES is %d; there is one for every two cores, so %d: more would be "
            "slower (CYBERSOLVE_WORKERS, if it is set too, keeps both numbers)",
            asked,
            settings.processes,
        )
    if settings.processes > 1:
        ShardedService(settings).run()
        return 0
    app = create_app(settings, load_model(settings))
    spare_requests()
    runtime = app.state.runtime
    server = ListeningServer(app, runtime)
    with suppress(KeyboardInterrupt):  # uvicorn raises Ctrl-C again when it has finished
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
    except (EquationError, QuestionTooLong) as error:
        print(f"error: {error}", file=sys.stderr)
        return _NOT_UNDERSTOOD
    except ServiceError as error:
        print(f"error: {error}", file=sys.stderr)
        return _NOT_RUN
    print("\n".join(_described(solution)))
    return 0 if solution.verdict is Verdict.CORRECT else _NOT_CORRECT


def _described(solution: Solution) -> list[str]:
    """Return the lines for a terminal: the question, its work or values, the verdict."""
    values = [f"{name} = {value}" for name, value in (solution.values or {}).items()]
    reason = f": {solution.reason}" if solution.reason else ""
    tries = f", try {solution.tries}" if solution.tries > 1 else ""
    verdict = f"({solution.verdict}{reason}{tries})"
    return [solution.equation, *(solution.work or values), verdict]


def _batch(arguments: argparse.Namespace, settings: Settings) -> int:
    logging.getLogger().setLevel(logging.WARNING)
    return command.run(arguments, settings)


def _inspect(arguments: argparse.Namespace, settings: Settings) -> int:
    from service import inspection

    inspected = inspection.inspect(settings)
    print(json.dumps(inspected) if arguments.json else inspection.text(inspected))
    return 0


def _upgrade(arguments: argparse.Namespace, _: Settings) -> int:
    from model_export.models.errors import PackageMissing

    try:
        from model_export.upgrading import UpgradeError, upgrade
    except ModuleNotFoundError as error:
        raise BundleError(str(PackageMissing(arguments.bundle, error))) from error
    out = arguments.out or arguments.bundle
    try:
        old = upgrade(arguments.bundle, out)
    except UpgradeError as error:
        raise BundleError(str(error)) from error
    if old.format == FORMAT:
        print(f"{arguments.bundle}: has format {FORMAT} already, the newest")
    else:
        print(f"{out}: format {old.format} is now {FORMAT}; the reference answers are the same")
    return 0


def _key(arguments: argparse.Namespace, _: Settings) -> int:
    key, line = new_key(arguments.owner)
    print(key)
    print(f"shown this once; a line for CYBERSOLVE_API_KEYS_FILE:\n{line}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cybersolve",
        description="Solve equations written as text; settings come from CYBERSOLVE_* variables.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('cybersolve')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_serve, _add_solve, _add_batch, _add_inspect, _add_upgrade, _add_key):
        add(commands)
    return parser


# What `ArgumentParser.add_subparsers` returns; the class has no public name.
_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_serve(commands: _Commands) -> None:
    serve = commands.add_parser("serve", help="serve HTTP on HOST (127.0.0.1) and PORT (8000)")
    add_flags(serve)
    serve.set_defaults(run=_serve, needs_model=True)


def _add_solve(commands: _Commands) -> None:
    solve = commands.add_parser(
        "solve",
        help="answer one question",
        epilog="Exit status: 0 the answer is correct, 1 it is wrong or cannot be verified, 2 the "
        "question is not understood, 3 the model cannot be run.",
    )
    solve.add_argument("question", help='such as "3x + 5 = 20"')
    _add_fallback(solve)
    solve.set_defaults(run=_solve, needs_model=True, failed=_NOT_RUN)


def _add_batch(commands: _Commands) -> None:
    batch = commands.add_parser(
        "batch",
        help="answer a file of questions",
        description=command.DESCRIPTION,
        epilog=command.EPILOG,
    )
    command.add_options(batch)
    _add_fallback(batch)
    batch.set_defaults(run=_batch, needs_model=True, failed=_NOT_RUN)


def _add_fallback(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fallback",
        choices=[choice.value for choice in Fallback],
        default=Fallback.NONE.value,
        help="exact: solve exactly where the model's answer is not correct (default: none)",
    )


def _add_inspect(commands: _Commands) -> None:
    inspect = commands.add_parser(
        "inspect", help="describe a bundle, check its files, and print what it needs to be served"
    )
    inspect.add_argument(
        "model", nargs="?", metavar="MODEL", help="as of serve: a checkpoint is converted first"
    )
    for name in ("workers", "threads"):
        inspect.add_argument(
            f"--{name}", metavar="N", help="of `serve` (default: as `serve` would)"
        )
    inspect.add_argument("--json", action="store_true", help="as one JSON object")
    inspect.set_defaults(run=_inspect, needs_model=True)


def _add_upgrade(commands: _Commands) -> None:
    upgrade = commands.add_parser(
        "upgrade", help="rewrite a bundle of an earlier format in the newest, from its own weights"
    )
    upgrade.add_argument("bundle", type=Path, metavar="BUNDLE", help="its folder")
    upgrade.add_argument(
        "--out", type=Path, metavar="FOLDER",
        help="folder of the new bundle (default: in place of the old one)",
    )  # fmt: skip
    upgrade.set_defaults(run=_upgrade, needs_model=False)


def _add_key(commands: _Commands) -> None:
    key = commands.add_parser(
        "key", help="make an API key: printed once, its line for the file of keys on stderr"
    )
    key.add_argument(
        "owner", metavar="NAME", help="whose it is; stands in the log with each request"
    )
    key.set_defaults(run=_key, needs_model=False)


if __name__ == "__main__":
    sys.exit(main())
