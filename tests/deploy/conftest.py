"""Fixtures that several tests share: images, and schemas that npm packages carry."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.images import REVISION, Builder, Image


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    builder = Builder(tmp_path_factory.mktemp("images"))
    yield builder
    builder.clean()


@pytest.fixture(scope="session")
def image(builder: Builder) -> Image:
    return builder.build("cybersolve", "--build-arg", f"REVISION={REVISION}")


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of schemas/package.json and what asks them."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    folder = tmp_path_factory.mktemp("schemas")
    shutil.copytree(Path(__file__).parent / "schemas", folder, dirs_exist_ok=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    subprocess.run(command, cwd=folder, check=True)
    return folder
