import json
import shutil
import warnings
from pathlib import Path

import pytest

from engine.bundle import MANIFEST, BundleError, load_manifest
from engine.ort import OrtModel
from engine.sessions import ProviderMissing, open_sessions, require_all_on


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def test_a_whole_bundle_loads(bundle: Path) -> None:
    manifest = load_manifest(bundle)
    assert manifest.name == "tiny"
    assert manifest.provenance["seed"] == 0
    parity = manifest.provenance["parity"]
    assert (parity["questions"], parity["equal"]) == (4, 4)


def test_one_changed_byte_is_found(copy: Path) -> None:
    path = copy / "decoder.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"decoder\.onnx: damaged"):
        load_manifest(copy)


def test_a_short_file_is_found(copy: Path) -> None:
    path = copy / "encoder.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"encoder\.onnx: \d+ bytes; the manifest says \d+"):
        load_manifest(copy)


def test_a_missing_file_is_found(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match=r"tokenizer\.json: missing"):
        load_manifest(copy)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"format": 3},
            "format 3; this service reads formats 4, 5 and 6: export its checkpoint again",
        ),
        ({"format": 7}, "format 7; this service reads formats 4, 5 and 6: a newer version"),
        ({"limits": None}, "not a manifest"),
        ({"files": {}}, r"names no encoder\.onnx"),
        ({"files": {"encoder.onnx": {}}}, "not a manifest: KeyError: 'bytes'"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(
    copy: Path, change: dict[str, object], complaint: str
) -> None:
    path = copy / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BundleError, match=complaint):
        load_manifest(copy)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle: it has no manifest"):
        load_manifest(tmp_path)


def test_cuda_is_never_silently_replaced(bundle: Path) -> None:
    with pytest.raises(ProviderMissing, match="install the extra `gpu`"):
        OrtModel(bundle, load_manifest(bundle), threads=1, provider="cuda")


def test_a_graph_that_another_provider_runs_in_part_is_refused(bundle: Path) -> None:
    """Here it is the CPU that has all of it, and no GPU anything."""
    path = bundle / "decoder.onnx"
    cpu, (session,) = open_sessions([path], threads=1, provider="auto")
    require_all_on(session, path, cpu)
    with pytest.raises(ProviderMissing, match=r"no kernel for .*MultiHeadAttention.* in fp16"):
        require_all_on(session, path, "CUDAExecutionProvider")


def test_auto_runs_on_the_cpu_where_cuda_is_installed_and_does_not_work(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU image does so on a machine without a driver."""
    built_in = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: built_in)
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ONNX Runtime's own, of the provider that is not there
        model = OrtModel(bundle, load_manifest(bundle), threads=1, provider="auto")
        assert model.provider == "CPUExecutionProvider"
        with pytest.raises(ProviderMissing, match="does not work on this machine"):
            OrtModel(bundle, load_manifest(bundle), threads=1, provider="cuda")
        # Before a graph is opened, which our kernels for a GPU make invalid on the CPU.
        with pytest.raises(ProviderMissing, match="does not work on this machine"):
            open_sessions([bundle / "missing.onnx"], threads=1, provider="cuda")


def test_a_manifest_of_nested_brackets_is_refused(copy: Path) -> None:
    (copy / MANIFEST).write_text("[" * 200_000)
    with pytest.raises(BundleError, match="not a manifest: its brackets are nested too deeply"):
        load_manifest(copy)


def test_what_is_no_bundle_is_told_from_it(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no such folder; expected the folder of"):
        load_manifest(tmp_path / "google/flan-t5-small")
    with pytest.raises(BundleError, match=r"has no manifest\.json$"):
        load_manifest(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BundleError, match="is a checkpoint, and python -m model_export export"):
        load_manifest(tmp_path)
