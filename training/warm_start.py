"""Start a small T5 from the checkpoint of an earlier one whose vocabulary and form differ.

The layers are taken as they are. A checkpoint holds one embedding a token, the sum of its factors'
embeddings: those are recovered by least squares, from the tokens that both vocabularies have.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from training import checkpoint
from training.errors import RunError
from training.model import FactoredEmbedding, SmallT5


def warm_start(model: SmallT5, base: Path) -> None:
    """Give `model` what `base` has learnt. Raises `RunError` for a model of another shape."""
    plain, tokenizer = checkpoint.load(base, device="cpu")
    layers = {
        name: value
        for name, value in plain.state_dict().items()
        if "embed_tokens" not in name and not name.startswith(("shared", "lm_head"))
    }
    try:
        model.t5.load_state_dict(layers, strict=False)
    except RuntimeError as error:
        raise RunError(
            f"{base} is a model of another shape: {str(error).splitlines()[-1].strip()}"
        ) from error
    vocabulary = model.vocabulary
    tokens = vocabulary.tokens
    known = {
        index: old
        for index, token in enumerate(tokens)
        if (old := tokenizer.token_to_id(token)) is not None
    }
    _recover(model.t5.shared, known, plain.shared.weight)
    targets = {index: old for index, old in known.items() if index < vocabulary.targets}
    _recover(model.t5.lm_head.rows, targets, plain.lm_head.weight)


@torch.no_grad()
def _recover(embedding: FactoredEmbedding, known: dict[int, int], table: Tensor) -> None:
    """Set the factors that the tokens of `known` (ours to theirs) are made of."""
    factors = embedding.factors[list(known)]
    made_of = torch.zeros(len(known), embedding.embedding.num_embeddings, dtype=torch.float64)
    made_of.scatter_add_(1, factors, torch.ones_like(factors, dtype=torch.float64))
    made_of[:, 0] = 0  # no factor
    used = (made_of.sum(0) > 0).nonzero().squeeze(1)
    wanted = table[list(known.values())].double()
    found = torch.linalg.lstsq(made_of[:, used], wanted, driver="gelsd").solution
    embedding.embedding.weight[used] = found.float()
