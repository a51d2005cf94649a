"""The files around a release agree with the project: changelog, citation, CI and pre-commit."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from typing import Any

import yaml

from tests.docs.pages import ROOT, text_of

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
KINDS = ["Added", "Changed", "Fixed", "Removed"]


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_every_release_is_grouped_by_kind() -> None:
    releases = re.split(r"^## (?=\d)", text_of("CHANGELOG.md"), flags=re.MULTILINE)[1:]
    assert releases
    for release in releases:
        kinds = re.findall(r"^### (.+)$", release, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds], release.splitlines()[0]


def test_packages_and_changelog_have_the_same_version() -> None:
    client = tomllib.loads((ROOT / "client/pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert client["version"] == PROJECT["version"]
    latest = re.search(r"^## (?!Unreleased)(\S+)", text_of("CHANGELOG.md"), re.MULTILINE)
    assert latest is not None
    assert latest[1] == PROJECT["version"]


def test_the_citation_names_the_research_and_the_dataset() -> None:
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"] == PROJECT["license"]
    assert citation["abstract"] == f"{PROJECT['description']}."
    titles = [reference["title"] for reference in citation["references"]]
    assert titles == [
        "CyberSolve LinAlg 1.2",
        "Analysing Mathematical Reasoning Abilities of Neural Models",
    ]


def test_continuous_integration_runs_the_verbs_of_the_project() -> None:
    workflow = read(".github/workflows/ci.yml")
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1]["run"] == ".ci/run"
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    verbs = re.findall(r"^make ([a-z-]+)$", script.read_text(), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "test" in verbs
    assert set(verbs) <= set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))


def test_pre_commit_runs_the_linter_of_the_environment() -> None:
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    programs = set()
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        programs.add(" ".join(shlex.split(hook["entry"])[:2]))
    assert programs == {".venv/bin/ruff check", ".venv/bin/ruff format"}
