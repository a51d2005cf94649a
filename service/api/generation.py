"""The settings of a generation as HTTP takes them; every API that generates text shares this."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, StrictBool, StrictFloat, StrictInt

from engine.contracts import MOST_BEAMS, MOST_LOGPROBS
from service.api.answering import Fault, each, require_batch
from service.api.schemas import expecting
from service.generating.generator import GenerationRequest
from service.generating.settings import seeded
from service.generating.written import Written
from service.runtime import Runtime

_MOST_TEXTS = 64
_MOST_CHARACTERS = 1000  # of each
_Text = Annotated[str, Field(max_length=_MOST_CHARACTERS)]
Texts = Annotated[list[_Text], Field(max_length=_MOST_TEXTS, fail_fast=True)]


def _only(value: float | bool | str) -> AfterValidator:
    """Return the rule for a parameter that is not supported, whose `value` has no effect."""

    def require(given: Any) -> Any:
        if given != value:
            raise ValueError(f"not supported; expected {json.dumps(value)} or null")
        return given

    return AfterValidator(require)


# The one value of a parameter that is not supported: no other would be ignored in silence.
Zero = Annotated[StrictFloat, _only(0), Field(json_schema_extra={"enum": [0]})]
One = Annotated[StrictFloat, _only(1), Field(json_schema_extra={"enum": [1]})]
No = Annotated[StrictBool, _only(False), Field(json_schema_extra={"enum": [False]})]
NoText = Annotated[str, _only(""), Field(json_schema_extra={"enum": [""]})]


class DecodingSettings(BaseModel):
    """The settings by the names of transformers' `GenerationConfig`. Null: the model's default."""

    max_new_tokens: StrictInt | None = Field(
        None, gt=0, description="Tokens to write at most; null: as many as the model's limit."
    )
    min_new_tokens: StrictInt | None = Field(
        None, description="Tokens to write at least, 0 or more."
    )
    do_sample: StrictBool | None = Field(
        None, description="Draw each token by its probability, rather than take the likeliest."
    )
    temperature: StrictFloat | None = Field(
        None, description="Of sampling, above 0: divides the logits before the softmax."
    )
    top_k: StrictInt | None = Field(
        None, description="Sample among so many likeliest tokens; 0: among all."
    )
    top_p: StrictFloat | None = Field(
        None,
        description="Sample among the likeliest tokens with this probability together; 0: the "
        "likeliest alone.",
    )
    min_p: StrictFloat | None = Field(
        None, description="Sample among tokens at least so likely, relative to the likeliest."
    )
    seed: StrictInt | None = Field(
        None, description="The same seed gives the same text. Null: a new one, which is answered."
    )
    num_beams: StrictInt | None = Field(
        None, description=f"Beams of a beam search, 1 to {MOST_BEAMS}; 1: no beam search."
    )
    length_penalty: StrictFloat | None = Field(
        None, description="Of beams: their scores are divided by the length to this power."
    )
    early_stopping: Annotated[
        StrictBool | Literal["never"] | None, expecting('true, false or "never"')
    ] = Field(None, description="Of beams: stop once there are `num_beams` ended ones.")
    num_return_sequences: StrictInt | None = Field(
        None, description="Answers to a text: of several beams, or sampled."
    )
    repetition_penalty: StrictFloat | None = Field(
        None, description="Above 1: tokens that were written already become less likely."
    )
    no_repeat_ngram_size: StrictInt | None = Field(
        None, description="No sequence of so many tokens is written twice; 0: no limit."
    )
    bad_words: Texts | None = Field(None, description="Texts that are not written.")
    logit_bias: Annotated[dict[int, StrictFloat], Field(max_length=1024)] | None = Field(
        None, description="Added to the logit of a token, by its id."
    )
    stop: Annotated[
        _Text | Texts | None,
        expecting(
            f"a text, or a list of at most {_MOST_TEXTS}, of up to {_MOST_CHARACTERS} characters"
        ),
    ] = Field(None, description="The answer is cut before the first of these texts.")

    def settings(self) -> dict[str, Any]:
        """Return the settings by the names of `engine.contracts.Decoding`."""
        found = {name: getattr(self, name) for name in DecodingSettings.model_fields}
        if isinstance(self.stop, str):
            found["stop"] = [self.stop]
        return found


class GenerationSettings(DecodingSettings):
    """The settings of the decoding, of what is read, and of what is answered."""

    logprobs: StrictInt | None = Field(
        None,
        ge=0,
        le=MOST_LOGPROBS,
        description="Answer with the log-probability of each token, and so many likeliest tokens.",
    )
    prefix: str | None = Field(None, description="The answer begins with this text.")
    truncate: Annotated[
        StrictBool | Annotated[StrictInt, Field(gt=0)] | None,
        expecting("true, false or a number of tokens above 0"),
    ] = Field(
        None,
        description="Cut a text that is too long for the model, or has more tokens than this.",
    )

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"top_logprobs": self.logprobs}

    def cut_at(self, longest: int) -> int | None:
        """Return the tokens to which a text is cut; `None`: to none. `longest` is the model's."""
        if self.truncate is None or self.truncate is False:
            return None
        return longest if self.truncate is True else self.truncate


def requests_of(
    runtime: Runtime,
    sources: Sequence[str | tuple[int, ...]],
    body: GenerationSettings,
    changes: Mapping[str, Any] | None = None,
    *,
    field: str = "",
    known_only: bool = False,
    details: bool = False,
) -> list[GenerationRequest]:
    """Return a request for each of `sources`, with the settings of `body` and then `changes`.

    With `logprobs` or `details` the answers have their tokens one by one.
    Each has a seed of its own where none is given. Errors of one of several name its place in
    `field` of the body. Raises the errors of `Generator.decoding`, and
    `LimitExceeded` for more sources than a request may have.
    """
    require_batch(runtime, sources)  # before any work on them
    settings = {**body.settings(), **(changes or {})}
    truncate = body.cut_at(runtime.model.manifest.limits.max_source_tokens)
    decoding = runtime.generator.decoding(settings)
    forced = runtime.generator.forced(body.prefix) if body.prefix else ()
    named = bool(field) and len(sources) > 1
    return [
        GenerationRequest(
            source,
            seeded(decoding),
            forced=forced,
            truncate=truncate,
            known_only=known_only,
            details=details or body.logprobs is not None,
            place=f"{field}.{index}" if named else "",
        )
        for index, source in enumerate(sources)
    ]


async def all_written(
    runtime: Runtime,
    asked: Sequence[GenerationRequest],
    limit_s: float,
    *,
    in_place: type[Fault] | tuple[type[Fault], ...] = (),
) -> list[Written | Fault]:
    """Return the answer to each of `asked`; see `each`, which has a deadline for all of them.

    Each is admitted as a job of its own.
    """

    async def one(request: GenerationRequest, left_s: float) -> Written:
        return await runtime.generator.generate(request, timeout_s=left_s, wait=len(asked) > 1)

    rows = rows_of(asked)
    return await each(runtime, asked, one, timeout_s=limit_s, in_place=in_place, rows=rows)


def rows_of(asked: Sequence[GenerationRequest]) -> int:
    """Return the rows of an engine that each of the texts of one request takes."""
    return max((request.decoding.rows for request in asked), default=1)
