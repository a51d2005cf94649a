"""Open sessions of ONNX Runtime on a provider, with a number of threads.

ONNX Runtime runs operators without a CUDA kernel on the CPU, and copies their inputs and outputs at
every step. A session on a GPU that would do so is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

_LOG = logging.getLogger(__name__)
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
Sessions = list[ort.InferenceSession]
# Arithmetic of shapes, positions and lengths, which ONNX Runtime itself places on the CPU.
_MAY_BE_ON_CPU = {
    "Add", "Cast", "Clip", "Concat", "CumSum", "Div", "Less", "Mul", "Range", "ReduceMax",
    "Reshape", "Shape", "Squeeze", "Sub", "Unsqueeze",
}  # fmt: skip


class ProviderMissing(ValueError):
    """CUDA was requested, but this installation, machine or graph cannot use it."""


def open_sessions(
    paths: Sequence[Path],
    *,
    threads: int,
    provider: str,
    kernels: Path | None = None,
    gpu_kernels: Path | None = None,
    captured: Path | None = None,
) -> tuple[str, Sessions]:
    """Return ONNX Runtime's name of the provider, and a session for each graph.

    `threads`, the caller's included, share one call. `provider` is `cpu`, `cuda`, or `auto`: CUDA
    where it works, else the CPU. The libraries `kernels` and `gpu_kernels` implement our operators
    on the CPU and on a GPU. There, calls of the graph in `captured` become CUDA graphs.

    Raises `ProviderMissing`.
    """
    ort.disable_telemetry_events()
    built_in = has_cuda()
    if provider == "cpu" or (provider == "auto" and not built_in):
        return _CPU, [_open(path, threads, _CPU, kernels) for path in paths]
    if not built_in:
        raise ProviderMissing(
            "provider cuda: this installation of ONNX Runtime has no CUDA; "
            "install the extra `gpu` instead of `cpu`, or choose provider cpu"
        )
    ort.preload_dlls()  # the CUDA libraries that pip installed
    try:
        _require_working_cuda()
        return _CUDA, [
            _open(path, threads, _CUDA, gpu_kernels, capture=path == captured) for path in paths
        ]
    except ProviderMissing as error:
        if provider == "cuda":
            raise
        _LOG.warning("%s; the model runs on the CPU", error)
        return _CPU, [_open(path, threads, _CPU, kernels) for path in paths]


def _require_working_cuda() -> None:
    """Raise `ProviderMissing` where CUDA is installed and this machine cannot use it.

    A session would fall back to the CPU, for which our kernels for a GPU make a graph invalid.
    """
    try:
        ort.OrtValue.ortvalue_from_shape_and_type([1], np.float32, "cuda", 0)
    except RuntimeError as error:
        raise ProviderMissing(
            f"{_CUDA} does not work on this machine; see the log above"
        ) from error


def has_cuda() -> bool:
    """Return True if this installation of ONNX Runtime supports CUDA, whatever the machine has."""
    return _CUDA in ort.get_available_providers()


def device_of(provider: str) -> str:
    """Return ONNX Runtime's name of the memory of a provider."""
    return "cuda" if provider == _CUDA else "cpu"


def require_all_on(session: ort.InferenceSession, path: Path, provider: str) -> None:
    """Raise `ProviderMissing` if any part of the graph in `path` runs on another provider.

    An operator of ours counts as the standard operators of its definition.
    """
    elsewhere = {
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != provider
        for node in part.get_nodes()
    }
    if elsewhere := elsewhere - _MAY_BE_ON_CPU:
        raise ProviderMissing(
            f"{path.name}: {provider} has no kernel for {', '.join(sorted(elsewhere))}; "
            "expected a bundle in fp16 (python -m model_export export --precision fp16)"
        )


def _open(
    path: Path, threads: int, provider: str, kernels: Path | None, *, capture: bool = False
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads that spin take the cores from the other session and from the HTTP server.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # In fp32 all of a float counts: TF32 would round products to ten bits.
    settings = {"use_tf32": "0"} if provider == _CUDA else {}
    if capture:
        settings["enable_cuda_graph"] = "1"
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if kernels is not None:
        options.register_custom_ops_library(str(kernels))
    session = ort.InferenceSession(str(path), options, providers=[(provider, settings)])
    if session.get_providers()[0] != provider:  # it falls back with no more than a log line
        raise ProviderMissing(f"{provider} does not work on this machine; see the log above")
    require_all_on(session, path, provider)
    return session
