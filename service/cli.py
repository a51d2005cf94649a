"""`cybersolve serve | solve | batch`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from equations.errors import EquationError
from service.engine.bundle import BundleError
from service.engine.sessions import ProviderMissing
from service.errors import ServiceError
from service.runtime import Runtime, load_model
from service.settings import Settings, SettingsError
from service.solving import Fallback, Solution


class InputError(ValueError):
    """A line of an input file that is not a question; says which."""


def main(argv: list[str] | None = None) -> int:
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings.from_environment()
        status: int = arguments.run(arguments, settings)
    except (BundleError, InputError, ProviderMissing, SettingsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status


def _serve(_: argparse.Namespace, settings: Settings) -> int:
    from service.app import create_app
    from service.server import DrainingServer

    app = create_app(settings, load_model(settings))
    server = DrainingServer(app, app.state.runtime)
    server.run()
    return 0 if server.started else 1


def _solve(arguments: argparse.Namespace, settings: Settings) -> int:
    async def run() -> Solution:
        async with _runtime(settings) as runtime:
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

    async def run() -> None:
        async with _runtime(settings) as runtime:
            with arguments.output.open("w", encoding="utf-8") as output:
                bar = tqdm(total=len(questions), unit="q", file=sys.stderr)
                async for result in _answers(runtime, questions, Fallback(arguments.fallback)):
                    output.write(json.dumps(result) + "\n")
                    bar.update()
                bar.close()

    logging.getLogger().setLevel(logging.WARNING)
    questions = list(_questions(arguments.input))
    asyncio.run(run())
    return 0


def _questions(path: Path) -> Iterable[str]:
    """The `question` of each line of a JSON Lines file. Raises `InputError` with the line."""
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path}:{number}: not JSON: {error}") from error
        question = record.get("question") if isinstance(record, dict) else None
        if not isinstance(question, str):
            raise InputError(f'{path}:{number}: expected {{"question": "..."}}')
        yield question


async def _answers(
    runtime: Runtime, questions: list[str], fallback: Fallback
) -> AsyncIterator[dict[str, Any]]:
    """Results in the order of the questions, with as many under way as the queue holds."""

    async def one(question: str) -> dict[str, Any]:
        timeout_s = runtime.settings.default_timeout_s
        try:
            solution = await runtime.solver.solve(question, timeout_s=timeout_s, fallback=fallback)
        except (EquationError, ServiceError) as error:
            return {"question": question, "error": str(error).splitlines()[0]}
        return {
            "question": question,
            "answer": solution.answer,
            "verdict": solution.verdict,
            "reason": solution.reason,
            "source": solution.source,
            "work": solution.work,
            "confidence": solution.confidence,
            "tries": solution.tries,
        }

    rows = runtime.settings.max_batch_rows * len(runtime.model.engines)
    at_once = min(runtime.settings.max_queue, 4 * rows)
    under_way: deque[asyncio.Task[dict[str, Any]]] = deque()
    for question in questions:
        if len(under_way) == at_once:
            yield await under_way.popleft()
        under_way.append(asyncio.create_task(one(question)))
    while under_way:
        yield await under_way.popleft()


@asynccontextmanager
async def _runtime(settings: Settings) -> AsyncIterator[Runtime]:
    runtime = Runtime(settings, load_model(settings))
    runtime.batcher.start()
    try:
        yield runtime
    finally:
        await runtime.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cybersolve",
        description="Solve equations written as text; settings come from CYBERSOLVE_* variables.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve HTTP on HOST (127.0.0.1) and PORT (8000)")
    serve.set_defaults(run=_serve)

    solve = commands.add_parser("solve", help="answer one question")
    solve.add_argument("question", help='such as "3x + 5 = 20"')
    solve.set_defaults(run=_solve)

    batch = commands.add_parser("batch", help="answer a file of questions")
    batch.add_argument("input", type=Path, help='JSON Lines: {"question": "..."} each')
    batch.add_argument("output", type=Path, help="JSON Lines, a result for each line, in order")
    batch.set_defaults(run=_batch)

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
