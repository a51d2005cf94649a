"""Join the pieces that `python -m bench.cuda.wheels pack` wrote, and install what they hold.

    python install.py FOLDER --into TARGET

A copy of this file lies beside the pieces, for a machine that has nothing else of ours. It needs
PyTorch's environment and the standard library alone, and no network. Pieces that have arrived are
kept in TARGET, so a FOLDER may bring some of them at a time. `TARGET/python` then is PyTorch's
interpreter with our packages and CUDA's libraries; `TARGET/python-baselines` has the older
transformers, which optimum needs, before them.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import distributions
from pathlib import Path

_LIST = "pieces.json"
_WHEELS, _SOURCE = "wheels", "source"
_SITE, _BASELINES = "site", "baselines"
# CTranslate2 opens cuBLAS by the name of CUDA 12. It calls a few products, whose signatures did not
# change; that its answers are right is what the comparison checks first.
_ALIASES = {"libcublas.so.12": "libcublas.so.13"}


class InstallError(RuntimeError):
    """Pieces are missing or damaged, or the machine has no PyTorch; the message is one line."""


def install(folder: Path, target: Path) -> Path:
    """Install the pieces of `folder` and earlier ones into `target`; return its interpreter.

    Raises `InstallError`.
    """
    target.mkdir(parents=True, exist_ok=True)
    archive = _join(folder, target / "pieces")
    for name in (_WHEELS, _SOURCE, _SITE, _BASELINES):
        shutil.rmtree(target / name, ignore_errors=True)
    with tarfile.open(archive) as whole:
        whole.extractall(target, filter="data")
    present = {_normal(found.metadata["Name"]) for found in distributions()}
    wheels = sorted((target / _WHEELS / _SITE).glob("*.whl"))
    # PyTorch's environment keeps the versions that it was made with.
    missing = [wheel for wheel in wheels if _normal(wheel.name.split("-")[0]) not in present]
    _pip(missing, target / _SITE)
    _pip(sorted((target / _WHEELS / _BASELINES).glob("*.whl")), target / _BASELINES)
    for library in (target / _SITE).glob("engine/kernels/library*.so"):
        shutil.copy2(library, target / _SOURCE / "engine/kernels")
    libraries = _libraries(target)
    _launcher(target / "python-baselines", libraries, [target / _BASELINES, target / _SITE])
    return _launcher(target / "python", libraries, [target / _SITE])


def _join(folder: Path, kept: Path) -> Path:
    """Return the joined archive. Raises `InstallError` unless every piece is there and whole."""
    listed = folder / _LIST
    if not listed.exists():
        raise InstallError(f"{listed}: missing; expected the list that `pack` wrote")
    pieces = json.loads(listed.read_text(encoding="utf-8"))
    kept.mkdir(exist_ok=True)
    for name, expected in pieces.items():
        arrived = folder / name
        if arrived.exists():
            if _digest(arrived) != expected["sha256"]:
                raise InstallError(f"{arrived}: damaged; expected SHA-256 {expected['sha256']}")
            shutil.copyfile(arrived, kept / name)
    # Kept ones may be of an earlier `pack`.
    missing = [
        name
        for name, expected in pieces.items()
        if not (kept / name).exists() or _digest(kept / name) != expected["sha256"]
    ]
    if missing:
        raise InstallError(f"{len(missing)} of {len(pieces)} missing: {', '.join(missing)}")
    archive = kept.parent / "pieces.tar"
    with archive.open("wb") as whole:
        for name in pieces:
            with (kept / name).open("rb") as piece:
                shutil.copyfileobj(piece, whole)
    return archive


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")


def _pip(wheels: list[Path], to: Path) -> None:
    to.mkdir(exist_ok=True)
    if not wheels:
        return
    command = [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
               "--no-compile", "--target", str(to), *map(str, wheels)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise InstallError(f"pip failed: {' '.join(done.stderr.split())[-300:]}")


def _libraries(target: Path) -> list[Path]:
    """Return the folders of CUDA's libraries that PyTorch brought, with one of our aliases."""
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        raise InstallError(f"{sys.executable}: has no PyTorch; expected an environment with it")
    packages = Path(torch.origin).parents[1]
    folders = sorted(path for path in packages.glob("nvidia/*/lib") if any(path.glob("*.so*")))
    aliases = target / "libraries"
    shutil.rmtree(aliases, ignore_errors=True)
    aliases.mkdir()
    for wanted, present in _ALIASES.items():
        found = [path for folder in folders if (path := folder / present).exists()]
        if found and not any((folder / wanted).exists() for folder in folders):
            (aliases / wanted).symlink_to(found[0])
    return [aliases, *folders]


def _launcher(path: Path, libraries: list[Path], packages: list[Path]) -> Path:
    """Write a script that runs this interpreter with libraries and packages before its own."""
    lines = [
        "#!/bin/sh",
        f'export LD_LIBRARY_PATH="{_joined(libraries)}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"',
        f'export PYTHONPATH="{_joined(packages)}${{PYTHONPATH:+:$PYTHONPATH}}"',
        f'exec "{sys.executable}" "$@"',
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def _joined(paths: list[Path]) -> str:
    return ":".join(str(path.resolve()) for path in paths)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Install what a network-less machine lacks.")
    parser.add_argument("folder", type=Path, help="with the list of pieces, and some of them")
    parser.add_argument("--into", type=Path, required=True, help="where it is installed")
    arguments = parser.parse_args(argv)
    try:
        python = install(arguments.folder, arguments.into)
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    source = arguments.into / _SOURCE
    print(f"installed; in {source} run: {python.resolve()} -m bench.cuda "
          f"--baselines-python {python.resolve()}-baselines")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
