"""Download and build what a machine without a network lacks, and write it in pieces."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from bench.command import ROOT, say
from bench.cuda.wheels import install
from bench.cuda.wheels.pieces import split
from engine.kernels.cuda import LIBRARY, SOURCES

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
_TRAINING = ("accelerate", "matplotlib", "pyarrow", "rouge-score", "sacrebleu", "tensorboard")
_PYTORCH = ("torch", "transformers", "huggingface-hub")  # they, and what they alone need, are there
_WITHOUT_WHEEL = {"rouge-score"}  # of PyPI: built here, of Python alone
_SOURCE = (
    "bench", "commandline", "engine", "equations", "loadtest", "model_export", "models", "service",
    "training", "pyproject.toml", "README.md",
)  # fmt: skip
_BUILT = LIBRARY.relative_to(ROOT)  # by `make cuda-kernels`


class PackError(RuntimeError):
    """A download or a build failed, and the message ends with its output; or a part is missing."""


def pack(out: Path, most_bytes: int) -> list[Path]:
    """Write pieces, their list and the installer into the folder `out`; return the pieces.

    Raises `PackError`.
    """
    require_built(LIBRARY, SOURCES)
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("piece*"):
        old.unlink()
    with tempfile.TemporaryDirectory(dir=out) as name:
        folder = Path(name)
        site = folder / "wheels/site"
        say("downloading ONNX Runtime for CUDA and what the service and training need")
        for requirements in site_requirements():
            _download(requirements, site)
        for requirement in built_requirements():
            _build(requirement, site)
        say("downloading the baselines")
        _download(pins(_lock("baselines"), _BASELINES), folder / "wheels/baselines")
        say("building our own wheel")
        _build(str(ROOT), site)
        archive = folder / "pieces.tar"
        with tarfile.open(archive, "w") as whole:  # wheels are compressed already
            whole.add(folder / "wheels", "wheels")
            for path in _sources():
                whole.add(ROOT / path, f"source/{path}")
        pieces = split(archive, out, most_bytes)
    shutil.copy2(install.__file__, out / "install.py")
    return pieces


def require_built(library: Path, sources: Path) -> None:
    """Raise `PackError` where the kernels for a GPU are missing or older than their `sources`."""
    compiled = library.stat().st_mtime if library.exists() else 0.0
    newer = [path.name for path in sources.glob("*.cu*") if path.stat().st_mtime > compiled]
    if newer:
        raise PackError(
            f"{library}: missing, or older than {newer[0]}; `make cuda-kernels` compiles it"
        )


def site_requirements() -> list[list[str]]:
    """Return the requirements of our engine, of the baselines that run beside it and of training.

    pip wants lines with hashes and lines without in different files.
    """
    locked = without(_lock("serve-gpu"), _THERE)
    unlocked = pins(_lock("convert"), _CONVERSION) + pins(_lock("baselines"), _BESIDE)
    return [locked, unlocked, pins(_lock("dev"), sorted(_training() - _WITHOUT_WHEEL))]


def built_requirements() -> list[str]:
    """Return the requirements whose wheels are built here."""
    return pins(_lock("dev"), sorted(_training() & _WITHOUT_WHEEL))


def _training() -> set[str]:
    return {name for name in needed(_lock("dev"), _TRAINING, _PYTORCH) if not _THERE.match(name)}


def needed(lock: str, roots: Collection[str], without: Collection[str] = ()) -> set[str]:
    """Return `roots` and all that they need, by the comments of a lock file; not `without`, nor
    what these alone need.
    """
    needs: dict[str, list[str]] = {}
    name = ""
    for line in lock.splitlines():
        if line and line[0].isalnum():
            name = line.partition("==")[0]
        elif by := re.match(r"    # (?:  |via )(\S+)$", line):
            needs.setdefault(by[1], []).append(name)
    found, waiting = set(roots), list(roots)
    while waiting:
        new = [name for name in needs.get(waiting.pop(), ()) if name not in {*found, *without}]
        found.update(new)
        waiting += new
    return found


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


def _build(project: str, to: Path) -> None:
    _run("wheel", "--quiet", "--no-deps", "--wheel-dir", str(to), project)


def _sources() -> list[str]:
    """Return the files of the checkout that the comparison and the service need."""
    command = ["git", "ls-files", "-z", "--", *_SOURCE]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    paths = [path for path in listed.stdout.split("\0") if path and (ROOT / path).exists()]
    return [*paths, str(_BUILT)]


def _run(*words: str) -> None:
    command = [sys.executable, "-P", "-m", "pip", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise PackError(f"pip {words[0]} failed: {' '.join(done.stderr.split())[-500:]}")
