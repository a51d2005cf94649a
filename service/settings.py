"""The one reader of the environment: every knob of the service, `CYBERSOLVE_<NAME>` each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

_PREFIX = "CYBERSOLVE_"
_BUNDLED_MODEL = Path(__file__).resolve().parent.parent / "models" / "cybersolve-mini"
_MAY_BE_ZERO = {"cached_answers"}
PROVIDERS = ("auto", "cpu", "cuda")


class SettingsError(ValueError):
    """An environment variable whose value cannot be used; says which and what was expected."""


@dataclass(frozen=True)
class Settings:
    """Defaults suit the bundled model on a small machine. Times are in seconds."""

    model: Path = _BUNDLED_MODEL  # a bundle's folder
    provider: str = "auto"  # auto, cpu or cuda
    workers: int | None = None  # engines, a process each; None: by the model's size and the cores
    threads: int | None = None  # for the arithmetic of one engine; None: likewise
    host: str = "127.0.0.1"
    port: int = 8000
    max_queue: int = 1024  # questions that may wait; more are refused with 429
    max_queue_tokens: int = 131_072  # that these may have together
    max_tries: int = 10  # answers of the model for one question; 1: the first, right or wrong
    max_batch_rows: int = 32  # questions under way in one engine
    max_batch_tokens: int = 4096  # of questions read together, padding included
    cached_answers: int = 4096  # kept in memory, the latest; 0: none
    max_batch_questions: int = 1000  # of one POST /solve/batch
    max_body_bytes: int = 1_000_000
    default_timeout_s: float = 30.0  # of a request that names none
    drain_timeout_s: float = 20.0  # for accepted requests, at shutdown
    hang_timeout_s: float = 60.0  # of silence, after which a busy engine is killed and restarted

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            expected = ", ".join(PROVIDERS)
            raise SettingsError(f"{_PREFIX}PROVIDER is {self.provider!r}; expected {expected}")
        for knob in fields(self):
            value = getattr(self, knob.name)
            if not isinstance(value, int | float) or value > 0:
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
        readers = {knob.name: _reader(str(knob.type)) for knob in fields(cls)}
        unknown = sorted(set(given) - set(readers))
        if unknown:
            raise SettingsError(f"no such setting: {_PREFIX}{unknown[0].upper()}")
        values = {}
        for name, text in given.items():
            try:
                values[name] = readers[name](text)
            except ValueError as error:
                kind = readers[name].__name__
                raise SettingsError(
                    f"{_PREFIX}{name.upper()} is {text!r}; expected {kind}"
                ) from error
        return cls(**values)


def _reader(annotation: str) -> type:
    return {"int": int, "int | None": int, "float": float, "Path": Path, "str": str}[annotation]
