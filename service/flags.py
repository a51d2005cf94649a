"""The flags of `cybersolve serve`, generated from the settings: each overrides its variable."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields

from service.settings import PREFIX, Settings, default_of

# The common settings. The others have variables only.
FLAGS = (
    "name",
    "host",
    "port",
    "precision",
    "revision",
    "provider",
    "processes",
    "workers",
    "threads",
    "metrics_port",
    "api_keys_file",
    "log_format",
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add `MODEL` and a flag for each of `FLAGS`; list every setting below them."""
    by_name = {one.name: one for one in fields(Settings)}
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", nargs="?", metavar="MODEL", help=_plain(by_name["model"].metadata))
    for name in FLAGS:
        default = default_of(by_name[name])
        shown = f" (default: {default})" if default else ""
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(
            flag, dest=name, metavar="VALUE", help=_plain(by_name[name].metadata) + shown
        )
    parser.epilog = _variables()


def given(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the settings that the command line sets, as text by field."""
    chosen = {name: getattr(arguments, name, None) for name in ("model", *FLAGS)}
    return {name: text for name, text in chosen.items() if text is not None}


def _variables() -> str:
    lines = ["Environment variables (docs/settings.md), which flags override:"]
    for one in fields(Settings):
        default = default_of(one)
        lines += [
            f"  {PREFIX}{one.name.upper()}{f' (default: {default})' if default else ''}",
            f"      {_plain(one.metadata)}",
        ]
    return "\n".join(lines)


def _plain(metadata: Mapping[str, str]) -> str:
    """Return the meaning of a setting with its unit, without Markdown, for argparse."""
    meaning, unit = metadata["meaning"], metadata["unit"]
    return (f"{meaning}, in {unit}" if unit in ("seconds", "bytes") else meaning).replace("`", "")
