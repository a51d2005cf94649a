"""Every setting of the service, read once from `CYBERSOLVE_*` variables and command-line flags.

Nothing else reads the environment. docs/settings.md and `cybersolve serve --help` are generated
from here.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

PREFIX = "CYBERSOLVE_"
_BUNDLED_MODEL = Path(__file__).resolve().parent.parent / "models" / "cybersolve-mini"
_MAY_BE_ZERO = {"cached_answers", "metrics_port", "port"}  # a port of 0: any that is free
_PORTS = ("port", "metrics_port")
_HIGHEST_PORT = 65_535
PROVIDERS = ("auto", "cpu", "cuda")
# The levels of `engine.kernels`.
KERNELS = (
    "auto", "none", "avx512vnni", "avx512", "avxvnni", "avx2", "i8mm", "dotprod", "cuda",
    "cuda-graphs",
)  # fmt: skip
LOG_FORMATS = ("text", "json")
PRECISIONS = ("fp32", "fp16", "int8")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_CHOICES = {
    "precision": PRECISIONS,
    "provider": PROVIDERS,
    "kernels": KERNELS,
    "log_format": LOG_FORMATS,
}


class SettingsError(ValueError):
    """A setting has an unusable value; the message names it and what was expected."""


def _setting(default: Any, meaning: str, unit: str = "") -> Any:
    """Return a field with its documentation, which docs/settings.md and `--help` show."""
    return field(default=default, metadata={"meaning": meaning, "unit": unit})


@dataclass(frozen=True)
class Settings:
    """Every setting of the service. Defaults suit the bundled model on a small machine."""

    model: Path = _setting(
        _BUNDLED_MODEL,
        "the served model: the folder of a bundle or of a T5 checkpoint, or a name on the Hugging "
        "Face hub; a checkpoint is converted on first use",
    )
    precision: str = _setting(
        "fp32", "number type that a checkpoint is converted to: `fp32`, `fp16`, `int8`"
    )
    revision: str | None = _setting(
        None, "branch, tag or commit of a model on the hub; by default its main branch"
    )
    model_cache: Path = _setting(Path("~/.cache/cybersolve"), "folder of converted models")
    name: str | None = _setting(
        None, "name under which the model is served, as in `/v2/models/NAME`; by default its own"
    )
    provider: str = _setting(
        "auto", "hardware: `cpu`, `cuda`, or `auto`: CUDA where it works, else the CPU"
    )
    kernels: str = _setting(
        "auto",
        "kernels of the engines; on a CPU a level: `avx512vnni`, `avx512`, `avxvnni`, `avx2`, "
        "`i8mm`, `dotprod`, `auto` (the fastest that the processor can run) or `none` (ONNX "
        "Runtime's own operators); on a GPU `none`, the default there, or `cuda` and "
        "`cuda-graphs`, which no GPU has run yet",
    )
    processes: int = _setting(
        1,
        "HTTP processes that share the port, each with its part of the engines, the cores, the "
        "queue and the connections; at most one for every two cores, unless the number of engines "
        "is set too",
    )
    workers: int | None = _setting(
        None,
        "engines, each in a process of its own; by default one for each core for small models, "
        "else one",
    )
    threads: int | None = _setting(
        None,
        "threads that share the arithmetic of one engine; by default one for small models, else "
        "the cores of each engine",
    )
    host: str = _setting("127.0.0.1", "address to listen on; `HOST` is a short form")
    port: int = _setting(8000, "port to listen on, 0: any free port; `PORT` is a short form")
    max_queue: int = _setting(
        1024, "limit of the queue; further questions are rejected with 429", "questions"
    )
    max_queue_tokens: int = _setting(
        131_072, "limit of the queue by the tokens of its questions", "tokens"
    )
    max_tries: int = _setting(
        10, "answers that the model may give to one question until one is correct; 1: no retry",
        "answers",
    )  # fmt: skip
    max_batch_rows: int = _setting(32, "rows that one engine decodes together", "rows")
    max_batch_tokens: int = _setting(
        4096, "source tokens that one engine encodes together", "tokens"
    )
    cached_answers: int = _setting(
        4096, "size of the cache of the latest answers; 0: no cache", "answers"
    )
    max_batch_questions: int = _setting(1000, "limit of one `POST /solve/batch`", "questions")
    max_body_bytes: int = _setting(1_000_000, "limit of a request's body", "bytes")
    default_timeout_s: float = _setting(30.0, "deadline of a request that sets none", "seconds")
    drain_timeout_s: float = _setting(
        20.0, "time for accepted requests to finish at shutdown", "seconds"
    )
    hang_timeout_s: float = _setting(
        60.0,
        "silence after which a busy engine, or one of several HTTP processes, is killed and "
        "restarted",
        "seconds",
    )
    max_connections: int = _setting(
        4096,
        "open connections; further ones, and those near the limit of open files, get 503",
        "connections",
    )
    receive_timeout_s: float = _setting(
        15.0, "time for a request's head to arrive, and again for its body", "seconds"
    )
    api_keys_file: Path | None = _setting(
        None, "file of the API keys that may send requests; by default no key is needed"
    )
    cors_origins: tuple[str, ...] = _setting(
        (), "origins, separated by commas, whose pages may send requests from a browser; `*`: all"
    )
    metrics_port: int | None = _setting(
        None, "port for `/metrics` and health alone; by default they are on the main port"
    )
    log_format: str = _setting("text", "`text`, or `json` for one JSON object a line")
    log_questions: bool = _setting(False, "1: log the question of each request, 0: never")

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if (chosen := getattr(self, name)) not in choices:
                expected = ", ".join(choices)
                raise SettingsError(f"{PREFIX}{name.upper()} is {chosen!r}; expected {expected}")
        if self.name is not None and not _NAME.fullmatch(self.name):
            expected = "1 to 63 letters, digits, dots, dashes and underscores"  # a part of a path
            raise SettingsError(f"{PREFIX}NAME is {self.name!r:.80}; expected {expected}")
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if 0 < value < math.inf:
                continue
            if value != 0 or one.name not in _MAY_BE_ZERO:
                raise SettingsError(
                    f"{PREFIX}{one.name.upper()} is {value}; expected finite, over 0"
                )
        for name in _PORTS:
            if (port := getattr(self, name)) is not None and port > _HIGHEST_PORT:
                raise SettingsError(
                    f"{PREFIX}{name.upper()} is {port}; expected 0 to {_HIGHEST_PORT}"
                )

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None
    ) -> Settings:
        """Read settings from `CYBERSOLVE_*`, `HOST` and `PORT`; `flags` (by field) override them.

        Raises `SettingsError` for a value that does not fit and for a setting that does not exist.
        """
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(PREFIX)
        }
        for short in ("host", "port"):
            if short.upper() in environment:
                given.setdefault(short, environment[short.upper()])
        unknown = sorted(set(given) - {one.name for one in fields(cls)})
        if unknown:
            raise SettingsError(f"no such setting: {PREFIX}{unknown[0].upper()}")
        given |= flags or {}
        return cls(
            **{one.name: _read(one, given[one.name]) for one in fields(cls) if one.name in given}
        )


def _read(one: Field[Any], text: str) -> Any:
    expected, read = _READERS[type_of(one)]
    try:
        return read(text)
    except ValueError as error:
        name = f"{PREFIX}{one.name.upper()}"
        raise SettingsError(f"{name} is {text!r}; expected {expected}") from error


def type_of(one: Field[Any]) -> str:
    """Return the type of a setting as its annotation has it, without `None`."""
    return str(one.type).removesuffix(" | None")


def default_of(one: Field[Any]) -> str:
    """Return the default of a setting as a variable would have it; empty where there is none."""
    if one.default == _BUNDLED_MODEL:
        return "the bundled model"
    if one.default is None or one.default == ():
        return ""
    return f"{one.default:d}" if isinstance(one.default, bool) else str(one.default)


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
