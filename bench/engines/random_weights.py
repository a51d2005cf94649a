"""Checkpoints of T5s with random weights, in the shapes of well-known models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration

from training.model import save_plain

_SEED = 7
_PAD, _UNKNOWN, _END = "<pad>", "<unk>", "</s>"


@dataclass(frozen=True)
class RandomShape:
    """A T5 of random weights, and the texts it is given: `lengths` are the fewest and the most
    tokens of a source; every answer takes `steps`.
    """

    dimensions: Mapping[str, int]
    lengths: tuple[int, int] = (20, 40)  # the dataset's questions, as FLAN-T5's tokenizer counts
    steps: int = 6


_TINY = {
    "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_decoder_layers": 2,
    "num_heads": 2, "vocab_size": 60,
}  # fmt: skip


def _flan(d_model: int, d_ff: int, layers: int, heads: int) -> Mapping[str, int]:
    """Return the dimensions of a FLAN-T5, whose encoder and decoder have equally many layers."""
    return {
        "d_model": d_model, "d_kv": 64, "d_ff": d_ff, "num_layers": layers,
        "num_decoder_layers": layers, "num_heads": heads, "vocab_size": 32128,
    }  # fmt: skip


_FLAN_SMALL = _flan(512, 1024, layers=8, heads=6)
_FLAN_BASE = _flan(768, 2048, layers=12, heads=12)
_FLAN_LARGE = _flan(1024, 2816, layers=24, heads=16)
# Most T5s are asked to summarise, rewrite or translate a paragraph.
_LONG_LENGTHS, _LONG_STEPS = (256, 512), 96
RANDOM = {
    "tiny": RandomShape(_TINY),
    "flan-small": RandomShape(_FLAN_SMALL),
    "flan-base": RandomShape(_FLAN_BASE),
    "flan-large": RandomShape(_FLAN_LARGE),
    "flan-small-long": RandomShape(_FLAN_SMALL, _LONG_LENGTHS, _LONG_STEPS),
    "flan-base-long": RandomShape(_FLAN_BASE, _LONG_LENGTHS, _LONG_STEPS),
}


def write_checkpoint(shape: RandomShape, folder: Path) -> None:
    """Write a checkpoint of `shape` that never ends a row early, into the empty `folder`."""
    write_random(_config(shape), folder, shape.steps)


def write_untrained(shape: RandomShape, folder: Path) -> None:
    """Write a checkpoint of `shape` from which training can begin, into the empty `folder`.

    Logits of the other's head are so large that training would first have to undo them.
    """
    torch.manual_seed(_SEED)
    model = T5ForConditionalGeneration(_config(shape)).eval()
    size, width = model.lm_head.weight.shape
    model.lm_head.weight = torch.nn.Parameter(torch.randn(size, width) * width**-0.5)
    save_plain(model, _tokenizer(size), folder)


def _config(shape: RandomShape) -> T5Config:
    return T5Config(
        **shape.dimensions, dropout_rate=0.0, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False, pad_token_id=0, decoder_start_token_id=0,
        eos_token_id=shape.dimensions["vocab_size"] - 1,
    )  # fmt: skip


def write_random(config: T5Config, folder: Path, steps: int) -> None:
    """Write a checkpoint of random weights that never ends a row before `steps` steps.

    The last id is the end token. Its head is zero, so it is never the most likely, and no engine
    spends time on suppressing it.
    """
    torch.manual_seed(_SEED)
    model = T5ForConditionalGeneration(config).eval()
    size = config.vocab_size
    assert config.eos_token_id == size - 1
    # A new parameter: transformers ties the head to the embeddings until they differ.
    head = torch.randn(size, config.d_model)
    head[size - 1] = 0
    model.lm_head.weight = torch.nn.Parameter(head)
    model.generation_config = GenerationConfig(
        pad_token_id=config.pad_token_id,
        eos_token_id=config.eos_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        max_new_tokens=steps,
    )
    save_plain(model, _tokenizer(size), folder)


def _tokenizer(size: int) -> Tokenizer:
    """Return a tokenizer of the words w2, w3 and so on, each its own id; the end is the last."""
    words = [_PAD, _UNKNOWN, *(f"w{i}" for i in range(2, size - 1)), _END]
    ids = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=_UNKNOWN))
    tokenizer.add_special_tokens([_PAD, _UNKNOWN, _END])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {_END}", special_tokens=[(_END, ids[_END])]
    )
    return tokenizer
