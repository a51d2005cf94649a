"""Read or build the tokenizer of a checkpoint as one that the `tokenizers` library runs.

Published checkpoints hold a `tokenizer.json`, a SentencePiece model alone (mT5), a byte-level BPE
(`vocab.json` and `merges.txt`: CodeT5), or nothing at all (ByT5, whose tokens are bytes).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.files import read_object, read_optional_object, require_content
from model_export.checkpoint.sentencepiece import (
    CONTROL,
    UNIGRAM,
    UNKNOWN,
    USER_DEFINED,
    read_sentencepiece,
)

FAST, PIECES, VOCABULARY, MERGES = "tokenizer.json", "spiece.model", "vocab.json", "merges.txt"
_CONFIG = "tokenizer_config.json"
_SPACE = "\u2581"  # SentencePiece's sign of a space
_SENTINELS = 100  # `<extra_id_N>` of the first T5s, and transformers' default
_BYTES, _BYTE_SENTINELS = 256, 125
_BYTE_SPECIAL = ("<pad>", "</s>", _UNKNOWN := "<unk>")  # the first ids of ByT5


def has_tokenizer(folder: Path) -> bool:
    """Return True if there is a file that a tokenizer can be read from."""
    return any((folder / name).exists() for name in (FAST, PIECES, VOCABULARY))


def read_tokenizer(folder: Path, raw: Mapping[str, Any], end: int) -> Tokenizer:
    """Return the tokenizer of a checkpoint; it neither pads nor cuts, and appends the end token.

    `raw` is the content of `config.json` and `end` the id of the end token.
    Raises `CheckpointError` if there is no tokenizer, or the vocabulary has fewer embeddings.
    """
    settings = read_optional_object(folder / _CONFIG)
    named = settings.get("tokenizer_class") or raw.get("tokenizer_class")
    vocabulary = int(raw["vocab_size"])
    if (folder / FAST).exists():
        place, tokenizer = folder / FAST, _from_json(folder / FAST)
    elif (folder / PIECES).exists():
        place, tokenizer = folder / PIECES, _unigram(folder / PIECES, settings, vocabulary, end)
    elif (folder / VOCABULARY).exists():
        place, tokenizer = folder / VOCABULARY, _byte_level(folder, settings)
    elif named == "ByT5Tokenizer":
        place, tokenizer = folder, bytes_tokenizer()
    else:
        raise CheckpointError(
            f"{folder}: no tokenizer; expected {FAST}, {PIECES}, or {VOCABULARY} and {MERGES} "
            "(all of T5 1.1 and FLAN-T5 have the same: copy another's)"
        )
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values())
    if highest >= vocabulary:
        raise CheckpointError(
            f"{place}: has token ids up to {highest}, but config.json's vocab_size is "
            f"{vocabulary}; the tokenizer is another model's"
        )
    return tokenizer


def _from_json(path: Path) -> Tokenizer:
    require_content(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise CheckpointError(f"{path}: not a tokenizer: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _unigram(path: Path, settings: Mapping[str, Any], vocabulary: int, end: int) -> Tokenizer:
    """Return the tokenizer of a SentencePiece model, as published T5s' `tokenizer.json` have it."""
    model = read_sentencepiece(path)
    if model.model_type != UNIGRAM:
        raise CheckpointError(
            f"{path}: a SentencePiece model of type {model.model_type}; expected Unigram, or a "
            f"{FAST} beside it"
        )
    kinds = [piece.kind for piece in model.pieces]
    if UNKNOWN not in kinds or end >= len(model.pieces):
        raise CheckpointError(f"{path}: has no unknown token, or no end token of id {end}")
    scores = [(piece.text, piece.score) for piece in model.pieces]
    sentinels = _sentinels(settings, vocabulary - len(scores))
    scores += [(f"<extra_id_{number}>", 0.0) for number in reversed(range(sentinels))]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=kinds.index(UNKNOWN)))
    rules = [normalizers.Precompiled(model.charsmap)] if model.charsmap else []
    tokenizer.normalizer = normalizers.Sequence(
        [
            *rules,
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), _SPACE),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(_SPACE, prepend_scheme="always")
    special = [piece.text for piece in model.pieces if piece.kind in (UNKNOWN, CONTROL)]
    special += [text for text, _ in scores[len(model.pieces) :]]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in special])
    tokenizer.add_tokens(
        [
            AddedToken(piece.text, normalized=False)
            for piece in model.pieces
            if piece.kind == USER_DEFINED
        ]
    )
    tokenizer.post_processor = _appends(model.pieces[end].text, end)
    return tokenizer


