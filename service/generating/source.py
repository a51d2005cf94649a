"""Turn the text of a request into what the model reads."""

from __future__ import annotations

from dataclasses import dataclass

from engine.tokens import TextCodec
from service.errors import LimitExceeded, QuestionTooLong

# A sentencepiece token has at most 16 characters. Longer texts are rejected, or cut, before they
# are tokenised, because a megabyte would block every other caller.
_CHARACTERS_A_TOKEN = 32


@dataclass(frozen=True)
class Source:
    """The tokens that the model reads, the end token included."""

    tokens: tuple[int, ...]
    unknown: tuple[str, ...] = ()  # parts of the text that the vocabulary does not have
    truncated: bool = False


def read_text(codec: TextCodec, text: str, most: int, *, truncate: bool = False) -> Source:
    """Return the source of `text`, which may have `most` tokens.

    A longer text is cut with `truncate`, so that its end token stays; otherwise it raises
    `QuestionTooLong`.
    """
    truncated = longer_than(text, most)
    if truncated and not truncate:
        raise QuestionTooLong(f"{len(text)} characters; the model reads at most {most} tokens")
    text = text[: _CHARACTERS_A_TOKEN * most]
    tokens = codec.encode(text)
    if len(tokens) > most:
        if not truncate:
            raise QuestionTooLong(f"{len(tokens)} tokens; the model reads at most {most}")
        tokens, truncated = (*tokens[: most - 1], tokens[-1]), True
    return Source(tokens, codec.unknown(text, tokens), truncated)


def longer_than(text: str, most: int) -> bool:
    """Return True for a text that has more than `most` tokens for certain."""
    return len(text) > _CHARACTERS_A_TOKEN * most


def read_tokens(codec: TextCodec, tokens: tuple[int, ...], most: int, end: int) -> Source:
    """Return the source of `tokens`, with the end token added where it is missing.

    Raises `LimitExceeded` for an id that is no token's, and `QuestionTooLong`.
    """
    if not tokens or tokens[-1] != end:
        tokens = (*tokens, end)
    if len(tokens) > most:
        raise QuestionTooLong(f"{len(tokens)} tokens; the model reads at most {most}")
    for id_ in tokens:
        if not 0 <= id_ < codec.size:
            raise LimitExceeded(f"no token has the id {id_}; ids are below {codec.size}")
    return Source(tokens)
