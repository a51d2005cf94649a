"""Find the characters that a tokenizer loses: those that its vocabulary does not have."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from tokenizers import Tokenizer

from training.saving import unknown_token


def lost_characters(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, int]:
    """Return the characters that texts lose when encoded, with the number of texts of each.

    Those are characters that become the unknown token, and white space other than single spaces'
    that decoding does not return, such as T5's line breaks.
    """
    name = unknown_token(tokenizer)
    unknown = tokenizer.token_to_id(name) if name is not None else None

    @cache
    def is_lost(character: str) -> bool:
        encoding = tokenizer.encode(f"a{character}a")
        if character.isspace():
            return character != " " and character not in tokenizer.decode(encoding.ids)
        return unknown in encoding.ids

    found: dict[str, int] = {}
    for text in texts:
        for character in sorted(set(text)):
            if is_lost(character):
                found[character] = found.get(character, 0) + 1
    return found
