"""The Dockerfile, built for real, and its result, run for real: `make image-test` (minutes)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.bundle import load_manifest, read_manifest
from loadtest.server import free_port
from service.settings import Settings
from service.sizing import providers
from tests import phrases
from tests.deploy.images import BASE, REVISION, VOLUME, Builder, Image, missing
from tests.end_to_end.conftest import ROOT, START_S

pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]
MOST_BYTES = 400_000_000


@contextmanager
def serving(image: Image, volume: Path | None = None, **environment: str) -> Iterator[int]:
    """Run the image's own command on loopback alone, and yield its port, which is free before."""
    port = free_port()
    process = image.start(
        volume=volume, CYBERSOLVE_HOST="127.0.0.1", CYBERSOLVE_PORT=str(port), **environment
    )
    deadline = time.monotonic() + START_S
    try:
        while True:
            assert time.monotonic() < deadline, "never ready"
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=START_S)
    assert "Application shutdown complete" in output
    assert "telemetry" not in output  # ONNX Runtime complains where it cannot keep its identifier


@pytest.fixture(scope="module")
def served(image: Image) -> Iterator[tuple[Image, int]]:
    with serving(image) as port:
        yield image, port


def test_it_answers_a_question(served: tuple[Image, int]) -> None:
    _, port = served
    question = {"question": "Solve 24 = 1601*c - 1605*c for c."}
    body = httpx.post(f"http://127.0.0.1:{port}/solve", json=question).json()
    assert (body["answer"], body["verdict"]) == ("-6", "correct")
    assert body["model"]["name"] == "cybersolve-mini"


def test_it_has_the_page(served: tuple[Image, int]) -> None:
    """Data files get into an image only if the package, .dockerignore and Dockerfile let them."""
    _, port = served
    for path in ("/", "/docs", "/page/style.css", "/page/live.js", "/page/icon.svg"):
        assert httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200, path


@pytest.mark.parametrize("variable", ["CYBERSOLVE_PORT", "PORT"])
def test_its_health_check_says_so(served: tuple[Image, int], variable: str) -> None:
    image, port = served
    _, *command = image.config["Healthcheck"]["Test"]
    served_on: dict[str, Any] = {variable: str(port)}
    healthy = image.start(command, **served_on)
    assert healthy.wait(timeout=START_S) == 0
    nowhere: dict[str, Any] = {variable: str(free_port())}
    sick = image.start(command, **nowhere)
    assert sick.wait(timeout=START_S) != 0
    sick.communicate()
    healthy.communicate()


def test_it_says_what_it_is_and_what_it_holds(image: Image) -> None:
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.revision"] == REVISION
    materials = image.root / "opt/cybersolve/materials"
    bill = json.loads((materials / "sbom.cdx.json").read_text())
    names = {component["name"] for component in bill["components"]}
    assert {"libc6", "python3", "onnxruntime", "cybersolve", "cybersolve-mini"} <= names
    assert "gcc" not in names  # of the build alone
    statement = json.loads((materials / "provenance.json").read_text())
    parameters = statement["predicate"]["buildDefinition"]["externalParameters"]
    assert parameters == {"BASE": BASE, "PROVIDER": "cpu", "REVISION": REVISION}


def test_it_can_send_spans(image: Image) -> None:
    script = "from opentelemetry.exporter.otlp.proto.http import trace_exporter"
    process = image.start(["python", "-c", script])
    output, _ = process.communicate(timeout=START_S)
    assert process.returncode == 0, output


def test_it_is_not_root_and_cannot_write(image: Image) -> None:
    assert image.config["User"] == "65532:65532"
    script = "import os; print(os.getuid(), flush=True); open('/opt/cybersolve/new', 'w')"
    output, _ = image.start(["python", "-c", script]).communicate(timeout=START_S)
    assert output.startswith("65532\n")
    assert "Read-only file system" in output


def test_it_is_small_and_holds_nothing_but_the_service(image: Image) -> None:
    """Prints what is in it: `pytest -m image -s`."""
    packages = "opt/cybersolve/lib/python3.11/site-packages"
    sizes = {
        "all": image.bytes(),
        "Debian with python3": image.bytes("usr") + image.bytes("var") + image.bytes("etc"),
        "ONNX Runtime": image.bytes(f"{packages}/onnxruntime"),
        "numpy": image.bytes(f"{packages}/numpy") + image.bytes(f"{packages}/numpy.libs"),
        "all Python packages": image.bytes(packages),
        "model": image.bytes("opt/cybersolve/models"),
    }
    print({name: f"{size / 1e6:.0f} MB" for name, size in sizes.items()})
    assert sizes["all"] < MOST_BYTES
    strangers = ("pip", "huggingface_hub", "torch", "transformers", "training", "tests", "locust")
    assert not [name for name in strangers if (image.root / packages / name).exists()]
    assert not (image.root / "source").exists()
    # Without a compiler the package builds all the same, and is slower.
    assert list((image.root / packages / "engine/kernels").glob("library*.so"))
    assert not list((image.root / packages / "engine/kernels/cuda").glob("*.so"))
    assert sorted(path.name for path in (image.root / "opt/cybersolve/models").iterdir()) == [
        "cybersolve-mini"
    ]


