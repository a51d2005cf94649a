"""Compare the engine's answers under many settings with those of transformers' `generate`.

`parity` does so for plain greedy decoding. In fp32 all tokens must be equal, but where rounding
decides between two that are nearly as good. A search of beams may drop one by rounding long before
its end, so scores of the answers do not show that: transformers is asked again, with logits that
differ as much as those of two engines do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from engine.bundle import Manifest
from engine.contracts import Answer, Decoding, Prompt, Tokens
from engine.cpu import available_cpus
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from model_export.checkpoint.reading import read_checkpoint
from model_export.reference import Reference as Model
from model_export.reference_decoding import Reference, reference_answers

# Rows of the engine, and of a batch of transformers, which keeps the scores of every row and step:
# 500 steps of 64 rows take 2.7 GB for 21,226 tokens.
_ROWS = 64
# A logit in fp32 is off by up to 4e-7 of the largest (decision 41); this is ten times as much.
_ROUNDING = 4e-6
_TRIES = 16

_OF_BEAMS: dict[str, dict[str, Any]] = {
    "": {},
    ", length penalty 2": {"length_penalty": 2.0},
    ", repetition penalty": {"repetition_penalty": 1.3},
    ", no repeated trigram": {"no_repeat_ngram_size": 3},
    ", early stopping": {"early_stopping": True},
    ", 6 tokens at least": {"min_new_tokens": 6},
}
SETTINGS: dict[str, Decoding] = {
    "greedy": Decoding(top_logprobs=1),
    "greedy, repetition penalty": Decoding(repetition_penalty=1.3),
    "greedy, no repeated trigram": Decoding(no_repeat_ngram_size=3),
    "greedy, 6 tokens at least": Decoding(min_new_tokens=6),
    **{
        f"{beams} beams{label}": Decoding(num_beams=beams, **settings)
        for beams in (2, 4, 8)
        for label, settings in _OF_BEAMS.items()
    },
}


@dataclass(frozen=True)
class Equality:
    """Counts of best answers.

    `near_ties` are those that transformers gives too where logits are rounded otherwise.
    """

    texts: int
    equal: int
    near_ties: int
    different: int
    score_difference: float  # the largest of equal answers; of beams


def compare_settings(
    checkpoint: Path,
    bundle: Path,
    manifest: Manifest,
    sources: Sequence[Tokens],
    settings: Mapping[str, Decoding] = SETTINGS,
) -> Iterator[tuple[str, Equality]]:
    """Yield the name of each of `settings` with how the answers to `sources` compare."""
    model = Model(read_checkpoint(checkpoint)).model
    engine = OrtEngine(
        OrtModel(bundle, manifest, threads=available_cpus(), provider="cpu"), rows=_ROWS
    )
    most = manifest.limits.max_new_tokens
    with only_predictable(model):
        for name, decoding in settings.items():
            prompts = [Prompt(tuple(source), (), decoding) for source in sources]
            found = generate(engine, prompts)
            expected: list[Reference] = []
            texts = _ROWS // decoding.rows
            with tqdm(total=len(prompts), desc=name, unit="text") as bar:
                for start in range(0, len(prompts), texts):
                    batch = prompts[start : start + texts]
                    answers = reference_answers(model, batch, most=most)
                    expected += [answer[0] for answer in answers]
                    bar.update(len(batch))
            yield name, equality(model, prompts, found, expected, most=most)


@contextmanager
def only_predictable(model: PreTrainedModel) -> Iterator[None]:
    """Take the suppressed tokens out of the distribution, as a bundle does.

    transformers lets them share in it and bans them afterwards, which shifts the scores of beams.
    """
    suppressed = model.generation_config.suppress_tokens
    tokens = torch.tensor(suppressed or [], dtype=torch.long)

    def leave_out(_: torch.nn.Module, __: object, logits: torch.Tensor) -> torch.Tensor:
        return logits.index_fill(-1, tokens, -torch.inf)

    hook = model.get_output_embeddings().register_forward_hook(leave_out)
    model.generation_config.suppress_tokens = None  # twice would double the time of a step
    try:
        yield
    finally:
        model.generation_config.suppress_tokens = suppressed
        hook.remove()


def equality(
    model: PreTrainedModel,
    prompts: Sequence[Prompt],
    found: Sequence[Answer],
    expected: Sequence[Reference],
    *,
    most: int,
) -> Equality:
    """Return how the engine's answers to `prompts` compare with those of `model`."""
    equal, near, difference = 0, 0, 0.0
    for prompt, answer, reference in zip(prompts, found, expected, strict=True):
        ours = answer.best
        if ours.tokens == reference.tokens:
            equal += 1
            if ours.score is not None and reference.score is not None:
                difference = max(difference, abs(ours.score - reference.score))
        elif is_near_tie(model, prompt, ours.tokens, most=most):
            near += 1
    return Equality(len(prompts), equal, near, len(prompts) - equal - near, difference)


def is_near_tie(model: PreTrainedModel, prompt: Prompt, tokens: list[int], *, most: int) -> bool:
    """Return True where `model` answers `tokens` once its logits are rounded otherwise."""
    together = min(_TRIES, _ROWS // prompt.rows)
    with _rounded_otherwise(model):
        for _ in range(0, _TRIES, together):
            tries = reference_answers(model, [prompt] * together, most=most)
            if any(answer[0].tokens == tokens for answer in tries):
                return True
    return False


@contextmanager
def _rounded_otherwise(model: PreTrainedModel) -> Iterator[None]:
    """Shift each logit of each row at random, by up to `_ROUNDING` of the largest."""
    random = torch.Generator().manual_seed(0)

    def shift(_: torch.nn.Module, __: object, logits: torch.Tensor) -> torch.Tensor:
        largest = logits.masked_fill(logits.isinf(), 0.0).abs().max()
        by = 2 * torch.rand(logits.shape, generator=random) - 1
        return logits + by * largest * _ROUNDING

    hook = model.get_output_embeddings().register_forward_hook(shift)
    try:
        yield
    finally:
        hook.remove()
