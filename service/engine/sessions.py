"""Sessions of ONNX Runtime: which provider runs them, with how many threads."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort


class ProviderMissing(ValueError):
    """CUDA was asked for, and this installation or machine has none."""


def execution_provider(provider: str) -> str:
    """ONNX Runtime's name for `auto`, `cpu` or `cuda`. Raises `ProviderMissing`."""
    available = ort.get_available_providers()  # what was built in
    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    if provider == "cpu" or (provider == "auto" and cuda not in available):
        return cpu
    if cuda not in available:
        raise ProviderMissing(
            "provider cuda: this installation of ONNX Runtime has no CUDA; "
            "install the extra `gpu` instead of `cpu`, or choose provider cpu"
        )
    ort.preload_dlls()  # the CUDA libraries that pip installed
    return cuda


def open_session(path: Path, *, threads: int, provider: str) -> ort.InferenceSession:
    """`threads` work on one call, the caller's among them. Raises `ProviderMissing`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads that spin take the cores from the other session and from the HTTP server.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=[provider])
    if session.get_providers()[0] != provider:  # it falls back with no more than a log line
        raise ProviderMissing(f"{provider} does not work on this machine; see the log above")
    return session
