"""Compare the engine's answers under many settings with those of transformers' `generate`.

`parity` does so for plain greedy decoding. In fp32 all tokens must be equal, but where rounding
decides between two that are nearly as good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import T5ForConditionalGeneration

from engine.bundle import Manifest
from engine.contracts import Answer, Decoding, Prompt, Tokens
from engine.cpu import available_cpus
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from model_export.reference_decoding import Reference, reference_answers

_ROWS, _BATCH = 64, 64
_NEAR_TIE = 1e-3  # of scores: engines in fp32 differ by about 1e-5

_OF_BEAMS: dict[str, dict[str, Any]] = {
    "": {},
    ", length penalty 2": {"length_penalty": 2.0},
    ", repetition penalty": {"repetition_penalty": 1.3},
    ", no repeated trigram": {"no_repeat_ngram_size": 3},
}
SETTINGS: dict[str, Decoding] = {
    "greedy": Decoding(top_logprobs=1),
    "greedy, repetition penalty": Decoding(repetition_penalty=1.3),
    "greedy, no repeated trigram": Decoding(no_repeat_ngram_size=3),
    **{
        f"{beams} beams{label}": Decoding(num_beams=beams, **settings)
        for beams in (2, 4, 8)
        for label, settings in _OF_BEAMS.items()
    },
}


@dataclass(frozen=True)
class Equality:
    """Counts of best answers; `near_ties` differ, with scores that are nearly equal."""

    texts: int
    equal: int
    near_ties: int
    different: int
    score_difference: float  # the largest of equal answers; of beams


def compare_settings(
    checkpoint: Path, bundle: Path, manifest: Manifest, sources: Sequence[Tokens]
) -> Iterator[tuple[str, Equality]]:
    """Yield the name of each of `SETTINGS` with how the answers to `sources` compare."""
    torch_model = T5ForConditionalGeneration.from_pretrained(checkpoint).eval()
    engine = OrtEngine(
        OrtModel(bundle, manifest, threads=available_cpus(), provider="cpu"), rows=_ROWS
    )
    most = manifest.limits.max_new_tokens
    for name, decoding in SETTINGS.items():
        prompts = [Prompt(tuple(source), (), decoding) for source in sources]
        found = generate(engine, prompts)
        expected: list[Reference] = []
        with only_predictable(torch_model), tqdm(total=len(prompts), desc=name, unit="row") as bar:
            for start in range(0, len(prompts), _BATCH):
                batch = prompts[start : start + _BATCH]
                answers = reference_answers(torch_model, batch, most=most)
                expected += [answer[0] for answer in answers]
                bar.update(len(batch))
        yield name, _equality(found, expected)


@contextmanager
def only_predictable(model: T5ForConditionalGeneration) -> Iterator[None]:
    """Take the suppressed tokens out of the distribution, as a bundle does.

    transformers lets them share in it and bans them afterwards, which shifts the scores of beams.
    """
    suppressed = model.generation_config.suppress_tokens or []
    tokens = torch.tensor(suppressed, dtype=torch.long)

    def leave_out(_: torch.nn.Module, __: object, logits: torch.Tensor) -> torch.Tensor:
        return logits.index_fill(-1, tokens, -torch.inf)

    hook = model.lm_head.register_forward_hook(leave_out)
    model.generation_config.suppress_tokens = None  # twice would double the time of a step
    try:
        yield
    finally:
        model.generation_config.suppress_tokens = suppressed
        hook.remove()


def _equality(found: Sequence[Answer], expected: Sequence[Reference]) -> Equality:
    equal, near, difference = 0, 0, 0.0
    for answer, reference in zip(found, expected, strict=True):
        ours = answer.best
        apart = abs(ours.score - reference.score) if reference.score and ours.score else 0.0
        if ours.tokens == reference.tokens:
            equal += 1
            difference = max(difference, apart)
        elif reference.score is not None and apart < _NEAR_TIE:
            near += 1
    return Equality(len(found), equal, near, len(found) - equal - near, difference)
