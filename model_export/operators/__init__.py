"""Define the operators that CyberSolve adds to ONNX in terms of ONNX Runtime's own.

A model carries these definitions as functions. A session that has a kernel for an operator (see
`engine/kernels`) runs the kernel; any other session expands the definition. So the same file runs
with any client, on any processor and on a GPU.

Weights of products are stored in the order in which the kernels read them: integers as (blocks,
inputs / 4, 16, 4), floats as (blocks, inputs, 16). Definitions restore the plain order, which ONNX
Runtime computes once at loading.

Attention in half precision uses the same operators in a domain without kernels: ONNX Runtime
refuses a model whose float type differs from that of a registered kernel.
"""

from __future__ import annotations

import onnx
from onnx import parser

from model_export.operators.attention import ATTENTION
from model_export.operators.choosing import CHOOSING
from model_export.operators.products import BY_ROW, FLOAT, PRODUCTS

__all__ = ["BY_ROW", "DOMAIN", "FLOAT", "HALF_DOMAIN", "definition"]

DOMAIN = "cybersolve"
HALF_DOMAIN = "cybersolve.half"
_HEAD = '<domain: "%s", opset_import: ["": 23, "com.microsoft": 1]>'
_DEFINITIONS = {**ATTENTION, **CHOOSING, **PRODUCTS}


def definition(kind: str, domain: str) -> onnx.FunctionProto:
    """Return the definition of the operator `kind` in one of the two domains here."""
    return parser.parse_function(_HEAD % domain + _DEFINITIONS[kind])
