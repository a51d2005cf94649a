"""Score a checkpoint as it would be served: greedy generation, exact match, verification."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tqdm import tqdm
from transformers import DynamicCache, EncoderDecoderCache, T5ForConditionalGeneration

from equations import prompt, work
from equations.parser import parse
from equations.verify import Verdict, verify
from training.data import Problem
from training.vocabulary import EOS_ID, PAD_ID

_BATCH = 250


@dataclass(frozen=True)
class Prediction:
    problem: Problem
    text: str  # what the model wrote
    answer: str | None
    verdict: Verdict

    @property
    def exact(self) -> bool:
        return self.answer == self.problem.answer


def load(folder: Path) -> tuple[T5ForConditionalGeneration, Tokenizer]:
    """A plain checkpoint: the model in evaluation mode, on CUDA where there is one."""
    model = T5ForConditionalGeneration.from_pretrained(folder).eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device), Tokenizer.from_file(str(folder / "tokenizer.json"))


def predict(
    model: T5ForConditionalGeneration,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    *,
    show_progress: bool = False,
) -> list[Prediction]:
    """Greedy answers in the order of `problems`; like lengths are generated together.

    A question that the prompt format cannot express is answered with nothing, which is wrong.
    """
    sources = [_source(tokenizer, problem) for problem in problems]
    readable = [i for i in range(len(problems)) if sources[i]]
    order = sorted(readable, key=lambda i: len(sources[i]))
    predictions = {i: _judge(problem, "") for i, problem in enumerate(problems)}
    for group in tqdm(list(_groups(order)), unit="batch", disable=not show_progress):
        texts = generate(model, tokenizer, [sources[i] for i in group])
        predictions |= {i: _judge(problems[i], text) for i, text in zip(group, texts, strict=True)}
    return [predictions[i] for i in range(len(problems))]


def _source(tokenizer: Tokenizer, problem: Problem) -> list[int]:
    try:
        ids: list[int] = tokenizer.encode(prompt.write_digits(parse(problem.question))).ids
    except prompt.OutOfRange:
        return []
    return ids


def _groups(order: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(order), _BATCH):
        yield order[start : start + _BATCH]


@torch.no_grad()
def generate(
    model: T5ForConditionalGeneration, tokenizer: Tokenizer, sources: list[list[int]]
) -> list[str]:
    """The text that the model writes for each list of token ids, by greedy decoding."""
    length = max(map(len, sources))
    padded = [source + [PAD_ID] * (length - len(source)) for source in sources]
    ids = torch.tensor(padded, device=model.device)
    # A cache of its own: transformers sizes the default one by the number of encoder layers.
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    mask = (ids != PAD_ID).long()
    written = model.generate(ids, attention_mask=mask, past_key_values=cache, do_sample=False)
    return [
        " ".join(str(tokenizer.id_to_token(i)) for i in row if i not in (PAD_ID, EOS_ID))
        for row in written.tolist()
    ]


def _judge(problem: Problem, text: str) -> Prediction:
    answer = work.read(text).answer
    verdict = verify(parse(problem.question), answer or "").verdict
    return Prediction(problem, text, answer, verdict)


def exact_match(
    model: T5ForConditionalGeneration, tokenizer: Tokenizer, problems: Sequence[Problem]
) -> float:
    """Share of `problems` answered exactly."""
    predictions = predict(model, tokenizer, problems)
    return sum(prediction.exact for prediction in predictions) / len(predictions)


def report(predictions: Sequence[Prediction], *, failures: int) -> dict[str, object]:
    """Counts of exact answers and of verdicts, and up to `failures` wrong answers at random."""
    wrong = [prediction for prediction in predictions if not prediction.exact]
    shown = random.Random(0).sample(wrong, min(failures, len(wrong)))
    return {
        "questions": len(predictions),
        "exact": len(predictions) - len(wrong),
        "exact_match": 1 - len(wrong) / len(predictions),
        "verdicts": dict(Counter(prediction.verdict.value for prediction in predictions)),
        "wrong": [
            {
                "question": prediction.problem.question,
                "expected": prediction.problem.answer,
                "answer": prediction.answer,
                "text": prediction.text,
            }
            for prediction in shown
        ],
    }
