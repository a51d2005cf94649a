"""Have a checkpoint answer questions as it would be served: greedy generation, verified answers.

What the answers amount to is `training.report`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm
from transformers import T5ForConditionalGeneration

from equations.formats import FORMATS, Format
from equations.parser import SeveralUnknowns
from equations.prompt import OutOfRange
from model_export.greedy import greedy
from training.checkpoint import format_of, load
from training.data import Problem
from training.errors import RunError
from training.model import MAX_NEW_TOKENS
from training.prediction import Prediction, Predictor, judged
from training.served import Bundle
from training.teacher_forced import with_teacher_forced

_BATCH = 250
# Of an answer, bare or with its work, where the checkpoint sets no limit.
_LIMITS = {False: 16, True: MAX_NEW_TOKENS}


def load_model(
    folder: str | Path,
    *,
    prompt_format: str | None = None,
    teacher_forced: bool = False,
    bf16: bool = False,
    show_progress: bool = False,
) -> Predictor:
    """The model in a folder, a checkpoint or a bundle, or a checkpoint of the hub.

    What follows is for checkpoints: the prompt format, told by the checkpoint if not given; whether
    to score them as the research did as well; whether weights are bfloat16.
    Raises `RunError` where there is none, or none that can be evaluated.
    """
    if (Path(folder) / "manifest.json").exists():
        if teacher_forced or bf16:
            raise RunError(f"{folder} is a bundle; only checkpoints are teacher-forced, or bf16")
        return Bundle(Path(folder), show_progress=show_progress)
    model, tokenizer = load(folder, dtype=torch.bfloat16 if bf16 else torch.float32)
    return Checkpoint(model, tokenizer, prompt_format, show_progress, teacher_forced)


@dataclass(frozen=True)
class Checkpoint:
    """A plain checkpoint of ours, or any T5 fine-tuned to read `text` and write a bare answer."""

    model: T5ForConditionalGeneration
    tokenizer: Tokenizer
    prompt_format: str | None
    show_progress: bool
    teacher_forced: bool

    def predict(self, problems: Sequence[Problem]) -> list[Prediction]:
        reads = self.prompt_format or format_of(self.model, self.tokenizer)
        predictions = predict(
            self.model,
            self.tokenizer,
            problems,
            prompt_format=reads,
            show_progress=self.show_progress,
        )
        if not self.teacher_forced:
            return predictions
        return with_teacher_forced(self.model, self.tokenizer, predictions, reads)


def predict(
    model: T5ForConditionalGeneration,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    *,
    prompt_format: str | None = None,
    show_progress: bool = False,
) -> list[Prediction]:
    """Greedy answers in the order of `problems`; like lengths are generated together.

    A question that the prompt format cannot express is answered with nothing, which is wrong.
    """
    format_ = FORMATS[prompt_format or format_of(model, tokenizer)]
    sources = [_source(tokenizer, problem, format_) for problem in problems]
    readable = [i for i in range(len(problems)) if sources[i]]
    order = sorted(readable, key=lambda i: len(sources[i]))
    predictions = {i: judged(problem, "", None) for i, problem in enumerate(problems)}
    for group in tqdm(list(_groups(order)), unit="batch", disable=not show_progress):
        written = generate(model, tokenizer, [sources[i] for i in group])
        for i, (text, logprob) in zip(group, written, strict=True):
            predictions[i] = judged(problems[i], text, format_.read(text).answer, logprob)
    return [predictions[i] for i in range(len(problems))]


def _source(tokenizer: Tokenizer, problem: Problem, format_: Format) -> list[int]:
    try:
        text = format_.encode(problem.question)
    except (OutOfRange, SeveralUnknowns):
        return []
    ids: list[int] = tokenizer.encode(text).ids
    return ids


def _groups(order: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(order), _BATCH):
        yield order[start : start + _BATCH]


def generate(
    model: T5ForConditionalGeneration, tokenizer: Tokenizer, sources: list[list[int]]
) -> list[tuple[str, float]]:
    """Return the text that the model writes for each list of token ids, by greedy decoding, and
    the natural logarithm of that text's probability, its end token included.
    """
    limit = model.generation_config.max_new_tokens
    likelihood = _Likelihood(model.generation_config.eos_token_id)
    rows = greedy(
        model,
        sources,
        max_new_tokens=limit or _LIMITS[format_of(model, tokenizer) == "digits"],
        observer=likelihood,
    )
    texts = [tokenizer.decode(row, skip_special_tokens=True) for row in rows]
    return list(zip(texts, likelihood.logprobs.tolist(), strict=True))


class _Likelihood:
    """Add up the log-probabilities of the tokens that greedy decoding chooses, per row."""

    def __init__(self, end: int) -> None:
        self._end = end
        self.logprobs = torch.zeros(())  # (rows,)

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        chosen = scores.float().log_softmax(-1).amax(-1)
        writing = ~(ids == self._end).any(-1)  # finished rows are padded, which is no choice
        self.logprobs = self.logprobs.to(chosen) + chosen * writing
        return scores


def exact_match(
    model: T5ForConditionalGeneration, tokenizer: Tokenizer, problems: Sequence[Problem]
) -> float:
    """Share of `problems` answered exactly."""
    predictions = predict(model, tokenizer, problems)
    return sum(prediction.exact for prediction in predictions) / len(predictions)
