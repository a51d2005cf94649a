"""Kernels for a GPU, in CUDA C++; compile them with `make cuda-kernels` (or `python -m` this).

They replace the definitions of attention and of the choice of tokens, in fp32 and fp16. No GPU has
run them yet: tests run the same sources on the processor, one emulated thread after another.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

SOURCES = Path(__file__).parent
LIBRARY = SOURCES / "library.so"

# Ampere and Hopper, and what the driver of any later GPU compiles from.
_TARGETS = (
    "-gencode=arch=compute_80,code=sm_80",
    "-gencode=arch=compute_90,code=[sm_90,compute_90]",
)


def find_nvcc() -> Path | None:
    """Return the nvcc of NVIDIA's packages in this environment, else that of the path."""
    packaged = Path(sysconfig.get_path("purelib")) / "nvidia/cu13/bin"
    found = shutil.which("nvcc", path=str(packaged)) or shutil.which("nvcc")
    return Path(found) if found else None


def compilation(nvcc: Path, library: Path = LIBRARY) -> list[str]:
    """Return the command that compiles the library. It needs CUDA's headers, but no GPU."""
    sources = map(str, sorted(SOURCES.glob("*.cu")))
    options = ("-std=c++17", "-O3", "--shared", "-Xcompiler=-fPIC,-fvisibility=hidden")
    # NVIDIA's packages have CUDA's runtime in `lib`, where their own nvcc does not look.
    libraries = f"-L{nvcc.parent.parent / 'lib'}"
    return [str(nvcc), *options, *_TARGETS, libraries, "-o", str(library), *sources]
