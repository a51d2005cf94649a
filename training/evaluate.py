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
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    LogitsProcessorList,
    T5ForConditionalGeneration,
)

from equations import prompt, work
from equations.parser import parse
from training.data import Problem
from training.errors import RunError
from training.model import MAX_NEW_TOKENS
from training.prediction import Prediction, Predictor, judged
from training.served import Bundle
from training.vocabulary import EOS_ID, PAD_ID

_BATCH = 250
_MAX_ANSWER_TOKENS = 16  # of a bare answer, where the checkpoint sets no limit


def load_model(
    folder: Path, *, prompt_format: str | None = None, show_progress: bool = False
) -> Predictor:
    """The model in a folder, a checkpoint or a bundle; a checkpoint's prompt format is told by its
    tokenizer if not given.

    Raises `RunError` where there is none, or none that can be evaluated.
    """
    if (folder / "manifest.json").exists():
        return Bundle(folder, show_progress=show_progress)
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).exists():
            raise RunError(f"{folder} has no {name}; expected the folder of a T5 checkpoint")
    model, tokenizer = load(folder)
    return Checkpoint(model, tokenizer, prompt_format, show_progress)


@dataclass(frozen=True)
class Checkpoint:
    """A plain checkpoint of ours, or any T5 fine-tuned to read `text` and write a bare answer."""

    model: T5ForConditionalGeneration
    tokenizer: Tokenizer
    prompt_format: str | None
    show_progress: bool

    def predict(self, problems: Sequence[Problem]) -> list[Prediction]:
        return predict(
            self.model,
            self.tokenizer,
            problems,
            prompt_format=self.prompt_format,
            show_progress=self.show_progress,
        )


def load(folder: Path) -> tuple[T5ForConditionalGeneration, Tokenizer]:
    """A checkpoint: the model in evaluation mode, on CUDA where there is one."""
    model = T5ForConditionalGeneration.from_pretrained(folder).eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device), Tokenizer.from_file(str(folder / "tokenizer.json"))


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
    reads = prompt_format or format_of(tokenizer)
    sources = [_source(tokenizer, problem, reads) for problem in problems]
    readable = [i for i in range(len(problems)) if sources[i]]
    order = sorted(readable, key=lambda i: len(sources[i]))
    predictions = {i: judged(problem, "", None) for i, problem in enumerate(problems)}
    for group in tqdm(list(_groups(order)), unit="batch", disable=not show_progress):
        written = generate(model, tokenizer, [sources[i] for i in group])
        for i, (text, logprob) in zip(group, written, strict=True):
            answer = work.read(text).answer if reads == "digits" else text.strip() or None
            predictions[i] = judged(problems[i], text, answer, logprob)
    return [predictions[i] for i in range(len(problems))]


def format_of(tokenizer: Tokenizer) -> str:
    """`digits` where the tokens of that prompt are in the vocabulary, else `text`."""
    return "digits" if _knows_digits(tokenizer) else "text"


def _knows_digits(tokenizer: Tokenizer) -> bool:
    return tokenizer.token_to_id(prompt.digits_vocabulary()[-1]) is not None


def _source(tokenizer: Tokenizer, problem: Problem, prompt_format: str) -> list[int]:
    write = prompt.PROMPT_FORMATS[prompt_format]
    try:
        text = write(parse(problem.question).with_integers())
    except prompt.OutOfRange:
        return []
    ids: list[int] = tokenizer.encode(text).ids
    return ids


def _groups(order: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(order), _BATCH):
        yield order[start : start + _BATCH]


@torch.no_grad()
def generate(
    model: T5ForConditionalGeneration, tokenizer: Tokenizer, sources: list[list[int]]
) -> list[tuple[str, float]]:
    """The text that the model writes for each list of token ids, by greedy decoding, and the
    natural logarithm of that text's probability, its end token included.
    """
    length = max(map(len, sources))
    padded = [source + [PAD_ID] * (length - len(source)) for source in sources]
    ids = torch.tensor(padded, device=model.device)
    limit = model.generation_config.max_new_tokens
    likelihood = _Likelihood()
    written = model.generate(
        ids,
        attention_mask=(ids != PAD_ID).long(),
        # A cache of its own: transformers sizes the default one by the number of encoder layers.
        past_key_values=EncoderDecoderCache(DynamicCache(), DynamicCache()),
        logits_processor=LogitsProcessorList([likelihood]),
        max_new_tokens=limit
        or (MAX_NEW_TOKENS if _knows_digits(tokenizer) else _MAX_ANSWER_TOKENS),
        do_sample=False,
    )
    texts = [tokenizer.decode(row, skip_special_tokens=True) for row in written.tolist()]
    return list(zip(texts, likelihood.logprobs.tolist(), strict=True))


class _Likelihood:
    """A logits processor that changes nothing and adds up what greedy decoding will choose.

    Custom processors run after the model's own: what may not be written has no probability here.
    """

    def __init__(self) -> None:
        self.logprobs = torch.zeros(())  # (rows,)

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        chosen = scores.float().log_softmax(-1).amax(-1)
        writing = ~(ids == EOS_ID).any(-1)  # finished rows are padded, which is no choice
        self.logprobs = self.logprobs.to(chosen) + chosen * writing
        return scores


def exact_match(
    model: T5ForConditionalGeneration, tokenizer: Tokenizer, problems: Sequence[Problem]
) -> float:
    """Share of `problems` answered exactly."""
    predictions = predict(model, tokenizer, problems)
    return sum(prediction.exact for prediction in predictions) / len(predictions)