def test_the_model_of_a_gpu_image_is_one_that_a_gpu_runs(builder: Builder) -> None:
    """And it answers, on this machine's CPU."""
    gpu = builder.build("cybersolve-gpu-model", "--target", "model", "--build-arg", "PROVIDER=gpu")
    model = gpu.root / "models" / "cybersolve-mini"
    manifest = load_manifest(model)
    assert "cuda" in providers(manifest)
    shipped = read_manifest(Settings().model)
    assert (manifest.name, manifest.version) == (shipped.name, shipped.version)
    assert manifest.calibration == shipped.calibration
    solved = subprocess.run(
        [sys.executable, "-m", "service.cli", "solve", "3x + 5 = 20"],
        env={**os.environ, "CYBERSOLVE_MODEL": str(model)}, capture_output=True, check=True,
    )  # fmt: skip
    assert b"x = 5" in solved.stdout


@pytest.fixture(scope="module")
def converting(builder: Builder) -> Image:
    return builder.build("cybersolve-convert", "--build-arg", "PROVIDER=convert")


@pytest.mark.parametrize(
    ("checkpoint", "path", "asked", "written"),
    [
        (ROOT / "models/cybersolve-mini-checkpoint", "solve", {"question": "3x = 12"}, "4"),
        (phrases.CHECKPOINT, "generate", {"text": phrases.TEXT}, "Das Haus ist klein."),
    ],
    ids=["equations", "text"],
)
def test_an_image_that_converts_serves_a_checkpoint(
    converting: Image, checkpoint: Path, path: str, asked: dict[str, str], written: str
) -> None:
    """In int8, from a volume that it may only read into a cache that it may write."""
    settings = {
        "CYBERSOLVE_MODEL": VOLUME, "CYBERSOLVE_MODEL_CACHE": "/tmp/models",  # noqa: S108
        "CYBERSOLVE_PRECISION": "int8",
    }  # fmt: skip
    with serving(converting, checkpoint, **settings) as port:
        url = f"http://127.0.0.1:{port}"
        body = httpx.post(f"{url}/{path}", json=asked).raise_for_status().json()
        assert written in (body.get("answer"), body.get("text"))
        assert httpx.get(f"{url}/info").json()["precision"] == "int8"


def test_an_unknown_provider_does_not_build(builder: Builder) -> None:
    with pytest.raises(AssertionError, match="exit status 1"):
        builder.build("mistaken", "--build-arg", "PROVIDER=tpu")


def test_the_load_test_image_tests_the_service(builder: Builder, served: tuple[Image, int]) -> None:
    image = builder.build("cybersolve-loadtest", "--target", "loadtest")
    asking = ["rate", "--url", f"http://127.0.0.1:{served[1]}", "--rates", "5", "--seconds", "2"]
    asking += ["--evenly", "--out", "/tmp"]  # noqa: S108
    process = image.start([*image.config["Entrypoint"], *asking])
    output, _ = process.communicate(timeout=START_S)
    assert process.returncode == 0, output
    summary = json.loads(output.splitlines()[-1])
    assert (summary["requests"], summary["steps"][0]["failed"]) == (10, 0)


def test_the_gpu_lock_is_the_service_with_another_runtime() -> None:
    """`test_gpu_image.py` builds from this lock; this test needs no build."""
    folder = Path(__file__).resolve().parents[2] / "requirements"

    def pinned(name: str) -> dict[str, str]:
        lines = (folder / name).read_text().splitlines()
        pins = [line.split()[0].partition("==") for line in lines if line[:1].isalpha()]
        return {package: version for package, _, version in pins}

    cpu, gpu = pinned("otel.txt"), pinned("serve-gpu.txt")
    assert set(cpu) - set(gpu) == {"onnxruntime"}
    added = set(gpu) - set(cpu)
    assert "onnxruntime-gpu" in added
    assert {name for name in added if not name.startswith("nvidia-")} == {"onnxruntime-gpu"}
    assert {name: gpu[name] for name in cpu if name in gpu} == {
        name: cpu[name] for name in cpu if name in gpu
    }
