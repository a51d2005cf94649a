"""Bodies of OpenAI's API: completions and models."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictInt, model_validator

from engine.contracts import MOST_BEAMS
from service.api.generation import GenerationSettings, NoText, Zero
from service.api.schemas import Strict, TimeoutMs, expecting
from service.generating.settings import asks_for_sampling

DEFAULT_MAX_TOKENS = 16  # OpenAI's
Tokens = Annotated[list[StrictInt], Field(min_length=1, fail_fast=True)]
Text = Annotated[str, Field(min_length=1)]
Prompts = Annotated[
    Text
    | Annotated[list[Text], Field(min_length=1, fail_fast=True)]
    | Tokens
    | Annotated[list[Tokens], Field(min_length=1, fail_fast=True)],
    expecting("a text, several, the ids of a text's tokens, or those of several; none empty"),
]


class StreamOptions(BaseModel):
    include_usage: StrictBool | None = Field(
        None, description="One more event before the last, with the usage of the whole request."
    )


class CompletionRequest(Strict, GenerationSettings):
    """OpenAI's parameters, and as extensions the settings of `/generate` that it has not."""

    model: str = Field(description="The name of the served model.", examples=["cybersolve-mini"])
    prompt: Prompts = Field(
        description="A text, several, or the ids of their tokens.",
        examples=["translate English to German: The house is small."],
    )
    max_tokens: StrictInt | None = Field(
        None, gt=0, description=f"Tokens to write at most; {DEFAULT_MAX_TOKENS} by default."
    )
    temperature: StrictFloat | None = Field(
        None,
        ge=0,
        description="Above 0: sample; 0: take the likeliest tokens. Null: as the model's own "
        "defaults have it.",
    )
    n: StrictInt | None = Field(None, gt=0, description="Answers to each prompt, 1 by default.")
    best_of: StrictInt | None = Field(
        None,
        gt=0,
        le=MOST_BEAMS,
        description="Sample so many answers, and return the `n` likeliest by token.",
    )
    echo: StrictBool | None = Field(None, description="Begin each answer with its prompt.")
    stream: StrictBool | None = Field(None, description="Answer with server-sent events.")
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, description="Not used.")
    suffix: NoText | None = Field(
        None, description="Not supported: T5 writes no text between two others."
    )
    frequency_penalty: Zero | None = Field(None, description="Only 0; see `repetition_penalty`.")
    presence_penalty: Zero | None = Field(None, description="Only 0; see `repetition_penalty`.")
    timeout_ms: TimeoutMs = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        _require_one_name("max_tokens", self.max_tokens, "max_new_tokens", self.max_new_tokens)
        _require_one_name("n", self.n, "num_return_sequences", self.num_return_sequences)
        if self.best_of is not None and self.best_of < self.choices:
            raise ValueError(f"best_of is {self.best_of}; expected n ({self.choices}) or more")
        if self.stream and self.answers > self.choices:
            raise ValueError("best_of cannot be streamed; expected stream false, or no best_of")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is for stream true")
        if self.echo and self.logprobs is not None:
            raise ValueError("echo has no logprobs: T5 reads a prompt, and gives it none")
        if self.temperature == 0 and self.answers > 1:
            raise ValueError(f"n or best_of is {self.answers}; temperature 0 has one answer")
        return self

    @property
    def sources(self) -> list[str | tuple[int, ...]]:
        """The prompts, each as a text or as ids of tokens."""
        prompts: Any = self.prompt
        if isinstance(prompts, str) or isinstance(prompts[0], int):
            prompts = [prompts]
        return [each if isinstance(each, str) else tuple(each) for each in prompts]

    @property
    def choices(self) -> int:
        """The number of answers that are returned for each prompt."""
        return self.n or self.num_return_sequences or 1

    @property
    def answers(self) -> int:
        """The number of answers that are written for each prompt."""
        return self.best_of or self.choices

    def changes(self, most_tokens: int) -> dict[str, Any]:
        """Return the settings that differ from those of `/generate` by the same names.

        `most_tokens` is what the model writes at most.
        """
        tokens = self.max_tokens or self.max_new_tokens or min(DEFAULT_MAX_TOKENS, most_tokens)
        changes: dict[str, Any] = {
            "max_new_tokens": tokens, "num_return_sequences": self.answers,
        }  # fmt: skip
        if self.seed is not None and _LEAST_SEED <= self.seed < 0:
            changes["seed"] = self.seed % (1 << 64)  # OpenAI's are signed
        if self.temperature == 0:
            # Nothing is left to choose from, so what would narrow the choice is ignored.
            return changes | {"do_sample": False} | dict.fromkeys(_OF_SAMPLING)
        searches = self.num_beams is not None and self.num_beams > 1
        samples = self.temperature is not None or asks_for_sampling(self.settings())
        if self.do_sample is None and (samples or (self.answers > 1 and not searches)):
            changes["do_sample"] = True
        return changes


_OF_SAMPLING = ("temperature", "top_p", "top_k", "min_p")
_LEAST_SEED = -(1 << 63)


def _require_one_name(name: str, value: int | None, other: str, same: int | None) -> None:
    """Raise `ValueError` for two values of a setting that has two names."""
    if None not in (value, same) and value != same:
        raise ValueError(f"{name} is {value}, {other} is {same}; expected one of them")


class Logprobs(BaseModel):
    """The tokens of a choice; `text_offset` is where each begins in its text."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class Choice(BaseModel):
    text: str
    index: int
    logprobs: Logprobs | None = None
    finish_reason: Literal["stop", "length"] | None = Field(
        None, description="Null before the last event of a choice."
    )


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int = Field(description="Seconds since 1970.")
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage | None = None


class ServedModel(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Seconds since 1970 at which the service started.")
    owned_by: str


class ServedModels(BaseModel):
    object: Literal["list"] = "list"
    data: list[ServedModel]


class OpenAIError(BaseModel):
    message: str
    type: str
    param: str | None = Field(description="The parameter at fault, where it is one.")
    code: str | None


class OpenAIErrorBody(BaseModel):
    """The body of every error under `/v1`."""

    error: OpenAIError
