"""Models of the hub, from a server on this machine that speaks the hub's protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from engine.bundle import load_manifest
from tests.model_export.family import flan
from tests.model_export.hub_server import serving

CODE = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
from dataclasses import replace
from pathlib import Path
from service.models import with_bundle
from service.settings import Settings
try:
    print(with_bundle(Settings(model=Path(sys.argv[1]), model_cache=Path(sys.argv[2]))).model)
except ValueError as error:
    print("refused:", error)
"""
NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-t5")
    flan(folder)
    (folder / "pytorch_model.bin").write_bytes(b"never downloaded: there are safetensors")
    return folder


def bundle_of(name: str, endpoint: str, folder: Path) -> str:
    """Return what a fresh process makes of a model, or its refusal; `folder` keeps its caches."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_DISABLE_XET": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", CODE, name, str(folder / "bundles")],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_a_hub_name_is_downloaded_and_converted_once(repository: Path, tmp_path: Path) -> None:
    """Without torch; the second start needs no network."""
    with serving({"someone/tiny-t5": repository}) as (endpoint, requested):
        first = bundle_of("someone/tiny-t5", endpoint, tmp_path)
    assert load_manifest(Path(first)).name == "someone/tiny-t5"
    fetched = {line.rpartition("/")[2] for line in requested if line.startswith("GET someone/")}
    assert "model.safetensors" in fetched
    assert "pytorch_model.bin" not in fetched
    assert bundle_of("someone/tiny-t5", NOWHERE, tmp_path) == first


def test_a_name_that_the_hub_does_not_know(tmp_path: Path) -> None:
    with serving({}) as (endpoint, _):
        found = bundle_of("someone/unknown", endpoint, tmp_path)
    assert found == "refused: someone/unknown: no such folder, and no such model on the hub"


def test_without_a_network_one_line_says_so(tmp_path: Path) -> None:
    found = bundle_of("someone/tiny-t5", NOWHERE, tmp_path)
    assert found.startswith(
        "refused: someone/tiny-t5: there is no folder of that name, and the hub"
    )
    assert "give the folder of a checkpoint or of a bundle" in found


def test_an_adapter_is_downloaded_with_its_base_model(repository: Path, tmp_path: Path) -> None:
    """Its configuration names the base as the hub does; the second start needs no network."""
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    named = {**settings, "base_model_name_or_path": "someone/tiny-t5"}
    (adapter / "adapter_config.json").write_text(json.dumps(named))
    stem = "base_model.model.decoder.block.0.layer.0.SelfAttention.q"
    factors = {f"{stem}.lora_A.weight": np.ones((2, 32)), f"{stem}.lora_B.weight": np.ones((24, 2))}
    save_file(
        {name: value.astype(np.float32) for name, value in factors.items()},
        adapter / "adapter_model.safetensors",
    )
    repositories = {"someone/tiny-t5": repository, "me/lora": adapter}
    with serving(repositories) as (endpoint, _):
        first = bundle_of("me/lora", endpoint, tmp_path)
    assert load_manifest(Path(first)).name == "me/lora"
    assert bundle_of("me/lora", NOWHERE, tmp_path) == first
