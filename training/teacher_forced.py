"""Score as the research did: the argmax of one teacher-forced pass, with labels padded in batches.

For comparison only. At each position the model sees the right answer's earlier tokens, and
positions after the answer's end count too if another answer of the batch is longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from tokenizers import Tokenizer
from torch.nn.utils.rnn import pad_sequence
from transformers import T5ForConditionalGeneration

from equations.formats import FORMATS
from training.errors import RunError
from training.prediction import Prediction

_BATCH = 32  # the research's


def with_teacher_forced(
    model: T5ForConditionalGeneration,
    tokenizer: Tokenizer,
    predictions: Sequence[Prediction],
    prompt_format: str,
) -> list[Prediction]:
    """Add `teacher_forced` and `expected_logprob` to predictions, in batches of 32 in order.

    Raises `RunError` for a model that writes a worked form, because several texts are right.
    """
    format_ = FORMATS[prompt_format]
    if format_.write_answer is None:
        raise RunError(f"teacher forcing needs bare answers; prompt format {prompt_format}")
    found: list[Prediction] = []
    for start in range(0, len(predictions), _BATCH):
        group = predictions[start : start + _BATCH]
        questions = [format_.encode(p.problem.question) for p in group]
        expected = [format_.write_answer(p.problem.answer) for p in group]
        written = _forced(model, tokenizer, questions, expected)
        for prediction, (text, logprob) in zip(group, written, strict=True):
            answer = format_.read(text).answer
            found.append(replace(prediction, teacher_forced=answer, expected_logprob=logprob))
    return found


@torch.no_grad()
def _forced(
    model: T5ForConditionalGeneration,
    tokenizer: Tokenizer,
    questions: Sequence[str],
    answers: Sequence[str],
) -> list[tuple[str, float]]:
    """Return the likeliest tokens as text, and the log-probability of the right answer."""
    padding = model.generation_config.pad_token_id
    source, read = _padded(tokenizer, questions, padding)
    labels, counted = _padded(tokenizer, answers, padding)
    source, read, labels, counted = (
        tensor.to(model.device) for tensor in (source, read, labels, counted)
    )
    logits = model(input_ids=source, attention_mask=read, labels=labels).logits.float()
    chosen = logits.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    logprobs = (chosen * counted).sum(-1).tolist()
    texts = [tokenizer.decode(row, skip_special_tokens=True) for row in logits.argmax(-1).tolist()]
    return list(zip(texts, logprobs, strict=True))


def _padded(
    tokenizer: Tokenizer, texts: Sequence[str], padding: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and a mask that is 0 where they are padding: (texts, length) each."""
    rows = [torch.tensor(tokenizer.encode(text).ids) for text in texts]
    ids = pad_sequence(rows, batch_first=True, padding_value=padding)
    return ids, pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
