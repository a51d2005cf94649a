"""The needs of a bundle, by its manifest and the settings."""

from __future__ import annotations

from dataclasses import replace

from engine.bundle import Manifest, read_manifest
from service import inspection
from service.runtime import layout
from service.settings import Settings
from service.sizing import MIB, needs

MANIFEST = read_manifest(Settings().model)


def large() -> Manifest:
    """FLAN-T5-large in fp32, in files beside its graphs."""
    shape = replace(
        MANIFEST.architecture, decoder_layers=24, heads=16, d_kv=64, parameters=783_150_080
    )
    sizes = {"encoder.onnx.data": 1_367_000_000, "decoder.onnx.data": 1_765_000_000}
    files = {name: {"bytes": size, "sha256": ""} for name, size in sizes.items()}
    return replace(
        MANIFEST, precision="fp32", architecture=shape, files={**MANIFEST.files, **files}
    )


def test_a_large_model_needs_more_memory_and_time() -> None:
    small, of_large = (needs(manifest, Settings(), engines=1) for manifest in (MANIFEST, large()))
    assert small.loaded_bytes < 300 * MIB
    assert of_large.loaded_bytes > 3_000 * MIB
    assert of_large.loaded_bytes < of_large.most_bytes
    assert small.start_s < 62
    assert of_large.start_s > 200
    assert small.drain_s == Settings().drain_timeout_s
    assert of_large.drain_s == Settings().default_timeout_s  # no request waits longer
    assert of_large.grace_s == of_large.drain_s + 20


def test_fewer_rows_need_less_memory() -> None:
    few = needs(large(), Settings(max_batch_rows=4), engines=1)
    assert few.most_bytes < needs(large(), Settings(), engines=1).most_bytes
    assert few.loaded_bytes == needs(large(), Settings(), engines=1).loaded_bytes


def test_a_gpu_has_one_engine_of_a_small_model() -> None:
    assert layout(MANIFEST, Settings(provider="cuda"), cpus=4)[0] == 1
    assert layout(MANIFEST, Settings(provider="cuda", workers=2), cpus=4)[0] == 2


def test_inspect_says_what_a_pod_needs() -> None:
    found = inspection.inspect(Settings(workers=2))
    assert (found["name"], found["precision"]) == ("cybersolve-mini", "int8")
    assert found["needs"]["providers"] == ("cpu",)
    pod = found["pod"]
    assert pod["resources"]["requests"]["cpu"] == "2"
    assert pod["env"]["CYBERSOLVE_WORKERS"] == "2"
    said = inspection.text(found)
    assert f"memory {pod['resources']['limits']['memory']}" in said
    assert "solves equations" in said
    assert "every file matches the manifest" in said


def test_inspect_describes_a_model_of_text() -> None:
    assert "generates text" in inspection.text({**inspection.inspect(Settings()), "solves": False})
