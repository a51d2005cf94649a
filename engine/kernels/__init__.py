"""Kernels of our own for the operators of `model_export.operators`, in C, for ONNX Runtime's CPU.

They are compiled when the project is installed, where there is a compiler, and used where the
processor has AVX-512 with VNNI. Elsewhere ONNX Runtime does the same with operators of its own, in
about twice the time.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def library() -> Path | None:
    """The compiled kernels, if there are any and this processor can run them."""
    spec = find_spec("engine.kernels.library")
    if spec is None or spec.origin is None:
        return None
    can_run = ctypes.CDLL(spec.origin).cybersolve_can_run
    return Path(spec.origin) if can_run() else None
