"""T5 models of our own: presets, embeddings made of shared factors, plain T5 checkpoints.

While it learns, a small model's embedding of a token is the sum of its factors' embeddings (digit,
carry, place, term): what is learnt of a digit at one place holds at all places. A checkpoint for
evaluation and export is a plain `T5ForConditionalGeneration` with the sums written out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration

from equations.formats import CONFIG_KEY
from training import forward
from training.saving import write_checkpoint
from training.vocabulary import EOS_ID, PAD_ID, Vocabulary

MAX_NEW_TOKENS = 500  # the longest worked forms of training have about 300


@dataclass(frozen=True)
class Preset:
    """The shape of a model."""

    d_model: int
    d_ff: int
    encoder_layers: int
    decoder_layers: int
    heads: int


PRESETS = {
    "test": Preset(d_model=32, d_ff=64, encoder_layers=1, decoder_layers=2, heads=2),
    "mini": Preset(d_model=128, d_ff=512, encoder_layers=2, decoder_layers=4, heads=4),
}


class FactoredEmbedding(nn.Module):
    """Embeds token ids as the sum of their factors' embeddings; factor 0 is zero."""

    def __init__(self, factors: Tensor, d_model: int, std: float) -> None:
        super().__init__()
        self.register_buffer("factors", factors, persistent=False)  # (tokens, factors per token)
        self.factors: Tensor
        self.embedding = nn.Embedding(int(factors.max()) + 1, d_model, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=std)
        with torch.no_grad():
            self.embedding.weight[0] = 0

    def forward(self, ids: Tensor) -> Tensor:
        return self.embedding(self.factors[ids]).sum(-2)  # type: ignore[no-any-return]

    def table(self, tokens: int) -> Tensor:
        """Embeddings of the first `tokens` ids, shape (tokens, d_model)."""
        return self.embedding(self.factors[:tokens]).sum(-2)  # type: ignore[no-any-return]


class FactoredHead(nn.Module):
    """Logits over the first `targets` ids, from embeddings made of the same factors."""

    def __init__(self, factors: Tensor, d_model: int, targets: int) -> None:
        super().__init__()
        self.rows = FactoredEmbedding(factors[:targets], d_model, std=d_model**-0.5)
        self.targets = targets

    def forward(self, states: Tensor) -> Tensor:
        return functional.linear(states, self.rows.table(self.targets))


class SmallT5(nn.Module):
    """A T5 over a `Vocabulary`, trained by teacher forcing."""

    def __init__(self, preset: Preset, vocabulary: Vocabulary) -> None:
        super().__init__()
        factors = vocabulary.factors()
        self.vocabulary = vocabulary
        self.t5 = T5ForConditionalGeneration(_config(preset, vocabulary))
        self.t5.set_input_embeddings(FactoredEmbedding(factors, preset.d_model, std=0.5))
        self.t5.lm_head = FactoredHead(factors, preset.d_model, vocabulary.targets)

    def forward(self, source: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
        """Mean cross-entropy of `target` (batch, length) after `source`; padding is `PAD_ID`.

        Computed in `dtype`; weights and their gradients keep the type they have.
        """
        padded = source == PAD_ID
        encoded = forward.encode(self.t5, self.t5.shared(source).to(dtype), padded)
        start = torch.full_like(target[:, :1], PAD_ID)
        before = torch.cat([start, target[:, :-1]], dim=1)
        states = forward.decode(self.t5, self.t5.shared(before).to(dtype), encoded, padded)
        table = self.t5.lm_head.rows.table(self.t5.lm_head.targets).to(dtype)
        wanted = target != PAD_ID
        return forward.cross_entropy(states[wanted], table, target[wanted])

    def plain(self) -> T5ForConditionalGeneration:
        """The same model with plain embedding tables, as transformers loads it.

        Its generation config suppresses the tokens that are never targets; their logits are zero.
        """
        model = T5ForConditionalGeneration(self.t5.config)
        state = {
            name: value
            for name, value in self.t5.state_dict().items()
            if "embed_tokens" not in name and not name.startswith(("shared", "lm_head"))
        }
        model.load_state_dict(state, strict=False)
        size, targets = len(self.vocabulary.tokens), self.vocabulary.targets
        with torch.no_grad():
            model.shared.weight.copy_(self.t5.shared.table(size))
            # A new parameter: transformers ties the head to the embeddings until they differ.
            head = torch.zeros(size, model.config.d_model)
            head[:targets] = self.t5.lm_head.rows.table(targets)
            model.lm_head.weight = nn.Parameter(head)
        model.generation_config = GenerationConfig(
            pad_token_id=PAD_ID,
            eos_token_id=EOS_ID,
            decoder_start_token_id=PAD_ID,
            max_new_tokens=MAX_NEW_TOKENS,
            suppress_tokens=list(range(targets, size)),
        )
        return model.eval()


def _config(preset: Preset, vocabulary: Vocabulary) -> T5Config:
    return T5Config(
        vocab_size=len(vocabulary.tokens),
        d_model=preset.d_model,
        d_kv=preset.d_model // preset.heads,
        d_ff=preset.d_ff,
        num_layers=preset.encoder_layers,
        num_decoder_layers=preset.decoder_layers,
        num_heads=preset.heads,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        relative_attention_num_buckets=32,
        relative_attention_max_distance=64,
        pad_token_id=PAD_ID,
        eos_token_id=EOS_ID,
        decoder_start_token_id=PAD_ID,
        **{CONFIG_KEY: "digits"},  # so that a conversion knows that it solves
        # Rows this short train faster so: 185 against 243 ms a step of preset mini on two cores.
        attn_implementation="eager",
    )


def save_plain(model: T5ForConditionalGeneration, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a checkpoint folder with all that `training.saving` writes."""
    write_checkpoint(model, tokenizer, folder)
