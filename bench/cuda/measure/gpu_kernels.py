"""Record the GPU kernels of a call with PyTorch's profiler, which sees those of every library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

_SHOWN = 20
_NAME = 120  # characters: templates are long


def recorded(call: Callable[[], object]) -> dict[str, Any]:
    """Return the launches and milliseconds of a call's GPU kernels, the costliest by name.

    Without a GPU there are none.
    """
    gpu = torch.cuda.is_available()
    with profile(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU]) as records:
        call()
    found = [event for event in records.key_averages() if event.device_type.name == "CUDA"]
    found.sort(key=lambda event: event.self_device_time_total, reverse=True)
    return {
        "launches": sum(event.count for event in found),
        "ms": round(sum(event.self_device_time_total for event in found) / 1e3, 3),
        "costliest": [
            {
                "name": event.key[:_NAME],
                "launches": event.count,
                "ms": round(event.self_device_time_total / 1e3, 3),
            }
            for event in found[:_SHOWN]
        ],
    }
