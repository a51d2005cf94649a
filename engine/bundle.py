"""A bundle: the folder that export writes and serving reads; nothing else passes between them.

`manifest.json` names every other file with its size and SHA-256; a bundle that does not match its
manifest does not load.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from engine.contracts import Decoding

FORMAT = 6  # of the bundles that `model_export` writes
READABLE = (4, 5, FORMAT)  # formats that load (docs/versioning.md)
SETTINGS_SINCE = 5  # the format from which bundles can sample, search with beams and penalise
MANIFEST = "manifest.json"
ENCODER, DECODER, TOKENIZER = "encoder.onnx", "decoder.onnx", "tokenizer.json"
CANDIDATES, DRAW = "candidates.onnx", "draw.onnx"  # from format 5 on: see model_export.choosing
REFERENCE = "reference.json"  # sources and the tokens they gave at export, to check a runtime
NO_PROMPT = "none"  # the prompt format of a bundle for other tasks than equations
REQUIRED = (ENCODER, DECODER, TOKENIZER, REFERENCE)


class BundleError(ValueError):
    """A folder is not a complete, undamaged bundle; the message names the file and the reason."""


@dataclass(frozen=True)
class Architecture:
    """The dimensions of a T5 that decoding depends on, and its special tokens."""

    decoder_layers: int
    heads: int
    d_kv: int
    parameters: int
    pad_id: int
    eos_id: int
    start_id: int


@dataclass(frozen=True)
class Limits:
    max_source_tokens: int
    max_new_tokens: int


@dataclass(frozen=True)
class Manifest:
    """The contents of `manifest.json`. `files` maps each name to its `bytes` and `sha256`."""

    format: int
    name: str
    version: str
    prompt_format: str  # a name in equations.formats.FORMATS, or "none": no equations
    target_format: str  # the target of that format, or "text": anything
    precision: str
    architecture: Architecture
    limits: Limits
    # (log-probability of an answer, share of such answers that were right), ascending; may be empty
    calibration: tuple[tuple[float, float], ...]
    provenance: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    # The model's own settings, as `contracts.Decoding` names them; a request overrides them.
    decoding: Mapping[str, Any] = field(default_factory=dict)

    @property
    def solves(self) -> bool:
        """True for a model that solves equations, False for any other text-to-text task."""
        return self.prompt_format != NO_PROMPT

    @property
    def has_settings(self) -> bool:
        """True where the decoder can do more than decode greedily: see `contracts.Decoding`."""
        return self.format >= SETTINGS_SINCE

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parse a manifest of a format in `READABLE`. Raises `BundleError` for any other text."""
        try:
            raw = json.loads(text)
            if type(raw["format"]) is not int or raw["format"] not in READABLE:
                raise BundleError(_other_format(raw["format"]))
            raw["architecture"] = Architecture(**raw["architecture"])
            raw["limits"] = Limits(**raw["limits"])
            raw["calibration"] = tuple((float(x), float(y)) for x, y in raw["calibration"])
            raw["decoding"] = as_tuples(raw.get("decoding", {}))
            Decoding(**raw["decoding"])  # an error where it is not one
            raw["files"] = {
                name: {"bytes": file["bytes"], "sha256": file["sha256"]}
                for name, file in raw["files"].items()
            }
            return cls(**{field_.name: raw[field_.name] for field_ in fields(cls)})
        except BundleError:
            raise
        except RecursionError as error:
            raise BundleError("not a manifest: its brackets are nested too deeply") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(f"not a manifest: {type(error).__name__}: {error}") from error


def as_tuples(value: Any) -> Any:
    """Return JSON with tuples for lists, as `Decoding` has them."""
    if isinstance(value, dict):
        return {name: as_tuples(one) for name, one in value.items()}
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value


def load_manifest(folder: Path) -> Manifest:
    """Check every file that the manifest names, and return the manifest.

    Raises `BundleError`.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        _check(folder / name, expected)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest without checking the other files. Raises `BundleError`."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(_not_a_bundle(folder))
    try:
        manifest = Manifest.from_json(path.read_text(encoding="utf-8"))
    except (BundleError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: {error}") from error
    required = (*REQUIRED, *((CANDIDATES, DRAW) if manifest.has_settings else ()))
    missing = [name for name in required if name not in manifest.files]
    if missing:
        raise BundleError(f"{path}: names no {', '.join(missing)}")
    return manifest


def _other_format(found: object) -> str:
    if isinstance(found, int) and found > FORMAT:
        advice = "a newer version of this service reads it"
    else:
        advice = "export its checkpoint again (python -m model_export export)"
    read = ", ".join(map(str, READABLE[:-1]))
    return f"format {found!r:.20}; this service reads formats {read} and {FORMAT}: {advice}"


def _not_a_bundle(folder: Path) -> str:
    reason = f"{folder} is not a bundle: it has no {MANIFEST}"
    if (folder / "config.json").is_file():
        return f"{reason}; it is a checkpoint, and python -m model_export export makes a bundle"
    if not folder.exists():
        expected = "expected the folder of a bundle"
        return f"{folder} is not a bundle: there is no such folder; {expected}, not a hub's name"
    return reason


def _check(path: Path, expected: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise BundleError(f"{path}: missing")
    size = path.stat().st_size
    if size != expected["bytes"]:
        raise BundleError(f"{path}: {size} bytes; the manifest says {expected['bytes']}")
    if fingerprint(path)["sha256"] != expected["sha256"]:
        raise BundleError(f"{path}: damaged, its SHA-256 is not the manifest's")


def fingerprint(path: Path) -> dict[str, Any]:
    """Return the size and SHA-256 of a file, as a manifest records them."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
