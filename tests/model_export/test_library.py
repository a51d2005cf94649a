"""A model is found by any of its names, and converted once."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.bundle import MANIFEST
from model_export.models.errors import ModelNotFound
from model_export.models.hub import is_name, wanted
from model_export.models.library import Wanted, bundle_of

BUNDLE = Path(__file__).resolve().parents[2] / "models/cybersolve-mini"


class Conversions:
    """Stands in for `convert`: notes each call in a file and copies a real manifest."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __call__(self, source: Path, out: Path, *, precision: str, name: str) -> None:
        with self.log.open("a") as file:
            file.write(json.dumps([source.name, precision, name]) + "\n")
        out.mkdir()
        shutil.copyfile(BUNDLE / MANIFEST, out / MANIFEST)

    @property
    def calls(self) -> list[Any]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def convert(tmp_path: Path) -> Conversions:
    return Conversions(tmp_path / "conversions")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "my-t5"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def test_a_bundle_is_served_as_it_is(tmp_path: Path, convert: Conversions) -> None:
    assert bundle_of(Wanted(str(BUNDLE)), tmp_path / "cache", convert) == BUNDLE
    assert not (tmp_path / "cache").exists()


def test_a_checkpoint_is_converted_once_for_each_precision(
    tmp_path: Path, convert: Conversions, checkpoint: Path
) -> None:
    cache = tmp_path / "cache"
    first = bundle_of(Wanted(str(checkpoint)), cache, convert)
    assert bundle_of(Wanted(str(checkpoint)), cache, convert) == first
    other = bundle_of(Wanted(str(checkpoint), "int8"), cache, convert)
    assert other != first
    assert convert.calls == [["my-t5", "fp32", "my-t5"], ["my-t5", "int8", "my-t5"]]


def test_a_checkpoint_that_changed_is_converted_again(
    tmp_path: Path, convert: Conversions, checkpoint: Path
) -> None:
    cache = tmp_path / "cache"
    first = bundle_of(Wanted(str(checkpoint)), cache, convert)
    (checkpoint / "config.json").write_text('{"d_model": 8}')
    assert bundle_of(Wanted(str(checkpoint)), cache, convert) != first


def test_a_conversion_that_failed_is_tried_again(
    tmp_path: Path, convert: Conversions, checkpoint: Path
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        bundle_of(Wanted(str(checkpoint)), tmp_path / "cache", fail)
    bundle_of(Wanted(str(checkpoint)), tmp_path / "cache", convert)
    assert len(convert.calls) == 1


def test_several_processes_convert_once(
    tmp_path: Path, convert: Conversions, checkpoint: Path
) -> None:
    together = multiprocessing.get_context("spawn")
    arguments = (Wanted(str(checkpoint)), tmp_path / "cache", convert)
    processes = [together.Process(target=bundle_of, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(convert.calls) == 1


@pytest.mark.parametrize("name", ["./missing", "/missing/model", "a/b/c", "two words"])
def test_what_is_neither_a_folder_nor_a_hub_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelNotFound, match="no such folder"):
        bundle_of(Wanted(name), tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ModelNotFound, match=r"neither a bundle .* nor a checkpoint"):
        bundle_of(Wanted(str(tmp_path)), tmp_path / "cache")


def test_names_of_the_hub() -> None:
    assert all(is_name(name) for name in ("t5-small", "google/flan-t5-base", "a_b/c.d-e"))
    assert not any(is_name(name) for name in ("", "/x", "a/b/c", "a b", "../x"))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            [
                "README.md",
                "config.json",
                "model.safetensors",
                "pytorch_model.bin",
                "flax_model.msgpack",
            ],
            ["config.json", "model.safetensors"],
        ),
        (
            ["config.json", "pytorch_model.bin", "spiece.model", "tf_model.h5", "rust_model.ot"],
            ["config.json", "pytorch_model.bin", "spiece.model"],
        ),
        (
            [
                "config.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
                "training_args.bin",
            ],
            [
                "config.json",
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
            ],
        ),
        (
            ["config.json", "encoder_model.onnx", "decoder_model.onnx", "tokenizer.json"],
            ["config.json", "decoder_model.onnx", "encoder_model.onnx", "tokenizer.json"],
        ),
    ],
    ids=["safetensors first", "pytorch only", "sharded", "optimum"],
)
def test_only_what_a_conversion_reads_is_downloaded(files: list[str], expected: list[str]) -> None:
    assert wanted(files) == expected
