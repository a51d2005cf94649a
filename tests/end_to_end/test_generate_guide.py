"""docs/generate.md, run against a real server that serves a tiny translator."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from service.api.generation import GenerationSettings
from tests.conftest import shared_folder
from tests.end_to_end.conftest import ROOT, Server, start
from tests.end_to_end.test_docs import ADDRESS, CURL, PRINTS, PYTHON, blocks
from tests.phrases import write_phrases_bundle

GUIDE = "generate.md"
_VARYING = ("timing_ms", "created", "id")


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = shared_folder(
        tmp_path_factory, "phrases", lambda folder: write_phrases_bundle(folder / "bundle")
    )
    running = start(CYBERSOLVE_MODEL=str(folder / "bundle"), CYBERSOLVE_CACHED_ANSWERS="0")
    yield running
    running.stop()


def steady(body: Any) -> Any:
    """Return `body` without what differs from one time, or one processor, to the next."""
    if isinstance(body, list):
        return [steady(each) for each in body]
    if isinstance(body, dict):
        return {key: steady(value) for key, value in body.items() if key not in _VARYING}
    return round(body, 3) if isinstance(body, float) else body


@pytest.mark.parametrize(("command", "printed"), blocks(CURL, GUIDE))
def test_curl_prints_what_the_guide_says(translator: Server, command: str, printed: str) -> None:
    arguments = shlex.split(command.replace(f"{ADDRESS}/", f"{translator.url}/"))
    output = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert steady(json.loads(output)) == steady(json.loads(printed))


@pytest.mark.parametrize("code", [code for (code,) in blocks(PYTHON, GUIDE)])
def test_python_prints_what_its_comments_say(translator: Server, code: str) -> None:
    said = [line.rstrip() for line in PRINTS.findall(code)]
    assert said
    ran = subprocess.run(
        [sys.executable, "-c", code.replace(ADDRESS, translator.url.removeprefix("http://"))],
        env={"PYTHONPATH": str(ROOT / "client")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert [line.rstrip() for line in ran.stdout.splitlines()] == said


def test_the_guide_names_every_setting() -> None:
    named = set(re.findall(r"`(\w+)`", (ROOT / "docs" / GUIDE).read_text()))
    assert set(GenerationSettings.model_fields) <= named
