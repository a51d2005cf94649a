"""List the tensors of a T5 by transformers' names, with their shapes."""

from __future__ import annotations

from model_export.checkpoint.configuration import Configuration

SHARED, HEAD = "shared.weight", "lm_head.weight"
# Other names of the embeddings. Checkpoints have one, two or all three.
EMBEDDINGS = (SHARED, "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# The first T5s have this table too, and no model has ever read it.
UNREAD = ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",)

Shapes = dict[str, tuple[int, ...]]


def layers_of(config: Configuration) -> Shapes:
    """Return every tensor but the embeddings and the head. Matrices are (outputs, inputs)."""
    shapes: Shapes = {}
    for layer in range(config.num_layers):
        block = f"encoder.block.{layer}.layer"
        shapes |= _attention(f"{block}.0", "SelfAttention", config, layer in config.biased_layers)
        shapes |= _feed_forward(f"{block}.1", config)
    for layer in range(config.num_decoder_layers):
        block, biased = f"decoder.block.{layer}.layer", layer in config.biased_decoder_layers
        shapes |= _attention(f"{block}.0", "SelfAttention", config, biased)
        shapes |= _attention(f"{block}.1", "EncDecAttention", config, biased=False)
        shapes |= _feed_forward(f"{block}.2", config)
    for stack in ("encoder", "decoder"):
        shapes[f"{stack}.final_layer_norm.weight"] = (config.d_model,)
    return shapes


def _attention(name: str, kind: str, config: Configuration, biased: bool) -> Shapes:
    inner = config.num_heads * config.d_kv
    shapes: Shapes = {f"{name}.{kind}.{part}.weight": (inner, config.d_model) for part in "qkv"}
    shapes[f"{name}.{kind}.o.weight"] = (config.d_model, inner)
    shapes[f"{name}.layer_norm.weight"] = (config.d_model,)
    if biased:
        table = config.relative_attention_num_buckets, config.num_heads
        shapes[f"{name}.{kind}.relative_attention_bias.weight"] = table
    return shapes


def _feed_forward(name: str, config: Configuration) -> Shapes:
    inputs = ("wi_0", "wi_1") if config.is_gated_act else ("wi",)
    shapes: Shapes = {
        f"{name}.DenseReluDense.{part}.weight": (config.d_ff, config.d_model) for part in inputs
    }
    shapes[f"{name}.DenseReluDense.wo.weight"] = (config.d_model, config.d_ff)
    shapes[f"{name}.layer_norm.weight"] = (config.d_model,)
    return shapes
