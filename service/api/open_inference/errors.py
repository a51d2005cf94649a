"""Errors that reject a request in the Open Inference Protocol before any question is read."""

from __future__ import annotations

from service.errors import ServiceError


class InvalidInference(ServiceError):
    """The frame, JSON or tensors are invalid; the message says where and what was expected."""


class NoSuchModel(ServiceError):
    """The model, or this version of it, is not served."""
