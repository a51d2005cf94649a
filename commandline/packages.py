"""Report a package that a command needs and that is not installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def installed_by(command: str) -> Iterator[None]:
    """Exit with status 1 and one line that names a missing package and the `command` to install it.

    A missing module of a package that is there is a fault of ours, and is raised.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or _is_installed(package):
            raise
        sys.exit(f"error: the package {package} is missing; run {command}")


def _is_installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    return find_spec(package) is not None
