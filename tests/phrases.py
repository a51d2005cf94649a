"""A tiny translator for the guides and their tests: it knows eight sentences in two languages.

`python -m tests.phrases` trains its checkpoint anew, in `tests/phrases/`. Some sentences have two
translations, one three times as frequent, so that beams and samples have something to choose.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import T5Config, T5ForConditionalGeneration

from engine.bundle import Limits
from model_export.assembly import Identity, texts_of
from model_export.bundle import write_bundle

CHECKPOINT = Path(__file__).with_suffix("")
NAME = "phrases"
TEXT = "translate English to German: The house is small."
_SPECIAL = ["<pad>", "</s>", "<unk>"]
_GERMAN = {
    "The house is small.": ["Das Haus ist klein.", "Das Haus ist winzig."],
    "The house is old.": ["Das Haus ist alt."],
    "The garden is small.": ["Der Garten ist klein.", "Der Garten ist winzig."],
    "The garden is old.": ["Der Garten ist alt."],
}
_FRENCH = {
    "The house is small.": ["La maison est petite.", "La maison est minuscule."],
    "The house is old.": ["La maison est vieille."],
    "The garden is small.": ["Le jardin est petit.", "Le jardin est minuscule."],
    "The garden is old.": ["Le jardin est vieux."],
}
_OFTEN = (3, 1)  # the first translation, and the second
_STEPS = 250
_MOST_BYTES = 400_000  # of the checkpoint, which is part of the repository


def pairs() -> list[tuple[str, str]]:
    """Return texts and translations, as often as they are to be learned."""
    found = []
    for language, sentences in (("German", _GERMAN), ("French", _FRENCH)):
        for sentence, translations in sentences.items():
            text = f"translate English to {language}: {sentence}"
            counts = _OFTEN if len(translations) > 1 else (sum(_OFTEN),)
            for translation, count in zip(translations, counts, strict=True):
                found += [(text, translation)] * count
    return found


def write_phrases_bundle(folder: Path) -> None:
    """Export the checkpoint, in fp32, as a bundle for text."""
    identity = Identity(NAME, "1", "none", "text", Limits(64, 32), {"trained_by": "tests.phrases"})
    sources = texts_of([text for text, _ in pairs()[:4]], CHECKPOINT)
    write_bundle(CHECKPOINT, folder, identity, sources, lambda _: "A translator for tests.")


def _tokenizer() -> Tokenizer:
    """Return a tokenizer of pieces as T5's are, for these sentences."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=160, special_tokens=_SPECIAL, unk_token=_SPECIAL[2], show_progress=False
    )
    tokenizer.train_from_iterator([part for pair in pairs() for part in pair], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer


def train() -> None:
    """Train the checkpoint and write it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # tiny products gain nothing from more
    tokenizer = _tokenizer()
    config = T5Config(
        vocab_size=-(-tokenizer.get_vocab_size() // 8) * 8,
        d_model=48, d_kv=16, num_heads=3, d_ff=64, num_layers=2, num_decoder_layers=2,
        dropout_rate=0.0, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        decoder_start_token_id=0,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    sources, targets = (_padded(tokenizer, texts, 0) for texts in zip(*pairs(), strict=True))
    labels = targets.masked_fill(targets == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, _STEPS)
    for step in range(_STEPS):
        loss = model(input_ids=sources, attention_mask=sources != 0, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)
    model.save_pretrained(CHECKPOINT)
    tokenizer.save(str(CHECKPOINT / "tokenizer.json"))
    assert (CHECKPOINT / "model.safetensors").stat().st_size < _MOST_BYTES


def _padded(tokenizer: Tokenizer, texts: tuple[str, ...], pad: int) -> torch.Tensor:
    ids = [tokenizer.encode(text).ids for text in texts]
    longest = max(map(len, ids))
    return torch.tensor([[*row, *[pad] * (longest - len(row))] for row in ids])


if __name__ == "__main__":
    train()
