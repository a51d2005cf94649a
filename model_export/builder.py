"""Build an ONNX graph node by node; each method returns the name of its output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_export import operators

OPSET = 23
IR_VERSION = 11  # of OPSET 23
CONTRIB = "com.microsoft"  # ONNX Runtime's own operators
Array = npt.NDArray[np.generic]
_EXTERNAL = 1024  # bytes: smaller weights stay in the model file
_PAGE = 4096  # bytes: weights aligned to a page can be mapped into memory


class GraphBuilder:
    """Collect the nodes and weights of one graph. Names of values are plain strings.

    Weights are stored in the model, or written at once to the file `data` beside it: a model file
    cannot exceed 2 GB, and weights that have been written need not stay in memory.
    """

    def __init__(self, data: Path | None = None) -> None:
        self._data = data.open("wb") if data is not None else None
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._constants: dict[tuple[str, bytes], str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dtype: int, shape: Sequence[int | str]) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, value: str, name: str, dtype: int, shape: Sequence[int | str]) -> None:
        """Make `value` an output called `name`.

        The value is renamed at its producer and consumers; an Identity node would copy it.
        """
        for node in self._nodes:
            for names in (node.input, node.output):
                for index, used in enumerate(names):
                    if used == value:
                        names[index] = name
        self._outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of the operator `kind` with one output; an empty name omits an input.

        Operators are ONNX's own, ONNX Runtime's with `domain=CONTRIB`, or those of `operators`.
        """
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        names = [f"{kind}_{len(self._nodes)}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def weight(self, name: str, value: Array) -> str:
        tensor = self._external(name, value) if value.nbytes >= _EXTERNAL else None
        self._weights.append(tensor or numpy_helper.from_array(value.copy(order="C"), name))
        return name

    def _external(self, name: str, value: Array) -> onnx.TensorProto | None:
        """Write a weight to the data file, if there is one."""
        if self._data is None:
            return None
        self._data.seek(-self._data.tell() % _PAGE, 1)
        place = {"location": Path(self._data.name).name, "offset": self._data.tell()}
        self._data.write(np.ascontiguousarray(value).data)
        tensor = TensorProto(
            name=name,
            dims=value.shape,
            data_type=helper.np_dtype_to_tensor_dtype(value.dtype),
            data_location=TensorProto.EXTERNAL,
        )
        for key, fact in {**place, "length": value.nbytes}.items():
            tensor.external_data.add(key=key, value=str(fact))
        return tensor

    def ints(self, *values: int) -> str:
        """Return a shared int64 vector, for shapes and axes."""
        return self._constant(np.array(values, np.int64))

    def scalar(self, value: float, dtype: type[np.generic] = np.float32) -> str:
        return self._constant(np.array(value, dtype))

    def _constant(self, value: Array) -> str:
        key = (f"{value.dtype}{value.shape}", value.tobytes())
        if key not in self._constants:
            self._constants[key] = self.weight(f"constant_{len(self._constants)}", value)
        return self._constants[key]

    def model(self, name: str, doc: str) -> onnx.ModelProto:
        """Return the finished model; it is checked unless its weights are in a file beside it."""
        graph = helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, self._weights, doc_string=doc
        )
        domains = (operators.DOMAIN, operators.HALF_DOMAIN)
        own = {(node.domain, node.op_type) for node in self._nodes if node.domain in domains}
        used = sorted({operators.DOMAIN, *(domain for domain, _ in own)})
        model = helper.make_model(
            graph,
            opset_imports=[
                helper.make_opsetid("", OPSET),
                helper.make_opsetid(CONTRIB, 1),
                *(helper.make_opsetid(domain, 1) for domain in used),
            ],
            functions=[operators.definition(kind, domain) for domain, kind in sorted(own)],
            ir_version=IR_VERSION,
            producer_name="cybersolve",
        )
        if self._data is None:
            onnx.checker.check_model(model)
        else:
            self._data.close()
        return model


FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16
INT8, INT32, INT64 = TensorProto.INT8, TensorProto.INT32, TensorProto.INT64
