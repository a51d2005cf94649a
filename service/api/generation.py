"""The settings of a generation as HTTP takes them; every API that generates text shares this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool, StrictInt

from engine.contracts import MOST_BEAMS, MOST_LOGPROBS
from service.generating.generator import GenerationRequest
from service.runtime import Runtime

Texts = Annotated[list[str], Field(max_length=64, fail_fast=True)]
_NOT_SETTINGS = {"prefix", "truncate", "logprobs"}  # of `Decoding` by the same name


class GenerationSettings(BaseModel):
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
    temperature: float | None = Field(
        None, description="Of sampling, above 0: divides the logits before the softmax."
    )
    top_k: StrictInt | None = Field(
        None, description="Sample among so many likeliest tokens; 0: among all."
    )
    top_p: float | None = Field(
        None, description="Sample among the likeliest tokens with this probability together."
    )
    min_p: float | None = Field(
        None, description="Sample among tokens at least so likely, relative to the likeliest."
    )
    seed: StrictInt | None = Field(
        None, description="The same seed gives the same text. Null: a new one, which is answered."
    )
    num_beams: StrictInt | None = Field(
        None, description=f"Beams of a beam search, 1 to {MOST_BEAMS}; 1: no beam search."
    )
    length_penalty: float | None = Field(
        None, description="Of beams: their scores are divided by the length to this power."
    )
    early_stopping: StrictBool | Literal["never"] | None = Field(
        None, description="Of beams: stop once there are `num_beams` ended ones."
    )
    num_return_sequences: StrictInt | None = Field(
        None, description="Answers to a text: of several beams, or sampled."
    )
    repetition_penalty: float | None = Field(
        None, description="Above 1: tokens that were written already become less likely."
    )
    no_repeat_ngram_size: StrictInt | None = Field(
        None, description="No sequence of so many tokens is written twice; 0: no limit."
    )
    bad_words: Texts | None = Field(None, description="Texts that are not written.")
    logit_bias: Annotated[dict[int, float], Field(max_length=1024)] | None = Field(
        None, description="Added to the logit of a token, by its id."
    )
    stop: str | Texts | None = Field(
        None, description="The answer is cut before the first of these texts."
    )
    logprobs: StrictInt | None = Field(
        None,
        ge=0,
        le=MOST_LOGPROBS,
        description="Answer with the log-probability of each token, and so many likeliest others.",
    )
    prefix: str | None = Field(None, description="The answer begins with this text.")
    truncate: StrictBool | Annotated[StrictInt, Field(gt=0)] | None = Field(
        None,
        description="Cut a text that is too long for the model, or has more tokens than this.",
    )

    def settings(self) -> dict[str, Any]:
        """Return the settings of the decoding, by the names of `engine.contracts.Decoding`."""
        names = GenerationSettings.model_fields.keys() - _NOT_SETTINGS
        found = {name: getattr(self, name) for name in names}
        found["top_logprobs"] = self.logprobs
        if isinstance(self.stop, str):
            found["stop"] = [self.stop]
        return found


def requests_of(
    runtime: Runtime,
    sources: Sequence[str | tuple[int, ...]],
    body: GenerationSettings,
    changes: Mapping[str, Any] | None = None,
    *,
    known_only: bool = False,
) -> list[GenerationRequest]:
    """Return a request for each of `sources`, with the settings of `body` and then `changes`.

    Each has a seed of its own where none is given. Raises the errors of `Generator.decoding`.
    """
    settings = {**body.settings(), **(changes or {})}
    longest = runtime.model.manifest.limits.max_source_tokens
    truncate = None if body.truncate is False else body.truncate
    return [
        GenerationRequest(
            source,
            runtime.generator.decoding(settings),
            prefix=body.prefix or "",
            truncate=longest if truncate is True else truncate,
            known_only=known_only,
        )
        for source in sources
    ]
