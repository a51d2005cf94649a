"""Merge a LoRA adapter that PEFT saved into the weights of its base model.

A merged matrix is W + scale * B A, of A (rank, inputs) and B (outputs, rank). Source: Hu et al.
2021, and the file layout of the `peft` package.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.files import read_object
from model_export.checkpoint.tensors import Matrix, Safetensors, Tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
# Settings that change what is merged, with the values that mean plain LoRA.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "alpha_pattern": (None, {}),
    "bias": (None, "none"),
    "fan_in_fan_out": (None, False),
    "lora_bias": (None, False),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "use_bdlora": (None, False),
    "use_dora": (None, False),
    "use_qalora": (None, False),
}


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter and the folder of its base model."""

    folder: Path
    base: Path
    scale: float

    def merged(self, base: Tensors) -> Tensors:
        """Return the base's tensors with the adapter's products added. Raises `CheckpointError`."""
        return _Merged(base, self)


def read_adapter(folder: Path) -> Adapter:
    """Return the adapter in a folder. Raises `CheckpointError`."""
    path = folder / CONFIG
    settings = read_object(path)
    kind = settings.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(f"{path}: peft_type is {kind!r:.40}; expected LORA")
    for name, plain in _PLAIN.items():
        if settings.get(name) not in plain:
            raise CheckpointError(
                f"{path}: {name} is {settings[name]!r:.60}, which is not merged here; merge the "
                "adapter with peft (merge_and_unload) and save the whole model"
            )
    return Adapter(folder, _base(settings, path), _scale(settings, path))


def _base(settings: Mapping[str, Any], path: Path) -> Path:
    """Return the folder of the base model, which may be in the hub's cache on this machine."""
    named = str(settings.get("base_model_name_or_path"))
    for folder in (path.parent / named, Path(named), _cached(named)):
        if folder is not None and folder.is_dir():
            return folder
    raise CheckpointError(
        f"{path}: the base model {named:.100} is neither a folder here nor in the hub's cache; "
        f"download it first: hf download {named:.100}"
    )


def _cached(name: str) -> Path | None:
    """Return the folder of a model that was downloaded from the hub. Asks no network."""
    try:
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415  for adapters alone

        found = try_to_load_from_cache(name, "config.json")
    except (ImportError, ValueError):  # a path is no name
        return None
    return Path(found).parent if isinstance(found, str) else None


def _scale(settings: Mapping[str, Any], path: Path) -> float:
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise CheckpointError(f"{path}: expected numbers for r and lora_alpha, r from 1")
    return alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)


class _Merged:
    """Implement `Tensors`: those of a base model, with products of an adapter added."""

    def __init__(self, base: Tensors, adapter: Adapter) -> None:
        self._base = base
        self._scale = adapter.scale
        self._parts = Safetensors({adapter.folder / WEIGHTS: None})
        self._changed: set[str] = set()
        for part in self._parts.shapes:
            name = _matrix(part)
            if name not in base.shapes or len(base.shapes[name]) != 2:
                raise CheckpointError(
                    f"{adapter.folder / WEIGHTS}: {part} belongs to no matrix of {adapter.base}; "
                    "expected lora_A and lora_B of the base model's linear layers"
                )
            self._changed.add(name)
        for name in self._changed:
            self._require_factors(name)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self._base.shapes

    def read(self, name: str) -> Matrix:
        value = self._base.read(name)
        if name in self._changed:
            down, up = (self._parts.read(part) for part in _factors(name))
            value = value + self._scale * (up @ down)
        return value

    def place(self, name: str) -> str:
        if name in self._changed:
            return self._parts.place(_factors(name)[0])
        return self._base.place(name)

    def _require_factors(self, name: str) -> None:
        down, up = (self._parts.shapes.get(part) for part in _factors(name))
        outputs, inputs = self._base.shapes[name]
        fit = down and up and (up[0], down[1], up[1]) == (outputs, inputs, down[0])
        if not fit:
            raise CheckpointError(
                f"{self.place(name)}: the factors of {name} are {up} and {down}; expected "
                f"({outputs}, rank) and (rank, {inputs})"
            )


def _matrix(part: str) -> str:
    """Return the name of the matrix that a tensor of an adapter changes."""
    name = part.removeprefix(_PREFIX)
    return name.replace(".lora_A.weight", ".weight").replace(".lora_B.weight", ".weight")


def _factors(name: str) -> tuple[str, str]:
    stem = _PREFIX + name.removesuffix(".weight")
    return f"{stem}.lora_A.weight", f"{stem}.lora_B.weight"
