"""Levels of a processor's instructions at or below its own, and how each engine is kept to one.

ONNX Runtime's own kernels cannot be: `optimum` keeps the processor's level.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine import kernels

# Of CTranslate2, MKL, oneDNN and PyTorch's own kernels.
_NAMES = ("CT2_FORCE_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA",
          "ATEN_CPU_CAPABILITY")  # fmt: skip
_VALUES = {
    "avx2": ("AVX2", "AVX2", "AVX2", "avx2"),
    "avxvnni": ("AVX2", "AVX2_E1", "AVX2_VNNI", "avx2"),
    "avx512": ("AVX512", "AVX512", "AVX512_CORE", "avx512"),
    "avx512vnni": ("AVX512", "AVX512_E1", "AVX512_CORE_VNNI", "avx512"),
}
LEVELS = tuple(_VALUES)


def environment(level: str) -> Mapping[str, str]:
    """Return what keeps every engine to `level`, one of `LEVELS`, when it starts.

    Raises `kernels.LevelMissing` where this processor does not have it.
    """
    kernels.level(level)
    return {"CYBERSOLVE_KERNELS": level, **dict(zip(_NAMES, _VALUES[level], strict=True))}


def here() -> list[str]:
    """Return the levels that this processor has, the slowest first."""
    return [level for level in LEVELS if level in kernels.levels()]
