"""Read the tensors of a checkpoint one at a time, in fp32, from files that are mapped into memory.

`model.safetensors`, whole or in shards, needs no torch. `pytorch_model.bin` is a pickle, which only
torch's weights-only reader opens here: it builds tensors and executes nothing.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.files import read_object, require_content

Matrix = npt.NDArray[np.float32]

SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"
OPTIMUM = "encoder_model.onnx"  # of the graphs that optimum writes
_FLOATS = {"BF16", "F16", "F32", "F64"}  # safetensors' names of the types that are read
_ELSEWHERE = ("tf_model.h5", "flax_model.msgpack", "model.ckpt.index")


class Tensors(Protocol):
    """The tensors of one checkpoint by name."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...

    def read(self, name: str) -> Matrix:
        """Return one tensor as a new array. Raises `CheckpointError`."""
        ...

    def place(self, name: str) -> str:
        """Return the file of a tensor, for messages."""
        ...


def open_tensors(folder: Path) -> Tensors:
    """Return the tensors of a folder: transformers' order of preference.

    Raises `CheckpointError`.
    """
    for name, reader in ((SAFETENSORS, Safetensors), (PICKLE, Pickled)):
        if (folder / name).exists():
            return reader({folder / name: None})
        index = folder / f"{name}.index.json"
        if index.exists():
            return reader(_shards(index))
    if (folder / OPTIMUM).exists():
        from model_export.checkpoint.optimum_graphs import OptimumGraphs  # noqa: PLC0415  for onnx

        return OptimumGraphs(folder)
    for name in _ELSEWHERE:
        if (folder / name).exists():
            raise CheckpointError(
                f"{folder / name}: weights of another framework; save them with transformers as "
                f"{SAFETENSORS}"
            )
    raise CheckpointError(f"{folder}: no weights; expected {SAFETENSORS} or {PICKLE}")


Shards = Mapping[Path, set[str] | None]  # the names that each file must have; None: any


def _shards(index: Path) -> Shards:
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CheckpointError(f"{index}: no weight_map from tensors to files")
    shards: dict[Path, set[str]] = {}
    for tensor, file in names.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise CheckpointError(f"{index}: {file!r:.60} is not a file of this folder")
        shards.setdefault(index.parent / file, set()).add(tensor)
    return shards


class Safetensors:
    """Implement `Tensors` for safetensors files, mapped only while a tensor is read from them."""

    def __init__(self, shards: Shards) -> None:
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._places: dict[str, Path] = {}
        for path, expected in shards.items():
            with _open_safetensors(path) as file:
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  no dict
            _require_named(path, set(shapes), expected)
            self._shapes.update(shapes)
            self._places.update(dict.fromkeys(shapes, path))

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self._shapes

    def read(self, name: str) -> Matrix:
        with _open_safetensors(self._places[name]) as file:
            kind = file.get_slice(name).get_dtype()
            if kind not in _FLOATS:
                raise CheckpointError(_other_type(self.place(name), name, kind))
            return _in_fp32(file.get_tensor(name))

    def place(self, name: str) -> str:
        return str(self._places[name])


class Pickled:
    """Implement `Tensors` for files that torch wrote, mapped where their layout allows it."""

    def __init__(self, shards: Shards) -> None:
        self._tensors: dict[str, Any] = {}
        self._places: dict[str, Path] = {}
        for path, expected in shards.items():
            tensors = _load_pickle(path)
            _require_named(path, set(tensors), expected)
            self._tensors.update(tensors)
            self._places.update(dict.fromkeys(tensors, path))

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def read(self, name: str) -> Matrix:
        tensor = self._tensors[name]
        if not tensor.is_floating_point():
            raise CheckpointError(_other_type(self.place(name), name, str(tensor.dtype)))
        value: Matrix = tensor.float().numpy()
        return value

    def place(self, name: str) -> str:
        return str(self._places[name])


def _open_safetensors(path: Path) -> Any:
    try:
        return safe_open(require_content(path), framework="np")
    except SafetensorError as error:
        raise CheckpointError(f"{path}: truncated or damaged: {error}") from error


def _load_pickle(path: Path) -> dict[str, Any]:
    """Return the tensors of a state dictionary that torch saved. Raises `CheckpointError`."""
    require_content(path)
    try:
        import torch  # noqa: PLC0415  the only file layout that needs it
    except ImportError as error:
        raise CheckpointError(
            f"{path}: a pickle, which is read by torch's weights-only reader alone; install torch, "
            f"or save the checkpoint as {SAFETENSORS}"
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: has more than weights in it, and is not loaded, because it could execute code"
        ) from error
    except (EOFError, OSError, RuntimeError, ValueError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{path}: truncated or damaged: {line}") from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise CheckpointError(f"{path}: expected a dictionary of tensors")
    return dict(state)


def _is_zip(path: Path) -> bool:
    """Return True for the layout that can be mapped; torch before 1.6 wrote another."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _require_named(path: Path, found: set[str], expected: set[str] | None) -> None:
    missing = sorted((expected or set()) - found)
    if missing:
        raise CheckpointError(f"{path}: has no {missing[0]}, which the index places there")


def _other_type(place: str, name: str, kind: str) -> str:
    return (
        f"{place}: {name} is of type {kind}; expected bf16, fp16 or fp32 "
        "(use the checkpoint before its quantisation)"
    )


def _in_fp32(value: npt.NDArray[Any]) -> Matrix:
    """Return a tensor in fp32. Values of fp64 beyond its range become infinite."""
    with np.errstate(over="ignore"):
        return value.astype(np.float32, copy=False)
