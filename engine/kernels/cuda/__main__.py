"""Compile the kernels for a GPU, with the `nvcc` of the path."""

from __future__ import annotations

import shutil
import subprocess
import sys

from engine.kernels.cuda import LIBRARY, compilation


def main() -> int:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        print("cannot compile the kernels for a GPU: there is no nvcc; expected it on PATH",
              file=sys.stderr)  # fmt: skip
        return 1
    done = subprocess.run(compilation(nvcc), check=False)  # noqa: S603  # our own command
    if done.returncode == 0:
        print(LIBRARY)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
