"""The reasons for which a named model cannot be served."""

from __future__ import annotations


class ModelNotFound(ValueError):
    """A model is neither a folder of a known kind nor to be had from the hub."""


class PackageMissing(ModelNotFound):
    """A package that conversion needs is not installed."""

    def __init__(self, model: object, error: ModuleNotFoundError) -> None:
        super().__init__(
            f"{model}: the package {error.name} is missing; install the extra `convert`: "
            "pip install 'cybersolve[cpu,convert]'"
        )
