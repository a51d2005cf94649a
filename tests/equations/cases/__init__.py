"""Recorded inputs of the reader, and what is expected of each."""

from __future__ import annotations

import re
from pathlib import Path

_FOLDER = Path(__file__).parent
_ESCAPES = re.compile(r"\\u([0-9a-f]{4})|\\x([0-9a-f]{2})|\\(t)(?=[0-9])|\\(n)(?![a-z]{2})|⏎")


def load(name: str) -> list[list[str]]:
    """Return the lines of a file as fields, comments left out, characters unescaped."""
    lines = (_FOLDER / name).read_text().splitlines()
    return [[unescaped(field) for field in line.split("\t")] for line in lines if "\t" in line]


def unescaped(text: str) -> str:
    return _ESCAPES.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    if code:
        return chr(int(code, 16))
    return "\t" if match[3] else "\n"
