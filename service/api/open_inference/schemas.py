"""Bodies of the Open Inference Protocol. Unknown members are ignored, as the protocol requires."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, StrictBool

from service.api.generation import GenerationSettings
from service.api.open_inference.tensors import Datatype
from service.api.schemas import TimeoutMs, null_as_empty
from service.solving import Fallback

_MOST_TENSORS = 100


class InferParameters(GenerationSettings):
    """Parameters of a request. Unknown ones are rejected, so that a typing error is noticed.

    A model that solves equations takes `fallback`, any other the settings of a generation.
    """

    model_config = ConfigDict(extra="forbid")

    fallback: Fallback = Field(
        Fallback.NONE, description="exact: solve exactly when the model's answer is not correct."
    )
    timeout_ms: TimeoutMs = None
    timeout: Annotated[int, Field(gt=0, le=600_000_000)] | None = Field(
        None, description="The same in microseconds, as Triton's clients send it."
    )
    binary_data_output: StrictBool = Field(
        False, description="Outputs as binary data, unless an output says otherwise."
    )

    @property
    def deadline_ms(self) -> int | None:
        """Return `timeout_ms`, or else `timeout` rounded up."""
        if self.timeout_ms is None and self.timeout is not None:
            return -(-self.timeout // 1000)
        return self.timeout_ms


class InputParameters(BaseModel):
    binary_data_size: int | None = Field(None, ge=0, description="Bytes after the JSON.")


def _column(shape: list[int]) -> list[int]:
    if len(shape) != 1 and shape[1:] != [1]:
        raise ValueError("expected [n] or [n, 1]")
    return shape


class InputTensor(BaseModel):
    name: str = Field(description="question; text, where the model does not solve equations")
    datatype: Literal[Datatype.BYTES]
    shape: Annotated[
        list[PositiveInt], Field(max_length=2, fail_fast=True), AfterValidator(_column)
    ] = Field(description="[n] or [n, 1]")
    parameters: Annotated[InputParameters, null_as_empty] = InputParameters()
    data: list[Any] | None = Field(None, description="The questions, where they are not binary.")


class OutputParameters(BaseModel):
    binary_data: StrictBool | None = None
    # Not supported: to ignore them would give the client other data than it requested.
    classification: None = None
    shared_memory_region: None = None


class RequestedOutput(BaseModel):
    name: str
    parameters: Annotated[OutputParameters, null_as_empty] = OutputParameters()


class InferRequest(BaseModel):
    id: str | None = Field(None, description="Comes back in the response.")
    parameters: Annotated[InferParameters, null_as_empty] = Field(default_factory=InferParameters)
    inputs: list[InputTensor] = Field(min_length=1, max_length=1, fail_fast=True)
    outputs: list[RequestedOutput] = Field(
        [], max_length=_MOST_TENSORS, fail_fast=True, description="All, where none is named."
    )


class OutputTensor(BaseModel):
    name: str
    datatype: Datatype
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class InferResponse(BaseModel):
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class TensorMetadata(BaseModel):
    name: str
    datatype: Datatype
    shape: list[int] = Field(description="-1: of any size.")


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class ModelReady(BaseModel):
    name: str
    ready: bool


class ServerReady(BaseModel):
    ready: bool


class ServerLive(BaseModel):
    live: bool


class InferenceError(BaseModel):
    """The body of every error under `/v2`."""

    error: str
