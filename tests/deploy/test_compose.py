"""docker-compose.yml, read by Compose itself, which holds it against the Compose specification."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings
from tests.deploy.observability import DEPLOY
from tests.end_to_end.conftest import ROOT

FILE = ROOT / "docker-compose.yml"
needs_compose = pytest.mark.skipif(
    shutil.which("docker-compose") is None, reason="needs Compose (apt-get install docker-compose)"
)
pytestmark = needs_compose


def compose(*arguments: str, file: Path = FILE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker-compose", "--file", str(file), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def services(*profiles: str) -> dict[str, Any]:
    flags = [flag for profile in profiles for flag in ("--profile", profile)]
    result = compose(*flags, "config")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = yaml.safe_load(result.stdout)["services"]
    return found


def test_compose_reads_it_with_every_profile() -> None:
    every = services("gpu", "loadtest")
    assert set(every) == {"cybersolve", "gpu", "prometheus", "grafana", "loadtest"}
    assert every["gpu"]["build"]["args"] == {"PROVIDER": "gpu"}
    assert every["loadtest"]["build"]["target"] == "loadtest"
    assert (every["gpu"]["profiles"], every["loadtest"]["profiles"]) == (["gpu"], ["loadtest"])


def test_compose_finds_a_mistake(tmp_path: Path) -> None:
    document = yaml.safe_load(FILE.read_text())
    document["services"]["cybersolve"]["read_onyl"] = True
    (tmp_path / "wrong.yml").write_text(json.dumps(document))
    result = compose("config", file=tmp_path / "wrong.yml")
    assert result.returncode != 0
    assert "read_onyl" in result.stderr


def test_only_this_machine_reaches_the_ports_and_nobody_is_privileged() -> None:
    for name, service in services("gpu", "loadtest").items():
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert "privileged" not in service
    for name in ("cybersolve", "gpu"):
        service = services("gpu")[name]
        assert service["read_only"] is True
        known = {f"CYBERSOLVE_{knob.upper()}" for knob in Settings.__dataclass_fields__}
        assert set(service["environment"]) <= known
        grace_s = float(service["stop_grace_period"].removesuffix("s"))
        assert grace_s > float(service["environment"]["CYBERSOLVE_DRAIN_TIMEOUT_S"]) + 5


def test_what_is_mounted_is_there_and_fits_together() -> None:
    for service in services().values():
        for mount in service.get("volumes", []):
            source = Path(mount.split(":")[0])
            made_by_it = not source.is_absolute() or source == ROOT / "runs" / "loadtest"
            assert made_by_it or source.exists(), mount
    (target,) = yaml.safe_load((DEPLOY / "prometheus/targets/cybersolve.yml").read_text())
    assert target["targets"] == ["cybersolve:8000"]
    provider = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/dashboards/cybersolve.yml").read_text()
    )
    assert provider["providers"][0]["options"]["path"] == "/etc/grafana/dashboards"
