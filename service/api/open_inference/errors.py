"""Why a request in the Open Inference Protocol is refused before any question is read."""

from __future__ import annotations

from service.errors import ServiceError


class InvalidInference(ServiceError):
    """A request whose frame, JSON or tensors do not fit; the text says where and what would."""


class NoSuchModel(ServiceError):
    """A model, or a version of it, that is not served here."""
