"""The examples of the guides, run against a real server, do what the guides say."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest

from tests.end_to_end.conftest import ROOT, Server

ADDRESS = "localhost:8000"
CURL = re.compile(r"```console\n\$ (curl .*)\n```\n```json\n(.*)\n```")
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
PRINTS = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


def blocks(pattern: re.Pattern[str], *guides: str) -> list[tuple[str, ...]]:
    found = []
    for guide in guides:
        text = (ROOT / "docs" / guide).read_text()
        matches = [match.groups() for match in pattern.finditer(text)]
        assert matches, guide
        found += matches
    return found


@pytest.mark.parametrize(("command", "printed"), blocks(CURL, "open-inference.md"))
def test_curl_prints_what_the_guide_says(server: Server, command: str, printed: str) -> None:
    arguments = shlex.split(command.replace(f"{ADDRESS}/", f"{server.url}/"))
    output = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == json.loads(printed)


@pytest.mark.parametrize(
    "code", [code for (code,) in blocks(PYTHON, "client.md", "open-inference.md")]
)
def test_python_prints_what_its_comments_say(server: Server, code: str) -> None:
    said = [line.rstrip() for line in PRINTS.findall(code)]
    assert said
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c",
         code.replace(ADDRESS, server.url.removeprefix("http://"))],
        env={"PYTHONPATH": str(ROOT / "client")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert [line.rstrip() for line in ran.stdout.splitlines()] == said
