"""Estimate what a bundle needs where it runs: memory, time to start and time to stop.

The constants are upper bounds of measurements on a CPU (decision 29). A GPU's own memory is not
estimated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.bundle import DECODER, ENCODER, Manifest
from service.settings import Settings

MIB = 2**20
_SERVICE_BYTES = 110 * MIB  # the HTTP process: Python, routes, tokenizer
_ENGINE_BYTES = 60 * MIB  # an engine's process: Python, ONNX Runtime
_LOADED, _LOADING = 1.15, 1.35  # bytes of memory for each byte of the graphs, then and meanwhile
_CACHE_ELEMENT_BYTES = 4
_ARRAYS_READ = 60  # arrays as wide as the attention, for each token that is read together
_START_S = 60.0  # processes and warm-up
_LOAD_BYTES_PER_S = 20e6  # from a slow disk, with its SHA-256
_STEP_BYTES_PER_S = 4e9  # a decoding step reads the weights, and shares the memory with others
PAUSE_S, LEAVING_S = 5.0, 5.0  # until load balancers know; answers on their way out
_MARGIN_S = 10.0
_PROVIDERS = {"fp16": ("cpu", "cuda")}  # decision 18


@dataclass(frozen=True)
class Needs:
    """The needs of one service process and its engines. Bytes and seconds."""

    engines: int
    providers: tuple[str, ...]  # hardware that runs the bundle's precision
    loaded_bytes: int  # memory after the start
    most_bytes: int  # memory with every row in use by the longest texts
    start_s: float  # until it is ready, at most
    drain_s: float  # for accepted requests at shutdown
    grace_s: float  # from the stop signal, or the preStop hook, to the kill


def providers(manifest: Manifest) -> tuple[str, ...]:
    """Return the hardware that runs a bundle of this precision entirely."""
    return _PROVIDERS.get(manifest.precision, ("cpu",))


def needs(manifest: Manifest, settings: Settings, *, engines: int) -> Needs:
    """Return what `engines` of a bundle need with these settings."""
    graphs = sum(
        file["bytes"]
        for name, file in manifest.files.items()
        if name.startswith((ENCODER, DECODER))  # and their .data
    )
    working = _cache_bytes(manifest, settings) + _reading_bytes(manifest, settings)
    most = max(_LOADING * graphs, _LOADED * graphs + working)
    drain_s = _drain_s(manifest, settings, graphs)
    return Needs(
        engines=engines,
        providers=providers(manifest),
        loaded_bytes=round(_SERVICE_BYTES + engines * (_ENGINE_BYTES + _LOADED * graphs)),
        most_bytes=round(_SERVICE_BYTES + engines * (_ENGINE_BYTES + most)),
        start_s=math.ceil(_START_S + engines * graphs / _LOAD_BYTES_PER_S),
        drain_s=drain_s,
        grace_s=PAUSE_S + drain_s + LEAVING_S + _MARGIN_S,
    )


def _cache_bytes(manifest: Manifest, settings: Settings) -> float:
    """Return the keys and values of all rows, own and of the source, at their longest."""
    tokens = manifest.limits.max_source_tokens + manifest.limits.max_new_tokens
    layers = 2 * manifest.architecture.decoder_layers  # keys and values
    return layers * settings.max_batch_rows * tokens * _width(manifest) * _CACHE_ELEMENT_BYTES


def _reading_bytes(manifest: Manifest, settings: Settings) -> float:
    """Return the working memory of the encoder for all tokens that it reads together."""
    tokens = max(settings.max_batch_tokens, manifest.limits.max_source_tokens)
    return tokens * _ARRAYS_READ * _width(manifest) * _CACHE_ELEMENT_BYTES


def _width(manifest: Manifest) -> int:
    return manifest.architecture.heads * manifest.architecture.d_kv


def _drain_s(manifest: Manifest, settings: Settings, graphs: float) -> float:
    """Return the time for the longest answer, within the deadline that most requests have."""
    longest_s = manifest.limits.max_new_tokens * graphs / _STEP_BYTES_PER_S
    least_s = settings.drain_timeout_s
    return math.ceil(min(max(least_s, longest_s), max(least_s, settings.default_timeout_s)))
