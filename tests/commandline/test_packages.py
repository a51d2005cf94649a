"""A missing package is one line; a missing module of ours is raised."""

from __future__ import annotations

import importlib

import pytest

from commandline.packages import installed_by


def test_a_missing_package_is_one_line() -> None:
    expected = "^error: the package no_such_package is missing; run pip install it$"
    with pytest.raises(SystemExit, match=expected), installed_by("pip install it"):
        importlib.import_module("no_such_package.part")


@pytest.mark.parametrize("module", ["commandline.no_such_module", "json.no_such_module"])
def test_a_missing_module_of_a_package_that_is_there_is_raised(module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=module), installed_by("pip install it"):
        importlib.import_module(module)
