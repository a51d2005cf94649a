"""A tiny T5 whose answers end at many lengths, as a checkpoint and as a bundle in fp32."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from transformers import T5ForConditionalGeneration

from engine.bundle import load_manifest
from engine.ort import OrtModel
from tests.conftest import shared_folder
from tests.writer import write_writer

SOURCES = Path(__file__).resolve().parents[2] / "engine/kernels/cuda"


@pytest.fixture(scope="session")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the two."""
    return shared_folder(tmp_path_factory, "writer", write_writer)


@pytest.fixture(scope="session")
def writer_torch(writer: Path) -> T5ForConditionalGeneration:
    return T5ForConditionalGeneration.from_pretrained(writer / "checkpoint").eval()


@pytest.fixture(scope="session", params=["auto", "none"], ids=["own kernels", "definitions"])
def writer_engine(writer: Path, request: pytest.FixtureRequest) -> OrtModel:
    bundle = writer / "bundle"
    return OrtModel(bundle, load_manifest(bundle), threads=1, provider="cpu", kernels=request.param)


@pytest.fixture(scope="session")
def emulated_cuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the kernels for a GPU, compiled from the same sources for this processor.

    `cuda_emulation` runs a block's threads in turn; ONNX Runtime takes the library for its CPU.
    """
    if not shutil.which("g++"):
        pytest.skip("needs g++")

    def fill(folder: Path) -> None:
        subprocess.run(
            [
                "g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas",
                "-shared", "-fPIC", f"-I{Path(__file__).parent / 'cuda_emulation'}",
                "-o", str(folder / "library.so"), "-x", "c++", *map(str, SOURCES.glob("*.cu")),
            ],
            check=True,
        )  # fmt: skip

    return shared_folder(tmp_path_factory, "emulated-cuda", fill) / "library.so"
