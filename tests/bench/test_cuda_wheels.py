"""Pieces are packed for a machine without a network, and installed there."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bench.command import ROOT
from bench.cuda.wheels import __main__ as wheels
from bench.cuda.wheels import install
from bench.cuda.wheels.pack import (
    PackError,
    built_requirements,
    needed,
    pins,
    require_built,
    site_requirements,
    without,
)
from bench.cuda.wheels.pieces import split
from engine.kernels.cuda import LIBRARY

_LOCK = """\
# written by a tool
numpy==2.4.6 \\
    --hash=sha256:aa
    # via cybersolve
nvidia-cublas==13.1 \\
    --hash=sha256:bb
uvicorn==0.54.0 ; sys_platform != 'win32' \\
    --hash=sha256:cc \\
    --hash=sha256:dd
    # via cybersolve
"""


def write_wheel(folder: Path, name: str, files: dict[str, str]) -> None:
    """Write a wheel of `files` that pip installs."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    """Pieces of an archive as `pack` writes it, with tiny wheels."""
    made, out = tmp_path / "made", tmp_path / "pieces"
    out.mkdir()
    kernels = {"engine/kernels/library.abi3.so": "compiled"}
    write_wheel(made / "wheels/site", "newpackage", {"newpackage.py": "of = 'site'", **kernels})
    write_wheel(made / "wheels/site", "pytest", {"pytest.py": "raise ImportError('replaced')"})
    write_wheel(made / "wheels/baselines", "older", {"newpackage.py": "of = 'baselines'"})
    source = made / "source/engine/kernels/__init__.py"
    source.parent.mkdir(parents=True)
    source.write_text("")
    with tarfile.open(made / "pieces.tar", "w") as archive:
        archive.add(made / "wheels", "wheels")
        archive.add(made / "source", "source")
    assert len(split(made / "pieces.tar", out, 4000)) > 2
    return out


@pytest.fixture
def torch_with_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages with PyTorch and the libraries of CUDA 13 beside it."""
    packages = tmp_path / "packages"
    (packages / "torch").mkdir(parents=True)
    (packages / "torch/__init__.py").write_text("")
    libraries = packages / "nvidia/cu13/lib"
    libraries.mkdir(parents=True)
    (libraries / "libcublas.so.13").write_text("")
    monkeypatch.syspath_prepend(packages)
    loaded = sys.modules.pop("torch", None)
    yield packages
    if loaded is not None:
        sys.modules["torch"] = loaded


