import re
from importlib.metadata import version
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.bundle import load_manifest
from service.api.schemas import SolveRequest
from service.contracts import Started
from service.metrics import Metrics

SECONDS = (
    "cybersolve_request_duration_seconds",
    "cybersolve_queue_wait_seconds",
    "cybersolve_inference_seconds",
)
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def test_the_document_names_every_metric_and_no_other() -> None:
    documented = {
        name.removesuffix("_total")
        for name in re.findall(r"^\| `(\w+)`", DOCUMENT.read_text(), re.MULTILINE)
    }
    families = text_string_to_metric_families(Metrics().exposition().decode())
    named = {family.name for family in families}
    assert {name for name in named if not name.endswith("_created")} == documented


@pytest.mark.parametrize("name", SECONDS)
def test_buckets_of_seconds_go_up_to_the_longest_deadline(name: str) -> None:
    metrics = Metrics()
    metrics.request("/solve", 200, 1.0)
    bounds = re.findall(rf'^{name}_bucket{{.*le="([^"]+)"', metrics.exposition().decode(), re.M)
    (longest_ms,) = (
        kind["maximum"]
        for kind in SolveRequest.model_json_schema()["properties"]["timeout_ms"]["anyOf"]
        if "maximum" in kind
    )
    assert max(float(bound) for bound in bounds if bound != "+Inf") == longest_ms / 1000


def test_the_build_and_the_kernels_are_named(bundle: Path) -> None:
    metrics = Metrics()
    assert f'cybersolve_build_info{{onnxruntime="{version("onnxruntime")}"' in (
        metrics.exposition().decode()
    )
    metrics.model_loaded(load_manifest(bundle), Started(8, "CPUExecutionProvider", "avx2"))
    assert 'cybersolve_kernels_info{kernels="avx2"} 1.0' in metrics.exposition().decode()
