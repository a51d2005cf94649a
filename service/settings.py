"""The one reader of the environment: every knob of the service, `CYBERSOLVE_<NAME>` each."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

_PREFIX = "CYBERSOLVE_"
_BUNDLED_MODEL = Path(__file__).resolve().parent.parent / "models" / "cybersolve-mini"
_MAY_BE_ZERO = {"cached_answers", "metrics_port", "port"}  # a port of 0: any that is free
PROVIDERS = ("auto", "cpu", "cuda")
# The levels of `engine.kernels`.
KERNELS = ("auto", "none", "avx512vnni", "avx512", "avxvnni", "avx2", "i8mm", "dotprod")
LOG_FORMATS = ("text", "json")
_CHOICES = {"provider": PROVIDERS, "kernels": KERNELS, "log_format": LOG_FORMATS}


class SettingsError(ValueError):
    """An environment variable whose value cannot be used; says which and what was expected."""


@dataclass(frozen=True)
class Settings:
    """Defaults suit the bundled model on a small machine. Times are in seconds."""

    model: Path = _BUNDLED_MODEL  # a bundle's folder
    provider: str = "auto"  # auto, cpu or cuda
    kernels: str = "auto"  # level of a CPU's kernels: auto, none, or as docs/operate.md lists them
    workers: int | None = None  # engines, a process each; None: by the model's size and the cores
    threads: int | None = None  # for the arithmetic of one engine; None: likewise
    host: str = "127.0.0.1"
    port: int = 8000
    max_queue: int = 1024  # questions that may wait; more are refused with 429
    max_queue_tokens: int = 131_072  # that these may have together
    max_tries: int = 10  # answers of the model for one question; 1: the first, right or wrong
    max_batch_rows: int = 32  # questions under way in one engine
    max_batch_tokens: int = 4096  # of questions read together
    cached_answers: int = 4096  # kept in memory, the latest; 0: none
    max_batch_questions: int = 1000  # of one POST /solve/batch
    max_body_bytes: int = 1_000_000
    default_timeout_s: float = 30.0  # of a request that names none
    drain_timeout_s: float = 20.0  # for accepted requests, at shutdown
    hang_timeout_s: float = 60.0  # of silence, after which a busy engine is killed and restarted
    receive_timeout_s: float = 15.0  # for a request's head to arrive, and then for its body
    api_keys_file: Path | None = None  # who may ask; None: everybody who can reach the port
    cors_origins: tuple[str, ...] = ()  # pages that may ask from a browser, comma-separated; or *
    metrics_port: int | None = None  # for /metrics and health alone; None: with all the rest
    log_format: str = "text"  # text, for whoever starts it by hand, or json, for machines
    log_questions: bool = False  # whether a request's line has what was asked

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if (chosen := getattr(self, name)) not in choices:
                expected = ", ".join(choices)
                raise SettingsError(f"{_PREFIX}{name.upper()} is {chosen!r}; expected {expected}")
        for knob in fields(self):
            value = getattr(self, knob.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value > 0:
                continue
            if value != 0 or knob.name not in _MAY_BE_ZERO:
                raise SettingsError(f"{_PREFIX}{knob.name.upper()} is {value}; expected over 0")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Settings from `CYBERSOLVE_*`, with `HOST` and `PORT` as short forms of two of them.

        Raises `SettingsError` for a value that does not fit and for a knob that does not exist.
        """
        given = {
            name.removeprefix(_PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(_PREFIX)
        }
        for short in ("host", "port"):
            if short.upper() in environment:
                given.setdefault(short, environment[short.upper()])
        readers = {
            knob.name: _READERS[str(knob.type).removesuffix(" | None")] for knob in fields(cls)
        }
        unknown = sorted(set(given) - set(readers))
        if unknown:
            raise SettingsError(f"no such setting: {_PREFIX}{unknown[0].upper()}")
        values = {}
        for name, text in given.items():
            expected, read = readers[name]
            try:
                values[name] = read(text)
            except ValueError as error:
                raise SettingsError(
                    f"{_PREFIX}{name.upper()} is {text!r}; expected {expected}"
                ) from error
        return cls(**values)


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(text)
    return text == "1"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


_READERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "bool": ("0 or 1", _flag),
    "float": ("float", float),
    "int": ("int", int),
    "Path": ("a path", Path),
    "str": ("text", str),
    "tuple[str, ...]": ("names with commas between them", _names),
}
