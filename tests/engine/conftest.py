"""A tiny T5 whose answers end at many lengths, as a checkpoint and as a bundle in fp32."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from transformers import T5ForConditionalGeneration

from engine.bundle import Limits, load_manifest
from engine.ort import OrtModel
from model_export.assembly import Identity, texts_of
from model_export.bundle import write_bundle
from tests.conftest import shared_folder
from tests.training.flan import characters, write_flan

SOURCES = Path(__file__).resolve().parents[2] / "engine/kernels/cuda"
COLUMNS = 12  # the most tokens of an answer
_SIZE = 103  # of the tokenizer


@pytest.fixture(scope="session")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the two."""

    def fill(folder: Path) -> None:
        checkpoint = write_flan(folder / "checkpoint", characters(), _SIZE, num_decoder_layers=2)
        model = T5ForConditionalGeneration.from_pretrained(checkpoint)
        with torch.no_grad():
            model.lm_head.weight *= 8.0  # answers differ, and their ends too
            model.shared.weight *= 2.0
        model.save_pretrained(checkpoint)
        identity = Identity("writer", "1", "none", "text", Limits(64, COLUMNS), {"seed": 0})
        sources = texts_of(["some", "texts to compare on"], checkpoint)
        write_bundle(checkpoint, folder / "bundle", identity, sources, lambda _: "card")

    return shared_folder(tmp_path_factory, "writer", fill)


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
