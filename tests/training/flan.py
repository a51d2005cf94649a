"""Tiny T5s with all of FLAN-T5's features and random weights, for tests of fine-tuning."""

from __future__ import annotations

import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import T5Config, T5ForConditionalGeneration

from training.vocabulary import UNKNOWN

T5_TOKENIZER = Path(__file__).resolve().parents[1] / "t5_tokenizer.json"  # t5_tokenizer.md
T5_EMBEDDINGS = 3_456  # its 3,425 pieces, rounded up to a multiple of 128 as published T5s do


def write_flan(folder: Path, tokenizer: Tokenizer, size: int, **shape: object) -> Path:
    """A checkpoint: gated, a head of its own, and heads that are wider together than the model."""
    torch.manual_seed(0)
    tiny = {
        "d_model": 16, "d_kv": 8, "num_heads": 3, "d_ff": 24, "num_layers": 1,
        "num_decoder_layers": 1, "dropout_rate": 0.0,
    }  # fmt: skip
    config = T5Config(
        vocab_size=size,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        **{**tiny, **shape},
    )
    model = T5ForConditionalGeneration(config)
    # A parameter of its own: transformers ties the head to the embeddings until they differ.
    head = torch.randn(size, config.d_model) * config.d_model**-0.5
    model.lm_head.weight = torch.nn.Parameter(head)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def characters(first: str = "<pad>") -> Tokenizer:
    """A token a character, `</s>` appended: small enough for tests of the loop.

    The token `first` has id 0.
    """
    special = ["<pad>", "</s>", UNKNOWN]
    tokens = [first, *(token for token in (*special, *string.printable) if token != first)]
    tokenizer = Tokenizer(
        models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token=UNKNOWN)
    )
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokens.index("</s>"))]
    )
    return tokenizer
