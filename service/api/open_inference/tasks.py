"""The meaning of the tensors, for a bundle that solves equations and for any other text model."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.bundle import Manifest
from equations.errors import EquationError
from service.api.answering import Fault, each, solution_of, timeout_s
from service.api.generation import GenerationSettings, all_written, requests_of
from service.api.open_inference.errors import InvalidInference
from service.api.open_inference.schemas import InferParameters, InferRequest, TensorMetadata
from service.api.open_inference.tensors import Datatype, Element, Tensor
from service.api.schemas import confidence_of
from service.contracts import Timings
from service.errors import LimitExceeded, QuestionTooLong
from service.generating.written import Written
from service.runtime import Runtime
from service.solving import Solution

# Verdicts and reasons where other routes answer 422.
NOT_UNDERSTOOD = "not_understood"
TOO_LONG = "too_long"
REJECTED = "rejected"
_ALWAYS = frozenset({"timeout_ms", "timeout", "binary_data_output"})


@dataclass(frozen=True)
class _Output:
    datatype: Datatype
    of: Callable[[Any], Element | None]  # from the result of `Task.one`
    of_fault: Callable[[Fault], Element | None] = lambda _: None


_Outcome = Solution | Written | Fault
_IN_PLACE = (EquationError, LimitExceeded)  # outcomes of one text; other errors fail the request


@dataclass(frozen=True)
class Task:
    """One input of texts, and the outputs for each of them."""

    input: str
    outputs: Mapping[str, _Output]
    answer: Callable[
        [Runtime, InferParameters, Sequence[str], float], Awaitable[Sequence[_Outcome]]
    ]
    parameters: frozenset[str]  # those that only this task has

    def metadata(self) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
        """Return the metadata of inputs and outputs."""
        described = [
            TensorMetadata(name=name, datatype=output.datatype, shape=[-1])
            for name, output in self.outputs.items()
        ]
        return [TensorMetadata(name=self.input, datatype=Datatype.BYTES, shape=[-1])], described

    def require(self, request: InferRequest) -> None:
        """Raise `InvalidInference` for an input or a parameter of the other task."""
        if (name := request.inputs[0].name) != self.input:
            raise InvalidInference(f"inputs.0.name: no input {name!r}; there is {self.input!r}")
        for name in request.parameters.model_fields_set - _ALWAYS - self.parameters:
            known = ", ".join(sorted(self.parameters))
            raise InvalidInference(f"parameters.{name}: there is {known}, not this")

    def wanted(self, request: InferRequest) -> dict[str, bool]:
        """Return the names of the requested outputs in order, and whether each is binary.

        Raises `InvalidInference` for an unknown output.
        """
        all_binary = request.parameters.binary_data_output
        if not request.outputs:
            return dict.fromkeys(self.outputs, all_binary)
        wanted = {}
        for index, output in enumerate(request.outputs):
            if output.name not in self.outputs:
                known = ", ".join(self.outputs)
                raise InvalidInference(
                    f"outputs.{index}.name: no output {output.name!r}; there are {known}"
                )
            own = output.parameters.binary_data
            wanted[output.name] = all_binary if own is None else own
        return wanted

    async def run(
        self, runtime: Runtime, parameters: InferParameters, texts: Sequence[str]
    ) -> Sequence[_Outcome]:
        """Return the outcome of each text, or why it was not understood.

        All texts share the deadline of the request. Raises all other errors, `DeadlineExceeded`
        too: an output cannot express them.
        """
        limit_s = timeout_s(runtime, parameters.deadline_ms)
        return await self.answer(runtime, parameters, texts, limit_s)

    def tensor(self, name: str, shape: Sequence[int], outcomes: Sequence[_Outcome]) -> Tensor:
        """Return one output for all texts; a missing value is an empty text or 0.

        The last dimension has a text's answers if there are several.
        """
        output = self.outputs[name]
        nothing: Element = "" if output.datatype is Datatype.BYTES else 0
        answers = max(len(_answers(outcome)) for outcome in outcomes)
        elements: list[Element] = []
        for outcome in outcomes:
            if isinstance(outcome, Solution | Written):
                values = [output.of(answer) for answer in _answers(outcome)]
            else:
                values = [output.of_fault(outcome)] + [None] * (answers - 1)
            elements += [nothing if value is None else value for value in values]
        return Tensor(
            name, output.datatype, shape if answers == 1 else [shape[0], answers], elements
        )


def _answers(outcome: _Outcome) -> Sequence[object]:
    return outcome.texts if isinstance(outcome, Written) else (outcome,)


def slowest(outcomes: Sequence[_Outcome]) -> Timings | None:
    """Return the timings of the slowest text; `None` if no text was understood."""
    timings = [given.timings for given in outcomes if isinstance(given, Solution | Written)]
    return max(timings, key=lambda one: one.total_s, default=None)


def task_of(manifest: Manifest) -> Task:
    return _SOLVING if manifest.solves else _GENERATING


def _sentence(error: Fault) -> str:
    """Return the first line of `str(error)`; the second marks the span."""
    return str(error).split("\n", 1)[0]


def _json(values: Mapping[str, str] | None) -> str | None:
    return None if values is None else json.dumps(values)


def _verdict(fault: Fault) -> str:
    return TOO_LONG if isinstance(fault, QuestionTooLong) else NOT_UNDERSTOOD


def _finish_reason(fault: Fault) -> str:
    return TOO_LONG if isinstance(fault, QuestionTooLong) else REJECTED


async def _solve(
    runtime: Runtime, parameters: InferParameters, texts: Sequence[str], limit_s: float
) -> Sequence[_Outcome]:
    async def one(text: str, left_s: float) -> Solution:
        return await solution_of(runtime, text, parameters.fallback, left_s, wait=True)

    return await each(runtime, texts, one, timeout_s=limit_s, in_place=_IN_PLACE)


async def _generate(
    runtime: Runtime, parameters: InferParameters, texts: Sequence[str], limit_s: float
) -> Sequence[_Outcome]:
    asked = requests_of(runtime, texts, parameters)
    return await all_written(runtime, asked, limit_s, in_place=_IN_PLACE)


_SOLVING = Task(
    "question",
    {
        "answer": _Output(Datatype.BYTES, lambda solved: solved.answer),
        "solution": _Output(Datatype.BYTES, lambda solved: _json(solved.values)),
        "verdict": _Output(Datatype.BYTES, lambda solved: solved.verdict.value, _verdict),
        "reason": _Output(Datatype.BYTES, lambda solved: solved.reason, _sentence),
        "source": _Output(Datatype.BYTES, lambda solved: solved.source.value),
        "variable": _Output(Datatype.BYTES, lambda solved: solved.variable),
        "equation": _Output(Datatype.BYTES, lambda solved: solved.equation),
        "work": _Output(Datatype.BYTES, lambda solved: "\n".join(solved.work or ())),
        "confidence": _Output(Datatype.FP32, confidence_of),
        "tries": _Output(Datatype.INT32, lambda solved: solved.tries),
    },
    _solve,
    frozenset({"fallback"}),
)
_GENERATING = Task(
    "text",
    {
        "text": _Output(Datatype.BYTES, lambda written: written.text),
        "finish_reason": _Output(
            Datatype.BYTES, lambda written: written.finish_reason.value, _finish_reason
        ),
        "reason": _Output(Datatype.BYTES, lambda _: None, _sentence),
        "tokens": _Output(Datatype.INT32, lambda written: len(written.ids)),
        "logprob": _Output(Datatype.FP32, lambda written: written.logprob),
    },
    _generate,
    frozenset(GenerationSettings.model_fields) - {"logprobs"},  # no output has one by token
)
