"""Keep the bundles of converted models: each is made once, by one process, and then only loaded."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.bundle import FORMAT, MANIFEST, BundleError, read_manifest
from model_export.models import hub
from model_export.models.errors import ModelNotFound, PackageMissing

_LOG = logging.getLogger(__name__)
PRECISIONS = ("fp32", "fp16", "int8")
_CHECKPOINTS = ("config.json", "adapter_config.json")  # one of them is in every checkpoint's folder

Convert = Callable[..., Any]


@dataclass(frozen=True)
class Wanted:
    """A model as a user names it, and how it is to be served."""

    model: str  # a folder, or a name on the hub
    precision: str = "fp32"  # of what is converted; a bundle has its own
    revision: str | None = None  # of a model on the hub


def bundle_of(wanted: Wanted, cache: Path, convert: Convert | None = None) -> Path:
    """Return the folder of the model's bundle, which is converted into `cache` on first use.

    A bundle is returned as it is. What the hub has is looked for there only once: later calls with
    the same name and revision use what was converted, without a network. Other processes that want
    the same model wait for the one that converts it.

    Raises `ModelNotFound`, and the errors of `model_export.convert.convert`.
    """
    folder = Path(wanted.model)
    if (folder / MANIFEST).exists():
        return folder
    if folder.is_dir():
        if not any((folder / name).exists() for name in _CHECKPOINTS):
            raise ModelNotFound(
                f"{folder}: neither a bundle ({MANIFEST}) nor a checkpoint (config.json)"
            )
        return _converted(wanted, _folder_key(folder), cache, lambda: folder, convert)
    if folder.is_absolute() or wanted.model.startswith(".") or not hub.is_name(wanted.model):
        raise ModelNotFound(
            f"{wanted.model}: no such folder; expected that of a bundle or checkpoint"
        )
    return _converted(
        wanted,
        {"name": wanted.model, "revision": wanted.revision},
        cache,
        lambda: hub.download(wanted.model, wanted.revision),
        convert,
    )


def _folder_key(folder: Path) -> dict[str, Any]:
    """Return what tells this folder's content from another's, without reading the weights."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    found = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return {"folder": str(folder.resolve()), "files": found}


def _converted(
    wanted: Wanted,
    key: dict[str, Any],
    cache: Path,
    checkpoint: Callable[[], Path],
    convert: Convert | None,
) -> Path:
    key |= {"precision": wanted.precision, "format": FORMAT}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    name = Path(wanted.model).resolve().name if "folder" in key else wanted.model
    out = cache / f"{name.replace('/', '--')}-{wanted.precision}-{digest}"
    if _is_whole(out):
        return out
    with _alone(out):
        if not _is_whole(out):  # another process may have converted it meanwhile
            _LOG.info("%s: converting to %s in %s", wanted.model, wanted.precision, out)
            (convert or _convert)(checkpoint(), out, precision=wanted.precision, name=name)
    return out


def _is_whole(out: Path) -> bool:
    with suppress(BundleError):
        read_manifest(out)  # which is written last; loading checks the other files
        return True
    return False


def _convert(source: Path, out: Path, *, precision: str, name: str) -> None:
    try:
        from model_export.convert import convert
    except ModuleNotFoundError as error:
        raise PackageMissing(source, error) from error
    convert(source, out, precision=precision, name=name)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold a lock beside `out`, which the system releases even if this process is killed."""
    path = out.with_name(f".{out.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _LOG.info("waiting for the process that converts to %s", out)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
