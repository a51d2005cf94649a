"""Turn the model that settings name into the folder of a bundle, converting it on first use."""

from __future__ import annotations

from dataclasses import replace

from engine.bundle import MANIFEST, BundleError
from service.settings import Settings


def with_bundle(settings: Settings) -> Settings:
    """Return the settings with the folder of a bundle as their model.

    A checkpoint, or a model of the hub, is converted into the cache on first use. A bundle is
    served as it is, and nothing of the conversion is imported.
    Raises `BundleError` for a model that cannot be had or converted.
    """
    if (settings.model / MANIFEST).exists():
        return settings
    from model_export.checkpoint.errors import CheckpointError, ConversionError
    from model_export.models.errors import ModelNotFound
    from model_export.models.library import Wanted, bundle_of

    wanted = Wanted(str(settings.model), settings.precision, settings.revision)
    try:
        bundle = bundle_of(wanted, settings.model_cache.expanduser())
    except (CheckpointError, ConversionError, ModelNotFound) as error:
        raise BundleError(str(error)) from error
    return replace(settings, model=bundle)
