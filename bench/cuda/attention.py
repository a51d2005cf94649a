"""Read which attention kernels ONNX Runtime chose, from what it prints. Pure.

With `ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO=1` each run of an attention operator prints a line as
`Operator=GroupQueryAttention Node=... DataType=fp16 SdpaKernel=MATH`
(contrib_ops/cuda/bert/attention_kernel_options.cc).
"""

from __future__ import annotations

import re
from collections import Counter

VARIABLE = "ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO"
_LINE = re.compile(
    r"Operator=(?P<operator>\w+)(?: Node=\S*)? DataType=(?P<type>\w+) SdpaKernel=(?P<kernel>\w+)"
)


def kernels(text: str) -> dict[str, int]:
    """Return how often each kernel ran, by `OPERATOR TYPE KERNEL`."""
    found = Counter(f"{m['operator']} {m['type']} {m['kernel']}" for m in _LINE.finditer(text))
    return dict(found.most_common())
