"""The machine of a comparison on a GPU: how long it is lent, and whether it has the device."""

from __future__ import annotations

import sys

from engine.sessions import has_cuda

SECONDS = 560.0  # a machine lent for ten minutes starts and copies results, too


def can_use(device: str) -> bool:
    """Return whether ONNX Runtime can use `device`, `cpu` or `cuda`; say so where it cannot."""
    if device == "cuda" and not has_cuda():
        print("skipped: this ONNX Runtime has no CUDA; install the extra `gpu`", file=sys.stderr)
        return False
    return True