def run(launcher: Path, script: str) -> str:
    done = subprocess.run([launcher, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_pieces_are_joined_and_installed(
    pieces: Path, torch_with_cuda: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    python = install.install(pieces, target)
    printed = "import newpackage, os; print(newpackage.of, os.environ['LD_LIBRARY_PATH'])"
    of, libraries = run(python, printed).split()
    aliases, cuda = libraries.split(":")[:2]
    assert (of, cuda) == ("site", str(torch_with_cuda / "nvidia/cu13/lib"))
    assert (Path(aliases) / "libcublas.so.12").resolve() == Path(cuda) / "libcublas.so.13"
    assert run(target / "python-baselines", printed).startswith("baselines ")
    # The environment keeps what it has.
    assert not (target / "site/pytest.py").exists()
    # The compiled kernels come from our wheel, as the source has none.
    assert (target / "source/engine/kernels/library.abi3.so").read_text() == "compiled"


def test_pieces_may_arrive_over_several_calls(
    pieces: Path, torch_with_cuda: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, later = tmp_path / "target", tmp_path / "later"
    later.mkdir()
    (pieces / "piece-001").rename(later / "piece-001")
    words = [str(pieces), "--into", str(target)]
    assert install.main(words) == 1
    assert re.search(r"error: 1 of \d+ missing: piece-001\n", capsys.readouterr().err)
    (later / "pieces.json").write_bytes((pieces / "pieces.json").read_bytes())
    assert install.main([str(later), "--into", str(target)]) == 0
    assert "bench.cuda --baselines-python" in capsys.readouterr().out


def test_a_damaged_piece_is_named(pieces: Path, tmp_path: Path) -> None:
    (pieces / "piece-000").write_bytes(b"cut off")
    with pytest.raises(install.InstallError, match="piece-000: damaged; expected SHA-256 "):
        install.install(pieces, tmp_path / "target")


def test_a_kept_piece_of_an_earlier_pack_is_missing(
    pieces: Path, torch_with_cuda: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    install.install(pieces, target)
    other = tmp_path / "other.tar"
    other.write_bytes(b"x" * 5000)
    split(other, pieces, 4000)
    (pieces / "piece-001").unlink()
    with pytest.raises(install.InstallError, match="1 of 2 missing: piece-001"):
        install.install(pieces, target)


def test_the_list_of_pieces_is_needed(tmp_path: Path) -> None:
    with pytest.raises(install.InstallError, match=r"pieces\.json: missing; expected the list"):
        install.install(tmp_path, tmp_path / "target")


def test_requirements_are_those_of_the_lock_without_what_pytorch_brings() -> None:
    kept = without(_LOCK, re.compile(r"nvidia-|numpy$"))
    assert kept == _LOCK.splitlines()[6:9]
    assert pins(_LOCK, ["uvicorn", "numpy"]) == ["uvicorn==0.54.0", "numpy==2.4.6"]


def test_what_packages_need_is_read_from_the_comments_of_a_lock() -> None:
    lock = """\
accelerate==1.15.0
    # via
    #   cybersolve (pyproject.toml)
    #   peft
numpy==2.4.6 ; python_full_version < '3.12'
    # via
    #   -c requirements/serve.txt
    #   accelerate
    #   torch
psutil==7.2.2
    # via accelerate
mpmath==1.3.0
    # via sympy
sympy==1.14.0
    # via torch
torch==2.13.0
    # via accelerate
"""
    everything = {"accelerate", "numpy", "psutil", "torch", "sympy", "mpmath"}
    assert needed(lock, ["accelerate"]) == everything
    assert needed(lock, ["torch"]) == {"torch", "numpy", "sympy", "mpmath"}
    assert needed(lock, ["accelerate"], ["torch"]) == {"accelerate", "numpy", "psutil"}


def test_kernels_for_a_gpu_must_be_newer_than_their_sources(tmp_path: Path) -> None:
    library, source = tmp_path / "library.so", tmp_path / "one.cuh"
    source.write_text("")
    os.utime(source, (2000, 2000))
    with pytest.raises(PackError, match=r"library\.so: missing, or older than one\.cuh; `make"):
        require_built(library, tmp_path)
    library.write_text("")
    os.utime(library, (1000, 1000))
    with pytest.raises(PackError, match="older than one"):
        require_built(library, tmp_path)
    os.utime(library, (3000, 3000))
    require_built(library, tmp_path)


@pytest.mark.skipif(LIBRARY.exists(), reason="the kernels for a GPU were compiled here")
def test_nothing_is_packed_without_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pieces"
    assert wheels.main(["pack", "--out", str(out)]) == 1
    assert f"{LIBRARY}: missing" in capsys.readouterr().err
    assert not out.exists()


# What PyTorch's environment on the other machine has; and packages that are named otherwise.
THERE = {"huggingface-hub", "numpy", "safetensors", "tokenizers", "torch", "tqdm", "transformers"}
PACKAGES = {
    "google": "protobuf", "onnxruntime": "onnxruntime-gpu", "opentelemetry": "opentelemetry-api",
}  # fmt: skip
BASELINES = {"optimum"}  # in an environment of their own
OURS = {path.parent.name for path in ROOT.glob("*/__init__.py")}


def imports_of(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports anywhere, and what may be modules of theirs."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def foreign_modules(waiting: list[Path]) -> set[str]:
    """Return the modules of others that these files of ours import, or those that they import."""
    seen, foreign = set(waiting), set()
    while waiting:
        for module in imports_of(waiting.pop()):
            first, *_ = module.split(".")
            if first not in OURS:
                foreign.add(first)
                continue
            path = ROOT / module.replace(".", "/")
            found = {one for one in (path.with_suffix(".py"), path / "__init__.py") if one.exists()}
            waiting += found - seen
            seen |= found
    return foreign - sys.stdlib_module_names


def carried() -> set[str]:
    """Return the packages that the pieces bring."""
    lines = [line for requirements in site_requirements() for line in requirements]
    lines += built_requirements()
    requirements = [Requirement(line.rstrip(" \\")) for line in lines if line[0].isalnum()]
    return {canonicalize_name(one.name) for one in requirements if applies(one)}


def test_all_that_the_comparison_and_training_import_is_carried_or_there() -> None:
    files = [ROOT / "service/cli.py", ROOT / "service/hosting/__main__.py"]
    for room in ("bench/cuda", "training/finetune"):
        files += sorted((ROOT / room).rglob("*.py"))
    modules = foreign_modules(files) - BASELINES
    assert {"onnx", "accelerate", "rouge_score"} <= modules
    packages = {canonicalize_name(PACKAGES.get(module, module)) for module in modules}
    assert packages - THERE - carried() == set()


def test_all_that_carried_packages_require_is_carried_or_there() -> None:
    """The metadata of the packages installed here is read for the other machine's Python."""
    there = {canonicalize_name(name) for name in needs_of(sorted(THERE))} | THERE
    assert needs_of(sorted(carried())) - carried() - there == set()


def applies(requirement: Requirement) -> bool:
    """Return whether a requirement without extras counts on the other machine."""
    other = {"python_version": "3.12", "python_full_version": "3.12.1", "extra": ""}
    return requirement.marker is None or requirement.marker.evaluate(other)


def needs_of(names: list[str]) -> set[str]:
    """Return what installed packages require, and what that requires."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        try:
            lines = requires(waiting.pop()) or []
        except PackageNotFoundError:  # of a GPU alone
            continue
        requirements = [Requirement(line) for line in lines]
        new = {canonicalize_name(one.name) for one in requirements if applies(one)}
        waiting += new - found
        found |= new
    return found
