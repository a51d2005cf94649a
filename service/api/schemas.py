"""Bodies of requests and responses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from engine.bundle import Manifest
from equations.verify import Verdict
from service.contracts import Timings
from service.solving import Fallback, Solution, Source

_MOST_KEYS = 10
_EXAMPLE = "Solve 24 = 1601*c - 1605*c for c."
TimeoutMs = Annotated[
    StrictInt | None,
    Field(gt=0, le=600_000, description="Deadline of this request, in milliseconds."),
]


def expecting(what: str) -> WrapValidator:
    """Return the rule that a value is `what`, in place of a fault for each of its types."""

    def read(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(f"expected {what}") from None

    return WrapValidator(read)


# A rule for parameters, of which null is as good as none.
null_as_empty = BeforeValidator(lambda value: {} if value is None else value)


class Strict(BaseModel):
    """A body of a request: unknown keys are faults."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_keys(cls, body: Any) -> Any:
        """Reject bodies with many keys: thousands of unknown ones would be thousands of faults."""
        most = max(_MOST_KEYS, len(cls.model_fields))
        if isinstance(body, dict) and len(body) > most:
            raise ValueError(f"{len(body)} keys; at most {most}")
        return body


class SolveRequest(Strict):
    question: str = Field(
        description="Linear equations, in words or plain, and what is asked for where that is "
        "not all of several variables.",
        examples=[_EXAMPLE],
    )
    fallback: Fallback = Field(
        Fallback.NONE, description="exact: solve exactly when the model's answer is not correct."
    )
    timeout_ms: TimeoutMs = None


class BatchRequest(Strict):
    questions: list[str] = Field(
        min_length=1,
        fail_fast=True,  # or a million invalid items would be a million faults
        description="Questions, answered in order.",
        examples=[[_EXAMPLE, "3x = 12"]],
    )
    fallback: Fallback = Fallback.NONE
    timeout_ms: TimeoutMs = None


class ModelName(BaseModel):
    name: str
    version: str

    @classmethod
    def of(cls, manifest: Manifest) -> ModelName:
        return cls(name=manifest.name, version=manifest.version)


class TimingMs(BaseModel):
    """Milliseconds in the queue, of inference, and in all, from parsing to verification."""

    queue: float
    inference: float
    total: float

    @classmethod
    def of(cls, timings: Timings, total_s: float) -> TimingMs:
        return cls(
            queue=_ms(timings.queue_s), inference=_ms(timings.inference_s), total=_ms(total_s)
        )

    def headers(self) -> dict[str, str]:
        return {f"x-{part}-time": str(value_ms) for part, value_ms in self}


class SolveResponse(BaseModel):
    answer: str | None = Field(
        description="Value of the variable asked for. Null where all of several are, where no "
        "value can be right, and where the model wrote no readable one."
    )
    solution: dict[str, str] | None = Field(
        description="Value of each variable asked for. Null where no values can be right, and "
        "where the model did not write them all."
    )
    variable: str | None = Field(description="The one asked for. Null where all of several are.")
    verdict: Verdict
    reason: str | None = Field(description="Why the verdict, where it does not explain itself.")
    source: Source
    equation: str = Field(description="What was asked, in the dataset's wording.")
    work: list[str] | None = Field(
        description="The model's own steps. Null where no value can be right and they do not say "
        "so."
    )
    confidence: float | None = Field(
        description="How sure the model was of this answer before verification: the share of "
        "answers as likely that were right when the bundle was made. Null for an exact answer, and "
        "for a bundle without figures."
    )
    tries: int = Field(
        description="Answers of the model that were verified to find this one; of a system, for "
        "the step that took most."
    )
    model: ModelName
    timing_ms: TimingMs

    @classmethod
    def of(cls, solution: Solution, model: ModelName) -> SolveResponse:
        return cls(
            answer=solution.answer,
            solution=None if solution.values is None else dict(solution.values),
            variable=solution.variable,
            verdict=solution.verdict,
            reason=solution.reason,
            source=solution.source,
            equation=solution.equation,
            work=solution.work,
            confidence=confidence_of(solution),
            tries=solution.tries,
            model=model,
            timing_ms=TimingMs.of(solution.timings, solution.total_s),
        )


def is_none(value: object) -> bool:
    return value is None


class BodyFault(BaseModel):
    """One fault of a body."""

    at: list[str | int] = Field(description="Keys and indices that lead to it.")
    message: str


class Problem(BaseModel):
    """RFC 9457. `span` and `expected` are there when a question was not understood."""

    type: str = Field(
        description="`urn:problem-type:cybersolve:too-long-for-model` for a text beyond what the "
        "model reads; `about:blank` where the status says it all."
    )
    title: str
    status: int
    detail: str
    span: tuple[int, int] | None = Field(
        None,
        exclude_if=is_none,
        description="The fault in the question: [start, end), counted in Unicode code points.",
    )
    expected: str | None = Field(None, exclude_if=is_none)
    errors: list[BodyFault] | None = Field(
        None, exclude_if=is_none, description="Faults of a body, by place."
    )
    request_id: str | None = Field(None, exclude_if=is_none)


class BatchAnswer(SolveResponse):
    """An answer in a batch."""

    kind: Literal["answer"]

    @classmethod
    def in_place(cls, answer: SolveResponse) -> BatchAnswer:
        return cls.model_construct(kind="answer", **dict(answer))


class BatchProblem(Problem):
    """A problem in a batch, as the result of its question."""

    kind: Literal["problem"]

    @classmethod
    def in_place(cls, problem: Problem) -> BatchProblem:
        return cls.model_construct(kind="problem", **dict(problem))


BatchResult = Annotated[BatchAnswer | BatchProblem, Field(discriminator="kind")]


class BatchResponse(BaseModel):
    results: list[BatchResult] = Field(
        description="In the order of the questions: an answer or a problem each, told by `kind`."
    )


class Status(BaseModel):
    status: str


class Info(BaseModel):
    """The served model and the limits of the service."""

    name: str
    version: str
    solves: bool = Field(description="Whether it solves equations: then there is /solve.")
    precision: str
    provider: str | None = Field(description="What computes; null before the first engine is up.")
    kernels: str | None = Field(
        description="Level of the CPU kernels in use, or none; null before an engine is up."
    )
    parameters: int
    processes: int = Field(description="HTTP processes that share the port.")
    max_source_tokens: int
    max_new_tokens: int
    max_batch_questions: int
    max_body_bytes: int
    default_timeout_ms: float
    decoding: dict[str, Any] = Field(
        description="The model's own settings, which a request overrides; without one: greedy. "
        "`bad_words` and `logit_bias` are in ids of tokens."
    )
    provenance: dict[str, Any]


def confidence_of(solution: Solution) -> float | None:
    """Return the confidence rounded for a response: further digits would be noise."""
    return None if solution.confidence is None else round(solution.confidence, 4)


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)
