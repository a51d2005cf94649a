"""Download and build what a machine without a network lacks, and write it in pieces."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.command import ROOT, say
from bench.cuda.wheels import install
from bench.cuda.wheels.pieces import split

_PYTHON = "3.12"
# pip matches a tag exactly; wheels are built for any of these.
_PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_24_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
)
# PyTorch's environment has these, in versions that fit its driver.
_THERE = re.compile(r"nvidia-|numpy$")
_BASELINES = ("optimum", "optimum-onnx", "transformers", "tokenizers", "huggingface-hub")
_BESIDE = ("ctranslate2",)
_CONVERSION = ("onnx", "ml-dtypes")  # of a checkpoint to our bundle, beside what PyTorch's has
_SOURCE = (
    "bench", "commandline", "engine", "equations", "loadtest", "model_export", "models", "service",
    "training", "pyproject.toml", "README.md",
)  # fmt: skip
_BUILT = ("engine/kernels/cuda/library.so",)  # of `make cuda-kernels`, where it was run


class PackError(RuntimeError):
    """A download or a build failed; the message ends with its output."""


def pack(out: Path, most_bytes: int) -> list[Path]:
    """Write pieces, their list and the installer into the folder `out`; return the pieces.

    Raises `PackError`.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("piece*"):
        old.unlink()
    with tempfile.TemporaryDirectory(dir=out) as name:
        folder = Path(name)
        site = folder / "wheels/site"
        say("downloading ONNX Runtime for CUDA and what the service needs")
        for requirements in site_requirements():
            _download(requirements, site)
        say("downloading the baselines")
        _download(pins(_lock("baselines"), _BASELINES), folder / "wheels/baselines")
        say("building our own wheel")
        _run("wheel", "--quiet", "--no-deps", "--wheel-dir", str(site), str(ROOT))
        archive = folder / "pieces.tar"
        with tarfile.open(archive, "w") as whole:  # wheels are compressed already
            whole.add(folder / "wheels", "wheels")
            for path in _sources():
                whole.add(ROOT / path, f"source/{path}")
        pieces = split(archive, out, most_bytes)
    shutil.copy2(install.__file__, out / "install.py")
    return pieces


def site_requirements() -> list[list[str]]:
    """Return the requirements of our engine and of the baselines that run beside it.

    pip wants lines with hashes and lines without in different files.
    """
    locked = without(_lock("serve-gpu"), _THERE)
    unlocked = pins(_lock("convert"), _CONVERSION) + pins(_lock("baselines"), _BESIDE)
    return [locked, unlocked]


def without(lock: str, excluded: re.Pattern[str]) -> list[str]:
    """Return the lines of a lock file with hashes, but for the requirements `excluded`."""
    kept, keeping = [], False
    for line in lock.splitlines():
        if line and line[0].isalnum():
            keeping = not excluded.match(line.partition("==")[0])
        if keeping and not line.lstrip().startswith("#"):
            kept.append(line)
    return kept


def pins(lock: str, names: Sequence[str]) -> list[str]:
    """Return the pins of `names` in a lock file."""
    found = dict(re.findall(r"^([\w.-]+)(==[^\s;\\]+)", lock, re.MULTILINE))
    return [f"{name}{found[name]}" for name in names]


def _lock(name: str) -> str:
    return (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")


def _download(requirements: Sequence[str], to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    listed = to.with_suffix(".txt")
    listed.write_text("\n".join([*requirements, ""]), encoding="utf-8")
    platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
    _run(
        "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", _PYTHON,
        "--implementation", "cp", *platforms, "--dest", str(to), "--requirement", str(listed),
    )  # fmt: skip
    listed.unlink()


def _sources() -> list[str]:
    """Return the files of the checkout that the comparison and the service need."""
    command = ["git", "ls-files", "-z", "--", *_SOURCE]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    paths = [path for path in listed.stdout.split("\0") if path and (ROOT / path).exists()]
    return paths + [path for path in _BUILT if (ROOT / path).exists()]


def _run(*words: str) -> None:
    command = [sys.executable, "-P", "-m", "pip", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise PackError(f"pip {words[0]} failed: {' '.join(done.stderr.split())[-500:]}")
