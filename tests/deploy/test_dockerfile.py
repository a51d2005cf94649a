"""The Dockerfile without a build: its lint, what it copies, and the documents that it writes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from service.settings import Settings
from tests.end_to_end.conftest import ROOT
from tests.test_architecture import imported, sources

DOCKERFILE = (ROOT / "Dockerfile").read_text()
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))
OURS = {path.parent.name for path in ROOT.glob("*/__init__.py")}
# What each stage runs of ours.
ENTRIES = {"build-service": "service", "build-loadtest": "loadtest"}


def stage(name: str) -> str:
    (found,) = re.findall(rf"^FROM [^\n]* AS {name}$(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S)
    return str(found)


def required(room: str) -> set[str]:
    """A room and the rooms that it imports."""
    found, waiting = set(), {room}
    while waiting:
        found.add(one := waiting.pop())
        modules = (module for path in sources(one) for module in imported(path))
        waiting |= {module.split(".")[0] for module in modules} & OURS - found
    return found


@pytest.mark.parametrize("name", ENTRIES)
def test_a_stage_copies_every_room_that_it_imports(name: str) -> None:
    copied = set(re.findall(r"^COPY (\w+) ", stage(name), re.M)) & OURS
    assert copied == required(ENTRIES[name])
    listed = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{room}/**" for room in copied} <= set(listed)


def test_everything_that_it_copies_is_there() -> None:
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.M):
        *paths, _ = line.split()
        assert all((ROOT / path).exists() for path in paths), line


@pytest.mark.skipif(HADOLINT is None, reason="needs hadolint, whose wheel is for x86-64 Linux")
def test_hadolint_finds_no_fault(tmp_path: Path) -> None:
    def linted(path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(HADOLINT), "--no-color", str(path)], capture_output=True, text=True, check=False
        )

    assert linted(ROOT / "Dockerfile").stdout == ""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE + "\nMAINTAINER nobody\n")
    assert "DL4000" in linted(tmp_path / "Dockerfile").stdout


def test_images_are_pinned_by_digest() -> None:
    digest = r"@sha256:[0-9a-f]{64}$"
    (base,) = re.findall(r"^ARG BASE=(.*)$", DOCKERFILE, re.M)
    compose = (ROOT / "docker-compose.yml").read_text()
    foreign = re.findall(r"image: (\S+/\S+)", compose)
    assert len(foreign) == 2
    for image in (base, *foreign):
        assert re.search(digest, image), image


STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u14
Description: GNU C Library: Shared libraries
 Contains the standard libraries: that is a line that continues.

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


def test_the_bill_of_materials_is_cyclonedx_and_the_provenance_names_its_inputs(
    tmp_path: Path,
) -> None:
    (tmp_path / "status").write_text(STATUS)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/cybersolve-1-py3-none-any.whl").write_bytes(b"wheel")
    model = tmp_path / "models" / "cybersolve-mini"
    shutil.copytree(Settings().model, model)
    digest = "d" * 64
    command = [
        sys.executable, "-P", str(ROOT / "deploy/image/materials.py"),
        "--base", f"debian:12@sha256:{digest}", "--provider", "cpu", "--revision", "abc",
        "--requirements", str(ROOT / "requirements"), "--wheels", str(tmp_path / "wheels"),
        "--models", str(model.parent), "--dpkg-status", str(tmp_path / "status"),
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    bill = (tmp_path / "out/sbom.cdx.json").read_text()
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(bill) is None
    assert validator.validate_str(bill.replace('"purl"', '"pearl"')) is not None
    components = {one["name"]: one for one in json.loads(bill)["components"]}
    assert components["libc6"]["purl"].startswith("pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?")
    assert "gone" not in components
    assert components["onnxruntime"]["purl"].startswith("pkg:pypi/onnxruntime@")
    files = {part["name"] for part in components["cybersolve-mini"]["components"]}
    assert "decoder.onnx" in files
    statement = json.loads((tmp_path / "out/provenance.json").read_text())
    subjects = {subject["name"] for subject in statement["subject"]}
    assert {"wheels/cybersolve-1-py3-none-any.whl", "cybersolve-mini/manifest.json"} <= subjects
    inputs = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert inputs[0]["digest"] == {"sha256": digest}
    assert "requirements/otel.txt" in {one["uri"] for one in inputs}
