"""Kernels for a GPU, in CUDA C++; compile them with `make cuda-kernels` (or `python -m` this).

They replace the definitions of attention and of the choice of tokens, in fp32 and fp16. No GPU has
run them yet: tests run the same sources on the processor, one emulated thread after another.
"""

from __future__ import annotations

from pathlib import Path

SOURCES = Path(__file__).parent
LIBRARY = SOURCES / "library.so"

# Ampere and Hopper, and what the driver of any later GPU compiles from.
_TARGETS = (
    "-gencode=arch=compute_80,code=sm_80",
    "-gencode=arch=compute_90,code=[sm_90,compute_90]",
)


def compilation(nvcc: str = "nvcc", library: Path = LIBRARY) -> list[str]:
    """Return the command that compiles the library. It needs CUDA's headers, but no GPU."""
    sources = map(str, sorted(SOURCES.glob("*.cu")))
    options = ("-std=c++17", "-O3", "--shared", "-Xcompiler=-fPIC,-fvisibility=hidden")
    return [nvcc, *options, *_TARGETS, "-o", str(library), *sources]
