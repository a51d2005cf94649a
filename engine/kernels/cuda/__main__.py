"""Compile the kernels for a GPU."""

from __future__ import annotations

import subprocess
import sys

from engine.kernels.cuda import LIBRARY, compilation, find_nvcc


def main() -> int:
    nvcc = find_nvcc()
    if nvcc is None:
        print("cannot compile the kernels for a GPU: there is no nvcc; expected it on PATH, or the "
              "packages of requirements/cuda-kernels.txt", file=sys.stderr)  # fmt: skip
        return 1
    done = subprocess.run(compilation(nvcc), check=False)  # noqa: S603  # our own command
    if done.returncode == 0:
        print(LIBRARY)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
