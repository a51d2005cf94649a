"""Bodies of the hub's endpoints: those of text-generation-inference and of the pipelines."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)

from engine.contracts import MOST_BEAMS, MOST_LOGPROBS
from service.api.generation import DecodingSettings, GenerationSettings, No, One, Zero
from service.api.schemas import Strict, TimeoutMs, expecting, is_none, null_as_empty
from service.generating.settings import asks_for_sampling

Text = Annotated[str, Field(min_length=1)]
FinishReason = Literal["eos_token", "stop_sequence", "length"]


class PipelineParameters(DecodingSettings):
    """The settings of a decoding, with the lengths as transformers' pipelines count them."""

    model_config = ConfigDict(extra="forbid")

    max_length: StrictInt | None = Field(
        None, gt=1, description="`max_new_tokens` and the start token, as pipelines count."
    )
    min_length: StrictInt | None = Field(
        None, gt=0, description="`min_new_tokens` and the start token, as pipelines count."
    )

    def settings(self) -> dict[str, Any]:
        found = super().settings()
        if found["max_new_tokens"] is None and self.max_length is not None:
            found["max_new_tokens"] = self.max_length - 1
        if found["min_new_tokens"] is None and self.min_length is not None:
            found["min_new_tokens"] = self.min_length - 1
        return found


class HubParameters(PipelineParameters, GenerationSettings):
    """Parameters of a hub endpoint. What this service does not do is rejected, not ignored."""

    details: StrictBool | None = Field(None, description="Answer with tokens and their reasons.")
    top_n_tokens: StrictInt | None = Field(
        None,
        ge=0,
        le=MOST_LOGPROBS,
        description="With details or in a stream: the likeliest tokens as well.",
    )
    best_of: StrictInt | None = Field(
        None,
        gt=0,
        le=MOST_BEAMS,
        description="Sample so many answers, and return the likeliest by token.",
    )
    return_full_text: StrictBool | None = Field(
        None, description="Begin the answer with the text that was read."
    )
    generate_parameters: PipelineParameters | None = Field(
        None, description="Further settings, as the clients of the pipelines send them."
    )
    truncation: Literal["do_not_truncate", "longest_first", "only_first"] | None = Field(
        None, description="`longest_first` and `only_first`: cut a text that is too long."
    )
    clean_up_tokenization_spaces: No | None = None
    decoder_input_details: No | None = None
    watermark: No | None = None
    frequency_penalty: Zero | None = None
    typical_p: One | None = None
    adapter_id: None = None
    grammar: None = None
    src_lang: None = Field(None, description="Not supported: T5 reads languages in the text.")
    tgt_lang: None = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.best_of is not None and self.num_return_sequences is not None:
            raise ValueError("best_of returns one answer; expected it or num_return_sequences")
        return self

    @property
    def answers(self) -> int:
        """The number of answers that the request wants for each text."""
        answers: int | None = self.settings()["num_return_sequences"]
        return answers or 1

    def settings(self) -> dict[str, Any]:
        """Return the settings; one that only sampling has asks for it, as in TGI.

        So does `best_of`, for nothing else gives several answers, but beams.
        """
        further = self.generate_parameters.settings() if self.generate_parameters else {}
        found = {
            name: value if value is not None else further.get(name)
            for name, value in super().settings().items()
        }
        several = self.best_of is not None and self.best_of > 1
        if several:
            found["num_return_sequences"] = self.best_of
        alone = (found["num_beams"] or 1) == 1
        if found["do_sample"] is None and (asks_for_sampling(found) or (several and alone)):
            found["do_sample"] = True
        if self.top_n_tokens is not None:
            found["top_logprobs"] = self.top_n_tokens
        return found

    def cut_at(self, longest: int) -> int | None:
        cuts = self.truncation in ("longest_first", "only_first")
        return longest if cuts and self.truncate is None else super().cut_at(longest)


class HubRequest(Strict):
    inputs: Annotated[
        Text | Annotated[list[Text], Field(min_length=1, fail_fast=True)],
        expecting("a text or a list of them, none empty"),
    ] = Field(
        description="A text, or several.",
        examples=["translate English to German: The house is small."],
    )
    parameters: Annotated[HubParameters, null_as_empty] = Field(default_factory=HubParameters)
    stream: StrictBool | None = Field(None, description="Server-sent events, for one text.")
    timeout_ms: TimeoutMs = None

    @model_validator(mode="after")
    def _shows_tokens(self) -> Self:
        for name in ("top_n_tokens", "logprobs"):
            if getattr(self.parameters, name) and not self.wants_tokens:
                raise ValueError(f"parameters.{name} has no effect without details or stream")
        return self

    @model_validator(mode="after")
    def _one_stream(self) -> Self:
        if not self.stream:
            return self
        if not isinstance(self.inputs, str):
            raise ValueError("stream is for one text; expected inputs to be a text")
        if self.parameters.answers > 1:
            raise ValueError("stream is for one answer; expected no best_of or more sequences")
        return self

    @property
    def wants_tokens(self) -> bool:
        """Return whether the answer has its tokens one by one, as every stream has."""
        return bool(self.stream or self.parameters.details)

    @property
    def sources(self) -> list[str]:
        return [self.inputs] if isinstance(self.inputs, str) else self.inputs


class HubToken(BaseModel):
    id: int
    text: str
    logprob: float | None
    special: bool


class HubDetails(BaseModel):
    finish_reason: FinishReason
    generated_tokens: int
    prefill: list[HubToken] = Field([], description="Empty: T5 gives the tokens it reads none.")
    tokens: list[HubToken]
    top_tokens: list[list[HubToken]] | None = Field(None, exclude_if=is_none)
    seed: int | None


class HubSequence(HubDetails):
    generated_text: str


class HubBestDetails(HubDetails):
    best_of_sequences: list[HubSequence] | None = Field(None, exclude_if=is_none)


class HubText(BaseModel):
    """An answer, under the names that clients of each task read."""

    generated_text: str
    summary_text: str
    translation_text: str
    details: HubBestDetails | None = Field(None, exclude_if=is_none)


class HubStreamDetails(BaseModel):
    finish_reason: FinishReason
    generated_tokens: int
    input_length: int
    seed: int | None


class HubEvent(BaseModel):
    """An event of a stream, for each token one; the last has the whole text."""

    index: int
    token: HubToken
    top_tokens: list[HubToken] | None = Field(None, exclude_if=is_none)
    generated_text: str | None = None
    details: HubStreamDetails | None = None


class HubError(BaseModel):
    """The body of every error of `POST /`."""

    error: str
    error_type: str
