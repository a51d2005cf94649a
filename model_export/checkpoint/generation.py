"""Read what a checkpoint's generation configuration asks of decoding.

Settings that would change an answer are honoured, carried to the bundle, or refused by name; none
is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.bundle import as_tuples
from engine.contracts import Decoding
from model_export.checkpoint.configuration import Configuration
from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.files import read_optional_object

FILE = "generation_config.json"
# Settings that a bundle carries as its defaults, with the values that mean plain greedy decoding.
_ALWAYS: dict[str, tuple[Any, ...]] = {
    "do_sample": (None, False),
    "min_new_tokens": (None, 0),
    "no_repeat_ngram_size": (None, 0),
    "num_beams": (None, 1),
    "repetition_penalty": (None, 1.0),
}
_SAMPLING: dict[str, tuple[Any, ...]] = {  # count where tokens are sampled
    "min_p": (None, 0.0),
    "temperature": (None, 1.0),
    "top_k": (None, 0),
    "top_p": (None, 1.0),
}
_BEAMS: dict[str, tuple[Any, ...]] = {  # count where there are beams
    "early_stopping": (None, False),
    "length_penalty": (None, 1.0),
}
# All settings that a bundle may carry.
DEFAULTS = (*_ALWAYS, *_SAMPLING, *_BEAMS, "min_length", "bad_words_ids", "sequence_bias")
_TOP_K = 50  # transformers' own default where tokens are sampled
# Settings that are not supported, likewise.
_REFUSED: dict[str, tuple[Any, ...]] = {
    "begin_suppress_tokens": (None, []),
    "constraints": (None,),
    "diversity_penalty": (None, 0.0),
    "dola_layers": (None,),
    "encoder_no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1.0),
    "epsilon_cutoff": (None, 0.0),
    "eta_cutoff": (None, 0.0),
    "exponential_decay_length_penalty": (None,),
    "force_words_ids": (None,),
    "forced_bos_token_id": (None,),
    "forced_decoder_ids": (None,),
    "forced_eos_token_id": (None,),
    "guidance_scale": (None, 1.0),
    "num_beam_groups": (None, 1),
    "penalty_alpha": (None, 0.0),
    "typical_p": (None, 1.0),
    "watermarking_config": (None,),
}


@dataclass(frozen=True)
class Generation:
    """The special tokens of decoding, and the settings beyond greedy decoding."""

    pad_id: int
    eos_id: int
    start_id: int
    suppressed: tuple[int, ...]  # ids that are never decoded, ascending
    max_new_tokens: int | None
    decoding: Mapping[str, Any]  # as `engine.contracts.Decoding` names them; empty: greedy


def read_generation(folder: Path, raw: Mapping[str, Any], config: Configuration) -> Generation:
    """Return the generation settings of a folder whose `config.json` holds `raw`.

    As in transformers, `generation_config.json` counts where there is one; the settings that older
    checkpoints keep in `config.json` count where there is none. Special tokens may be in either.
    Raises `CheckpointError`.
    """
    path = folder / FILE
    settings = read_optional_object(path)
    if not settings:
        path, settings = folder / "config.json", dict(raw)
    for name, neutral in _REFUSED.items():
        if settings.get(name) not in neutral:
            raise CheckpointError(
                f"{path}: {name} is {settings[name]!r:.60}, which is not supported; remove it if "
                "answers may do without"
            )
    tokens = {**raw, **{name: value for name, value in settings.items() if value is not None}}
    start = tokens.get("decoder_start_token_id", tokens.get("bos_token_id"))
    return Generation(
        pad_id=_token("pad_token_id", tokens.get("pad_token_id", 0), config, path),
        eos_id=_end(tokens.get("eos_token_id", 1), config, path),
        start_id=_token("decoder_start_token_id", start, config, path),
        suppressed=_suppressed(settings.get("suppress_tokens") or [], config, path),
        max_new_tokens=_limit(settings.get("max_new_tokens"), path),
        decoding=_decoding(settings, path),
    )


def _decoding(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the settings that change answers. Raises `CheckpointError`."""
    counting = dict(_ALWAYS)
    if settings.get("do_sample"):
        counting |= _SAMPLING
        settings = {"top_k": _TOP_K, **settings}
    if (settings.get("num_beams") or 1) > 1:
        counting |= _BEAMS
    if settings.get("min_length") and not settings.get("min_new_tokens"):
        settings = {**settings, "min_new_tokens": settings["min_length"] - 1}  # the start token
    chosen = {
        name: settings[name]
        for name, neutral in counting.items()
        if settings.get(name) not in neutral
    }
    if words := settings.get("bad_words_ids"):
        chosen["bad_words"] = words
    if biases := settings.get("sequence_bias"):
        chosen["logit_bias"] = _biases(biases, path)
    chosen = dict(as_tuples(chosen))
    try:
        Decoding(**chosen)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    return chosen


def _biases(value: Any, path: Path) -> list[tuple[int, float]]:
    """Return biases of single tokens, from transformers' `[[[token], bias], ...]`."""
    try:
        return [(token, float(bias)) for (token,), bias in value]
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: sequence_bias is {value!r:.60}; expected biases of one token each, "
            "[[[token], bias], ...]"
        ) from error


def _token(name: str, value: Any, config: Configuration, path: Path) -> int:
    """Return a token id that has an embedding. Raises `CheckpointError`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < config.vocab_size:
        found = "missing" if value is None else f"{value!r:.60}"
        raise CheckpointError(
            f"{path}: {name} is {found}; expected an id below the vocab_size, {config.vocab_size}"
        )
    return value


def _end(value: Any, config: Configuration, path: Path) -> int:
    ids = value if isinstance(value, list) else [value]
    if len(set(map(str, ids))) != 1:
        raise CheckpointError(
            f"{path}: eos_token_id is {value!r:.60}; several end tokens are not supported: keep "
            "the one that answers end with"
        )
    return _token("eos_token_id", ids[0], config, path)


def _suppressed(value: Any, config: Configuration, path: Path) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise CheckpointError(f"{path}: suppress_tokens is {value!r:.60}; expected a list of ids")
    ids = {_token("suppress_tokens", one, config, path) for one in value}
    if len(ids) > config.vocab_size - 2:
        raise CheckpointError(
            f"{path}: suppress_tokens leaves fewer than two tokens to choose from"
        )
    return tuple(sorted(ids))


def _limit(value: Any, path: Path) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise CheckpointError(
            f"{path}: max_new_tokens is {value!r:.60}; expected a positive whole number"
        )
    return value
