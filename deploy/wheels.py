"""`python -m deploy.wheels`: build the wheels of the service, one for each kind of processor.

A wheel has the kernels of all levels of its kind, compiled natively or by Debian's cross compiler,
and the bundled model. The kernels use nothing of Python's, so one wheel is for every Python from
3.11 on.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Kind of processor: its cross compiler, and the Debian package that has it.
CROSS = {
    "x86_64": ("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
    "aarch64": ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
}
# Compiled for a GPU beside this processor, and for newer systems than the rest of a wheel.
_GPU_KERNELS = "engine/kernels/cuda/library.so"
_KERNELS = re.compile(r"engine/kernels/library\.abi3\.so")


class WheelError(Exception):
    """A wheel cannot be built; says what is missing, in one line."""


def build(machine: str, out: Path) -> Path:
    """Build the wheel for `machine`, one of `CROSS`, in `out`, and return it.

    Raises `WheelError`.
    """
    environment = os.environ | _compiler(machine)
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # where setuptools keeps removed modules
    with tempfile.TemporaryDirectory() as folder:
        _run(
            [
                sys.executable,
                "-P",
                "-m",
                "pip",
                "wheel",
                "-q",
                "--no-deps",
                "-w",
                folder,
                str(ROOT),
            ],
            environment,
        )
        (plain,) = Path(folder).glob("*.whl")
        if not any(map(_KERNELS.fullmatch, zipfile.ZipFile(plain).namelist())):
            raise WheelError(f"the kernels for {machine} do not compile")
        leave_out(plain, _GPU_KERNELS)
        # Names the oldest glibc that the kernels need, instead of any Linux.
        repaired = Path(folder) / "repaired"
        _run(["auditwheel", "repair", "--wheel-dir", str(repaired), str(plain)], environment)
        (wheel,) = repaired.glob("*.whl")
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(wheel, out))


def leave_out(wheel: Path, name: str) -> None:
    """Write a wheel anew without the file `name`; `auditwheel repair` does the same to its list."""
    with zipfile.ZipFile(wheel) as read:
        kept = [(info, read.read(info)) for info in read.infolist() if info.filename != name]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as written:
        for info, content in kept:
            written.writestr(info, content)


def _compiler(machine: str) -> dict[str, str]:
    """Return the environment in which setuptools compiles for `machine`."""
    if machine == platform.machine():
        return {}
    compiler, package = CROSS[machine]
    if shutil.which(compiler) is None:
        raise WheelError(f"no wheel for {machine}: needs {compiler} (Debian: {package})")
    return {
        "CC": compiler,
        "LDSHARED": f"{compiler} -shared",
        "_PYTHON_HOST_PLATFORM": f"linux-{machine}",  # as CPython's own cross builds
    }


def _run(command: Sequence[str], environment: dict[str, str]) -> None:
    scripts = Path(sys.executable).parent
    path = f"{scripts}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(  # noqa: S603  # our own lines
        command, env={**environment, "PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise WheelError(f"{' '.join(command[:4])} failed:\n{done.stdout}{done.stderr}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.wheels", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder for the wheels")
    parser.add_argument("machines", nargs="*", choices=[[], *CROSS], metavar="MACHINE",
        help=f"of {', '.join(CROSS)}; by default all")  # fmt: skip
    arguments = parser.parse_args(argv)
    status = 0
    for machine in arguments.machines or CROSS:
        try:
            print(build(machine, arguments.out))
        except WheelError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
