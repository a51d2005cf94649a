"""The tokenizer of the small models, and what each of its tokens is made of.

Target tokens come first: only they are ever predicted, so that training and serving compute logits
for a prefix of the vocabulary and no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from equations import prompt, work_tokens

PAD, EOS, UNKNOWN = "<pad>", "</s>", "<unk>"
_SPECIAL = [PAD, EOS, UNKNOWN]
PAD_ID, EOS_ID = 0, 1
_NO_FACTOR = ""


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id. Ids below `targets` are those that a model may write."""

    tokens: list[str]
    targets: int

    @classmethod
    def digits(cls) -> Vocabulary:
        targets = [*_SPECIAL, *work_tokens.vocabulary()]
        return cls([*targets, *prompt.digits_vocabulary()], len(targets))

    def tokenizer(self) -> Tokenizer:
        """Words between spaces are tokens; `</s>` is appended, as T5 does."""
        ids = {token: index for index, token in enumerate(self.tokens)}
        tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
        tokenizer.add_special_tokens(_SPECIAL)
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {EOS}", special_tokens=[(EOS, EOS_ID)]
        )
        return tokenizer

    def factors(self) -> torch.Tensor:
        """Factor ids of each token, shape (tokens, 3), int64; 0 stands for no factor."""
        ids = {name: index for index, name in enumerate(self.factor_names())}
        return torch.tensor([[ids[name] for name in names] for names in self._made_of()])

    def factor_names(self) -> list[str]:
        """Every factor by its id."""
        return list(dict.fromkeys([_NO_FACTOR, *chain.from_iterable(self._made_of())]))

    def _made_of(self) -> list[tuple[str, ...]]:
        rows = []
        for index, token in enumerate(self.tokens):
            if index < len(_SPECIAL):
                names: tuple[str, ...] = (token,)
            elif index < self.targets:
                names = work_tokens.factors(token)
            else:
                names = prompt.digits_factors(token)
            rows.append(names + (_NO_FACTOR,) * (3 - len(names)))
        return rows
