"""Read the architecture of a T5 from its `config.json`, with transformers' names and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_export.checkpoint.errors import CheckpointError

T5, MT5, UMT5 = "t5", "mt5", "umt5"
ACTIVATIONS = ("relu", "gelu", "gelu_new", "silu")
_FAMILY = (T5, MT5, UMT5)
_OTHERS = {  # model types that are easily taken for T5s, with the names of their papers
    "bart": "BART",
    "longt5": "LongT5",
    "mbart": "mBART",
    "pegasus": "PEGASUS",
    "switch_transformers": "Switch Transformers",
    "t5gemma": "T5Gemma",
    "t5gemma2": "T5Gemma 2",
}
_WITHOUT_DECODER = ("EncoderModel", "Classification", "QuestionAnswering")
_ALIASES = {  # transformers' common names of the same settings
    "d_model": "hidden_size",
    "num_heads": "num_attention_heads",
    "num_layers": "num_hidden_layers",
    "d_kv": "head_dim",
}


@dataclass(frozen=True)
class Configuration:
    """The architecture of one T5. Fields have the names of `config.json`."""

    model_type: str
    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_decoder_layers: int
    num_heads: int
    relative_attention_num_buckets: int
    relative_attention_max_distance: int
    layer_norm_epsilon: float
    dense_act_fn: str  # one of ACTIVATIONS
    is_gated_act: bool
    scale_decoder_outputs: bool  # logits are those of the last state times d_model ** -0.5
    own_head: bool  # the configuration promises a head apart from the embeddings

    @property
    def biased_layers(self) -> range:
        """Return the layers of the encoder that have position biases of their own."""
        return range(self.num_layers if self.model_type == UMT5 else 1)

    @property
    def biased_decoder_layers(self) -> range:
        return range(self.num_decoder_layers if self.model_type == UMT5 else 1)


def parse_configuration(raw: Mapping[str, Any], path: Path) -> Configuration:
    """Return the architecture that `raw`, the content of `path`, describes.

    Raises `CheckpointError` for another architecture, and for a setting of no meaning.
    """
    model_type = _model_type(raw, path)
    _require_decoder(raw, path)
    layers = _count(raw, "num_layers", path)
    buckets = _count(raw, "relative_attention_num_buckets", path, 32)
    farthest = _count(raw, "relative_attention_max_distance", path, 128)
    if farthest <= buckets // 2:
        raise CheckpointError(
            f"{path}: relative_attention_max_distance is {farthest}; expected more than half of "
            f"the relative_attention_num_buckets, {buckets}"
        )
    activation, gated = _activation(raw, model_type, path)
    return Configuration(
        model_type=model_type,
        vocab_size=_count(raw, "vocab_size", path),
        d_model=_count(raw, "d_model", path),
        d_kv=_count(raw, "d_kv", path),
        d_ff=_count(raw, "d_ff", path),
        num_layers=layers,
        num_decoder_layers=_count(raw, "num_decoder_layers", path, layers),
        num_heads=_count(raw, "num_heads", path),
        relative_attention_num_buckets=buckets,
        relative_attention_max_distance=farthest,
        layer_norm_epsilon=_positive(raw, "layer_norm_epsilon", path, 1e-6),
        dense_act_fn=activation,
        is_gated_act=gated,
        scale_decoder_outputs=_scales(raw, model_type),
        own_head=raw.get("tie_word_embeddings") is False,
    )


def _model_type(raw: Mapping[str, Any], path: Path) -> str:
    found = raw.get("model_type")
    if found in _FAMILY:
        return str(found)
    if found is None:
        raise CheckpointError(f"{path}: no model_type; expected {', '.join(_FAMILY)}")
    named = f"model_type {found!r:.40}"
    if found in _OTHERS:
        named = f"{_OTHERS[found]} ({named})"
    raise CheckpointError(
        f"{path}: {named} is another architecture; expected one of {', '.join(_FAMILY)}"
    )


def _require_decoder(raw: Mapping[str, Any], path: Path) -> None:
    for name in raw.get("architectures") or ():
        if str(name).endswith(_WITHOUT_DECODER):
            raise CheckpointError(
                f"{path}: {name} does not generate text; expected a model with a decoder and a "
                "language-model head, such as T5ForConditionalGeneration"
            )


def _activation(raw: Mapping[str, Any], model_type: str, path: Path) -> tuple[str, bool]:
    """Return the feed-forward's activation, and whether a second product gates it."""
    default = "relu" if model_type == T5 else "gated-gelu"
    projection = str(raw.get("feed_forward_proj", default))
    prefix, _, name = projection.rpartition("-")
    if prefix not in ("", "gated"):
        raise CheckpointError(
            f"{path}: feed_forward_proj {projection!r:.40}; expected ACTIVATION or gated-ACTIVATION"
        )
    derived = "gelu_new" if projection == "gated-gelu" else name
    found = str(raw.get("dense_act_fn", derived))
    if found not in ACTIVATIONS:
        raise CheckpointError(
            f"{path}: activation {found!r:.40}; expected one of {', '.join(ACTIVATIONS)}"
        )
    return found, bool(raw.get("is_gated_act", prefix == "gated"))


def _scales(raw: Mapping[str, Any], model_type: str) -> bool:
    """Return whether the decoder's output is scaled, as transformers 5 decides it.

    The first T5's head is its embeddings, of the scale 1; later ones have a head of their own.
    transformers 5 stores `scale_decoder_outputs`; before, `tie_word_embeddings` stood for it.
    """
    if model_type == T5:
        return bool(raw.get("scale_decoder_outputs", raw.get("tie_word_embeddings") is not False))
    return model_type == UMT5


def _count(raw: Mapping[str, Any], name: str, path: Path, default: int | None = None) -> int:
    """Return a positive whole number. Raises `CheckpointError`."""
    value = raw.get(name, raw.get(_ALIASES.get(name, name)))
    if value is None:
        value = default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        found = "missing" if value is None else f"{value!r:.40}"
        raise CheckpointError(f"{path}: {name} is {found}; expected a positive whole number")
    return value


def _positive(raw: Mapping[str, Any], name: str, path: Path, default: float) -> float:
    value = raw.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise CheckpointError(f"{path}: {name} is {value!r:.40}; expected a number from 0 to 1")
    return float(value)
