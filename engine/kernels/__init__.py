"""Kernels of our own for the operators of `model_export.operators`, in C, for ONNX Runtime's CPU.

They are compiled when the project is installed, where there is a compiler: one set of kernels for
each level of instructions, of which a process uses one. Without kernels ONNX Runtime does the same
with operators of its own, in about twice the time.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec
from itertools import count, takewhile
from pathlib import Path

from engine.kernels import cuda

# From the fastest on: those of x86-64, then of ARM64.
LEVELS = ("avx512vnni", "avx512", "avxvnni", "avx2", "i8mm", "dotprod")
NONE = "none"
# On a GPU: our kernels there; and the decoder's step with them as CUDA graphs. `auto` is `none`.
CUDA, CUDA_GRAPHS = "cuda", "cuda-graphs"
ON_GPU = (CUDA, CUDA_GRAPHS)
CHOICES = ("auto", NONE, *LEVELS, *ON_GPU)


class LevelMissing(ValueError):
    """A level was asked for that this processor or installation does not have."""


@cache
def _library() -> Path | None:
    spec = find_spec(f"{__name__}.library")
    return Path(spec.origin) if spec and spec.origin else None


@cache
def levels() -> tuple[str, ...]:
    """Return the levels that this processor can run, the fastest first; none without kernels."""
    path = _library()
    if path is None:
        return ()
    name = ctypes.CDLL(str(path)).cybersolve_level
    name.restype = ctypes.c_char_p
    return tuple(found.decode() for found in takewhile(bool, map(name, count())))


def level(requested: str = "auto") -> str:
    """Return the level that `requested`, one of `CHOICES`, means here: `none` or one of `LEVELS`.

    Raises `LevelMissing` for a level that this processor cannot run.
    """
    here = levels()
    if requested in ON_GPU:
        raise LevelMissing(f"kernels {requested}: they run on a GPU; expected provider cuda")
    if requested == "auto":
        return here[0] if here else NONE
    if requested == NONE or requested in here:
        return requested
    expected = ", ".join(("auto", NONE, *here))
    why = "this processor cannot run them" if _library() else "this installation has no kernels"
    raise LevelMissing(f"kernels {requested}: {why}; expected {expected}")


def use(requested: str = "auto") -> Path | None:
    """Have sessions opened from now on use a level; return the library that they register.

    Returns `None` where the level is `none`. Raises `LevelMissing`, as `level` does.
    """
    chosen, path = level(requested), _library()
    if chosen == NONE or path is None:
        return None
    assert ctypes.CDLL(str(path)).cybersolve_use(chosen.encode()), "levels() has it: this is a bug"
    return path


def use_on_gpu(requested: str) -> Path | None:
    """Return the library that sessions on a GPU register for `requested`, one of `CHOICES`.

    Returns `None` where it is not one of `ON_GPU`. Raises `LevelMissing` without the library.
    """
    if requested not in ON_GPU:
        return None
    if not cuda.LIBRARY.is_file():
        raise LevelMissing(
            f"kernels {requested}: this installation has none for a GPU; "
            "compile them with python -m engine.kernels.cuda, which needs nvcc"
        )
    return cuda.LIBRARY
