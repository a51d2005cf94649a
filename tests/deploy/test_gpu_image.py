"""The image for a GPU, built whole and run as far as it goes without a driver: `make image-test`.

The build fetches CUDA and cuDNN, gigabytes. Only the driver's `libcuda.so.1` is never in an image.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from typing import Any

import pytest

from tests.deploy.images import Builder, Image, missing
from tests.end_to_end.conftest import START_S

_NEEDED_BYTES = 40e9  # of the build's layers, which vfs copies whole
_LIMIT_BYTES = 4.2e9
_PACKAGES = "opt/cybersolve/lib/python3.11/site-packages"
_KERNELS = f"{_PACKAGES}/engine/kernels/cuda/library.so"
_QUESTION = "3x + 5 = 20"

pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.skipif(
        shutil.disk_usage(tempfile.gettempdir()).free < _NEEDED_BYTES, reason="needs 40 GB of disk"
    ),
]


@pytest.fixture(scope="module")
def gpu(builder: Builder) -> Image:
    return builder.build("cybersolve-gpu", "--build-arg", "PROVIDER=gpu")


def run(image: Image, *command: str, **environment: Any) -> tuple[int, str]:
    """Return the exit status and the output of a command in the image."""
    process = image.start(command, **environment)
    output, _ = process.communicate(timeout=START_S)
    return process.returncode, output


def test_it_holds_cuda_and_one_model_in_fp16(gpu: Image) -> None:
    """Print the sizes of its parts: `pytest -m image -s`."""
    parts = {"all": ".", "Python packages": _PACKAGES, "model": "opt/cybersolve/models"}
    parts["our kernels for a GPU"] = _KERNELS
    for package in ("onnxruntime", "nvidia/cu13", "nvidia/cudnn"):
        parts[package] = f"{_PACKAGES}/{package}"
    sizes = {name: gpu.bytes(below) for name, below in parts.items()}
    print({name: f"{size / 1e6:.0f} MB" for name, size in sizes.items()})
    assert sizes["all"] < _LIMIT_BYTES
    manifest = gpu.root / "opt/cybersolve/models/cybersolve-mini/manifest.json"
    assert json.loads(manifest.read_text())["precision"] == "fp16"
    bill = json.loads((gpu.root / "opt/cybersolve/materials/sbom.cdx.json").read_text())
    names = {component["name"] for component in bill["components"]}
    assert {"onnxruntime-gpu", "nvidia-cudnn-cu13", "nvidia-cublas"} <= names
    assert "onnxruntime" not in names


def test_its_cuda_lacks_nothing_but_the_driver(gpu: Image) -> None:
    """ONNX Runtime's CUDA library finds every library that it names."""
    library = "capi/libonnxruntime_providers_cuda.so"
    script = (
        "import ctypes, pathlib, onnxruntime as ort; ort.preload_dlls();"
        f"ctypes.CDLL(str(pathlib.Path(ort.__file__).parent / '{library}'))"
    )
    status, output = run(gpu, "python", "-c", script)
    assert status != 0
    # Its own loader hands it symbols of ONNX Runtime; all libraries were found by then.
    assert "libcuda.so.1" in output or "undefined symbol: Provider_GetHost" in output, output
    assert "libcudart" not in output
    assert "libcudnn" not in output


def test_our_kernels_lack_nothing_but_the_driver(gpu: Image) -> None:
    """They load where no library of CUDA is on the path, and have code for Ampere and Hopper."""
    script = f"import ctypes; ctypes.CDLL('/{_KERNELS}').RegisterCustomOps; print('loaded')"
    assert run(gpu, "python", "-c", script) == (0, "loaded\n")
    library = (gpu.root / _KERNELS).read_bytes()
    assert all(target in library for target in (b"-arch sm_80", b"-arch sm_90", b".target sm_90"))


@pytest.mark.parametrize("kernels", ["auto", "cuda", "cuda-graphs"])
def test_with_cuda_it_refuses_to_start_in_one_line(gpu: Image, kernels: str) -> None:
    settings = {"CYBERSOLVE_PROVIDER": "cuda", "CYBERSOLVE_KERNELS": kernels}
    status, output = run(gpu, "cybersolve", "solve", _QUESTION, **settings)
    assert status != 0
    assert "CUDAExecutionProvider does not work on this machine" in output
    assert "Traceback" not in output


def test_without_cuda_its_kernels_for_a_gpu_are_refused_in_one_line(gpu: Image) -> None:
    status, output = run(gpu, "cybersolve", "solve", _QUESTION, CYBERSOLVE_KERNELS="cuda")
    assert status != 0
    assert "kernels cuda: they run on a GPU; expected provider cuda" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("provider", ["auto", "cpu"])
def test_without_a_gpu_it_answers_on_the_cpu(gpu: Image, provider: str) -> None:
    status, output = run(gpu, "cybersolve", "solve", _QUESTION, CYBERSOLVE_PROVIDER=provider)
    assert status == 0, output
    assert "x = 5" in output
    assert ("the model runs on the CPU" in output) == (provider == "auto")


def test_its_provenance_names_the_provider(gpu: Image) -> None:
    statement = json.loads((gpu.root / "opt/cybersolve/materials/provenance.json").read_text())
    parameters = statement["predicate"]["buildDefinition"]["externalParameters"]
    assert parameters["PROVIDER"] == "gpu"
