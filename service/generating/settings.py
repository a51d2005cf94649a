"""The settings of a request as those of the engine; every API and the command line share this."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from engine.contracts import Decoding
from engine.tokens import TextCodec
from service.errors import InvalidSetting

_DEFAULTS = {field.name: field.default for field in fields(Decoding)}
_OF_SAMPLING = ("temperature", "top_k", "top_p", "min_p")
_OF_BEAMS = ("length_penalty", "early_stopping")
_SEED_BITS = 53  # JSON's numbers are exact up to here, and clients send the seed back


def decoding_of(settings: Mapping[str, Any], defaults: Decoding, codec: TextCodec) -> Decoding:
    """Return `defaults`, those of the model, overridden by `settings`, without those that are None.

    The names are those of `Decoding`; `bad_words` are texts, and `logit_bias` maps ids of tokens.
    Sampling and beams exclude each other: to ask for one turns the other off where the model's
    defaults have it. The defaults' number of answers is lowered to what fewer beams, or none, can
    have. Only a decoding that samples keeps its seed.

    Raises `InvalidSetting` for a value out of range, and for one that would have no effect.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if "bad_words" in given:
        given["bad_words"] = tuple(_tokens_of(codec, word) for word in given["bad_words"])
    if "logit_bias" in given:
        given["logit_bias"] = tuple(sorted(given["logit_bias"].items()))
        _require_tokens(codec, [id_ for id_, _ in given["logit_bias"]])
    if "stop" in given:
        given["stop"] = tuple(given["stop"])
    if given.get("do_sample"):
        given.setdefault("num_beams", 1)
    elif given.get("num_beams", 1) > 1:
        given.setdefault("do_sample", False)
    try:
        alone = replace(defaults, **{**given, "num_return_sequences": 1})
        usual = min(defaults.num_return_sequences, alone.most_answers)
        answers = given.get("num_return_sequences", usual)
        decoding = replace(alone, num_return_sequences=answers)
    except ValueError as error:
        raise InvalidSetting(str(error)) from None
    _require_effect(given, decoding)
    return decoding if decoding.do_sample else replace(decoding, seed=None)


def asks_for_sampling(settings: Mapping[str, Any]) -> bool:
    """Return True where a setting that only sampling has is not the one without effect."""
    return any(settings.get(name) not in (None, _DEFAULTS[name]) for name in _OF_SAMPLING)


def seeded(decoding: Decoding) -> Decoding:
    """Return `decoding` with a seed that no caller can foresee, where it samples without one."""
    if not decoding.do_sample or decoding.seed is not None:
        return decoding
    return replace(decoding, seed=secrets.randbits(_SEED_BITS))


def _tokens_of(codec: TextCodec, word: str) -> tuple[int, ...]:
    """Return the tokens of a bad word, without the end token."""
    tokens = codec.encode(word)
    if codec.unknown(word, tokens) or len(tokens) < 2:
        raise InvalidSetting(f"bad_words has {word!r:.40}, which the vocabulary does not write")
    return tokens[:-1]


def _require_tokens(codec: TextCodec, ids: list[int]) -> None:
    for id_ in ids:
        if not 0 <= id_ < codec.size:
            raise InvalidSetting(f"logit_bias is for token {id_}; expected 0 to {codec.size - 1}")


def _require_effect(given: Mapping[str, Any], decoding: Decoding) -> None:
    def require(names: tuple[str, ...], effective: bool, needed: str) -> None:
        for name in names:
            if not effective and given.get(name, _DEFAULTS[name]) != _DEFAULTS[name]:
                raise InvalidSetting(f"{name} has no effect without {needed}")

    require(_OF_SAMPLING, decoding.do_sample, "do_sample")
    require(_OF_BEAMS, decoding.num_beams > 1, "num_beams above 1")
