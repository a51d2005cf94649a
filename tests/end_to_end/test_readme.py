"""The README's examples, run against a real server, print what it says they print."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest

from service.settings import Settings
from tests.end_to_end.conftest import ROOT, Server

README = (ROOT / "README.md").read_text()
CURLS = re.findall(r"```console\n\$ (curl .*)\n```\n```json\n(.*)\n```", README)
COMMANDS = re.findall(r"```console\n\$ (cybersolve .*)\n((?:.+\n)+)```", README)


def without_times(body: dict[str, Any]) -> dict[str, Any]:
    timing = body.pop("timing_ms", None)
    assert timing is None or set(timing) == {"queue", "inference", "total"}
    if "confidence" in body:  # its last digits differ from one kind of processor to another
        body["confidence"] = round(body["confidence"], 1)
    return body


def test_there_are_examples() -> None:
    assert len(CURLS) == 4
    assert len(COMMANDS) == 1


@pytest.mark.parametrize(("command", "printed"), CURLS)
def test_curl_prints_what_the_readme_says(server: Server, command: str, printed: str) -> None:
    arguments = shlex.split(command.replace("localhost:8000", server.url))
    output = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    assert without_times(json.loads(output)) == without_times(json.loads(printed))


@pytest.mark.parametrize(("command", "printed"), COMMANDS)
def test_commands_print_what_the_readme_says(command: str, printed: str) -> None:
    arguments = shlex.split(command)
    assert arguments.pop(0) == "cybersolve"
    result = subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout == printed


def test_the_settings_named_exist() -> None:
    section = README.split("## Settings")[1].split("## ")[0]
    named = {name.lower() for name in re.findall(r"`([A-Z_]+[A-Z])`", section)}
    assert named
    assert named <= set(Settings.__dataclass_fields__)
    assert "(docs/settings.md)" in section  # which lists them all


def test_the_figures_are_the_cards() -> None:
    """The exact match that the README quotes is the one in the bundle's manifest."""
    manifest = json.loads((Settings().model / "manifest.json").read_text())
    exact = manifest["provenance"]["evaluation"]["exact_match"]
    assert f"**{100 * exact:.2f}%**" in README
