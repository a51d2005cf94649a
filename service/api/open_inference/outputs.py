"""The output tensors: which there are, and what each says of a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from equations.errors import EquationError
from service.api.answering import Fault
from service.api.open_inference.errors import InvalidInference
from service.api.open_inference.schemas import InferRequest, TensorMetadata
from service.api.open_inference.tensors import Datatype, Element, Tensor
from service.api.schemas import SolveResponse

NOT_UNDERSTOOD = "not_understood"  # the verdict on a question that /solve answers with 422


@dataclass(frozen=True)
class _Output:
    datatype: Datatype
    of: Callable[[SolveResponse], Element | None]


_OUTPUTS: Mapping[str, _Output] = {
    "answer": _Output(Datatype.BYTES, lambda answer: answer.answer),
    "verdict": _Output(Datatype.BYTES, lambda answer: answer.verdict.value),
    "reason": _Output(Datatype.BYTES, lambda answer: answer.reason),
    "source": _Output(Datatype.BYTES, lambda answer: answer.source.value),
    "variable": _Output(Datatype.BYTES, lambda answer: answer.variable),
    "equation": _Output(Datatype.BYTES, lambda answer: answer.equation),
    "work": _Output(Datatype.BYTES, lambda answer: "\n".join(answer.work or ())),
    "confidence": _Output(Datatype.FP32, lambda answer: answer.confidence),
    "tries": _Output(Datatype.INT32, lambda answer: answer.tries),
}


def metadata() -> list[TensorMetadata]:
    return [
        TensorMetadata(name=name, datatype=output.datatype, shape=[-1])
        for name, output in _OUTPUTS.items()
    ]


def requested(request: InferRequest) -> dict[str, bool]:
    """The names of the outputs wanted, in order, and whether each is to be binary.

    Raises `InvalidInference` for one that there is not.
    """
    all_binary = request.parameters.binary_data_output
    if not request.outputs:
        return dict.fromkeys(_OUTPUTS, all_binary)
    wanted = {}
    for index, output in enumerate(request.outputs):
        if output.name not in _OUTPUTS:
            known = ", ".join(_OUTPUTS)
            raise InvalidInference(f"outputs.{index}: no output {output.name!r}; there are {known}")
        own = output.parameters.binary_data
        wanted[output.name] = all_binary if own is None else own
    return wanted


def tensor(name: str, shape: Sequence[int], outcomes: Sequence[SolveResponse | Fault]) -> Tensor:
    """One output for every question. Where there is nothing to say: empty text, or 0."""
    output = _OUTPUTS[name]
    nothing: Element = "" if output.datatype is Datatype.BYTES else 0
    elements: list[Element] = []
    for outcome in outcomes:
        if isinstance(outcome, SolveResponse):
            value = output.of(outcome)
        else:
            value = {"verdict": NOT_UNDERSTOOD, "reason": sentence(outcome)}.get(name)
        elements.append(nothing if value is None else value)
    return Tensor(name, output.datatype, shape, elements)


def sentence(error: Fault) -> str:
    """What is wrong with a question, where, and what was expected, in one line."""
    if not isinstance(error, EquationError):
        return str(error)
    where = f"characters {error.span.start} to {error.span.end}"
    return f"{error.message} ({where}); expected {error.expected}"