def _sentinels(settings: Mapping[str, Any], room: int) -> int:
    """Return how many `<extra_id_N>` follow the pieces: as said, or those of T5 if there is room.

    `room` is the number of embeddings beyond the pieces.
    """
    listed = settings.get("additional_special_tokens") or settings.get("extra_special_tokens") or ()
    named = sum(str(token).startswith("<extra_id_") for token in listed)
    given = settings.get("extra_ids", named or None)
    if given is not None:
        return int(given)
    return _SENTINELS if room >= _SENTINELS else 0


def _byte_level(folder: Path, settings: Mapping[str, Any]) -> Tokenizer:
    """Return RoBERTa's byte-level BPE, as CodeT5 uses it."""
    vocabulary = read_object(folder / VOCABULARY)
    merges = _merges(folder / MERGES)
    try:
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    except Exception as error:  # the library raises nothing more precise
        raise CheckpointError(f"{folder / MERGES}: does not fit {VOCABULARY}: {error}") from error
    spaced = bool(settings.get("add_prefix_space", False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    tokenizer.decoder = decoders.ByteLevel()
    settings = {**read_optional_object(folder / "special_tokens_map.json"), **settings}
    named = {
        name: _content(settings.get(f"{name}_token", default))
        for name, default in (("cls", "<s>"), ("sep", "</s>"), ("unk", "<unk>"), ("pad", "<pad>"))
    }
    tokenizer.add_special_tokens([text for text in named.values() if text in vocabulary])
    _add_listed(tokenizer, folder, settings)
    begin, end = named["cls"], named["sep"]
    if begin not in vocabulary or end not in vocabulary:
        raise CheckpointError(f"{folder / VOCABULARY}: has no {begin} or no {end}")
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, vocabulary[end]), (begin, vocabulary[begin]), add_prefix_space=spaced
    )
    return tokenizer


def _merges(path: Path) -> list[tuple[str, str]]:
    lines = require_content(path).read_text(encoding="utf-8").split("\n")
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    wrong = next((number for number, pair in enumerate(pairs, 1) if len(pair) != 2), None)
    if wrong is not None:
        raise CheckpointError(f"{path}: merge {wrong} is not two tokens")
    return [(first, second) for first, second in pairs]


def _add_listed(tokenizer: Tokenizer, folder: Path, settings: Mapping[str, Any]) -> None:
    """Add the tokens that a folder lists beside its vocabulary. Raises `CheckpointError`."""
    listed = {
        int(id_): _content(token)
        for id_, token in (settings.get("added_tokens_decoder") or {}).items()
    } | {
        int(id_): token for token, id_ in read_optional_object(folder / "added_tokens.json").items()
    }
    special = {_content(token) for token in settings.get("additional_special_tokens") or ()}
    for id_, token in sorted(listed.items()):
        added = [AddedToken(token, normalized=False)]
        if token in special:
            tokenizer.add_special_tokens(added)
        else:
            tokenizer.add_tokens(added)
        if tokenizer.token_to_id(token) != id_:
            raise CheckpointError(
                f"{folder / _CONFIG}: {token} should have the id {id_}, and the vocabulary ends at "
                f"{tokenizer.get_vocab_size() - 1}"
            )


def _content(token: Any) -> str:
    """Return the text of a token, which files hold as a string or as an object."""
    return str(token["content"] if isinstance(token, Mapping) else token)


def bytes_tokenizer() -> Tokenizer:
    """Return ByT5's tokenizer: a byte has the id of its value plus three."""
    alphabet = _byte_alphabet()
    first = len(_BYTE_SPECIAL)
    vocabulary = {token: id_ for id_, token in enumerate(_BYTE_SPECIAL)}
    vocabulary |= {alphabet[byte]: first + byte for byte in range(_BYTES)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    sentinels = [f"<extra_id_{number}>" for number in range(_BYTE_SENTINELS)]
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False) for token in (*_BYTE_SPECIAL, *sentinels)]
    )
    tokenizer.post_processor = _appends("</s>", 1)
    return tokenizer


def _byte_alphabet() -> list[str]:
    """Return the character by which a byte-level tokenizer writes each byte.

    Printable characters of Latin-1 stand for themselves, the others for 256 and up. Source: GPT-2.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(_BYTES, 2 * _BYTES))
    return [chr(byte if byte in printable else next(others)) for byte in range(_BYTES)]


def _appends(end: str, id_: int) -> processors.PostProcessor:
    return processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, id_)]
    )
