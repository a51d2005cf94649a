"""The settings of a generation, by the service's names: transformers' where it has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict


class Settings(TypedDict, total=False):
    """Keyword arguments of `generate`, `generate_many` and `stream`.

    Without one the model's default holds. docs/generate.md explains each.
    """

    max_new_tokens: int
    min_new_tokens: int
    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    seed: int
    num_beams: int
    length_penalty: float
    early_stopping: bool | Literal["never"]
    num_return_sequences: int
    repetition_penalty: float
    no_repeat_ngram_size: int
    bad_words: Sequence[str]
    logit_bias: Mapping[int, float]
    stop: str | Sequence[str]
    logprobs: int
    prefix: str
    truncate: bool | int
