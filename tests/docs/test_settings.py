"""docs/settings.md is generated: `pytest tests/docs/test_settings.py --accept` writes it anew."""

from dataclasses import fields
from pathlib import Path

import pytest

from service.cli import main
from service.flags import FLAGS
from service.settings import PREFIX, Settings, default_of, type_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
_TYPES = {
    "bool": "0 or 1",
    "float": "number",
    "int": "whole number",
    "Path": "path",
    "str": "text",
    "tuple[str, ...]": "list",
}
_FLAGS = ", ".join(f"`--{name.replace('_', '-')}`" for name in FLAGS)
_INTRODUCTION = f"""\
# Settings

The service reads these environment variables once, at start. A value that does not fit, or a
variable that begins with `{PREFIX}` and does not exist, ends the start with one line that says so.
`cybersolve serve` has flags for the common ones: {_FLAGS}.
A flag overrides its variable, and the argument `MODEL` overrides `{PREFIX}MODEL`.

| variable | type | default | unit | meaning |
|---|---|---|---|---|
"""


def page() -> str:
    rows = (
        f"| `{PREFIX}{one.name.upper()}` | {_TYPES[type_of(one)]} | {_code(default_of(one))} "
        f"| {one.metadata['unit']} | {one.metadata['meaning']} |\n"
        for one in fields(Settings)
    )
    return _INTRODUCTION + "".join(rows)


def _code(default: str) -> str:
    return default if not default or " " in default else f"`{default}`"


def test_the_page_has_every_setting(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--accept"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()


def test_help_lists_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for one in fields(Settings):
        assert f"{PREFIX}{one.name.upper()}" in text
        assert " ".join(one.metadata["meaning"].replace("`", "").split()) in text
