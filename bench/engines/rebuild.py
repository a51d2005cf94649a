"""A plain checkpoint from the weights in a bundle's graphs, where no checkpoint is at hand.

The inverse of `model_export.graphs`, for bundles in fp32: fused matrices are taken apart by their
shapes, position biases by distance go back to their buckets. Nothing is trusted: the rebuilt model
must generate the tokens that the bundle recorded of PyTorch.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

from model_export.parity import torch_tokens
from service.engine.bundle import DECODER, ENCODER, REFERENCE, TOKENIZER, Manifest, load_manifest

Floats = npt.NDArray[np.float32]
_BUCKETS = 32  # every published T5, and ours
_BIAS = "block.0.layer.0.SelfAttention.relative_attention_bias"


class RebuildError(ValueError):
    """A bundle whose graphs do not hold the weights as `model_export.graphs` writes them."""


def rebuild(bundle: Path, out: Path) -> None:
    """Write the checkpoint folder `out` from `bundle`. Raises `RebuildError`, `BundleError`."""
    manifest = load_manifest(bundle)
    weights = _weights(bundle / ENCODER) | {"lm_head": _weights(bundle / DECODER)["lm_head"]}
    weights |= {k: v for k, v in _weights(bundle / DECODER).items() if k.startswith("decoder.")}
    try:
        model = _model(manifest, weights)
    except (KeyError, RuntimeError) as error:
        raise RebuildError(f"{bundle}: {error}; give a checkpoint instead") from error
    cases = json.loads((bundle / REFERENCE).read_text())
    if torch_tokens(model, [case["source"] for case in cases]) != [c["tokens"] for c in cases]:
        raise RebuildError(f"{bundle}: the rebuilt model does not say what {REFERENCE} says")
    model.save_pretrained(out)
    shutil.copyfile(bundle / TOKENIZER, out / TOKENIZER)


def _weights(graph: Path) -> dict[str, Floats]:
    """The named weights of a graph, without the constants."""
    initializers = onnx.load(str(graph)).graph.initializer
    return {
        weight.name: numpy_helper.to_array(weight)
        for weight in initializers
        if not weight.name.startswith("constant_")
    }


def _model(manifest: Manifest, weights: Mapping[str, Floats]) -> T5ForConditionalGeneration:
    config = _config(manifest, weights)
    model = T5ForConditionalGeneration(config).eval()
    state = _state(config, weights)
    # A new parameter: transformers ties the head to the embeddings until they differ.
    model.lm_head.weight = torch.nn.Parameter(state["lm_head.weight"])
    model.load_state_dict(state)
    model.generation_config = GenerationConfig(
        pad_token_id=config.pad_token_id,
        eos_token_id=config.eos_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        max_new_tokens=manifest.limits.max_new_tokens,
        suppress_tokens=list(range(weights["lm_head"].shape[1], config.vocab_size)),
    )
    return model


def _config(manifest: Manifest, weights: Mapping[str, Floats]) -> T5Config:
    shape = manifest.architecture
    vocabulary, d_model = weights["shared"].shape
    layers = [re.match(r"encoder\.block\.(\d+)\.", name) for name in weights]
    gated = "encoder.block.0.layer.1.DenseReluDense.wi_0" in weights
    return T5Config(
        vocab_size=vocabulary,
        d_model=d_model,
        d_kv=shape.d_kv,
        d_ff=weights["encoder.block.0.layer.1.DenseReluDense.wo"].shape[0],
        num_layers=1 + max(int(layer[1]) for layer in layers if layer),
        num_decoder_layers=shape.decoder_layers,
        num_heads=shape.heads,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu" if gated else "relu",
        tie_word_embeddings=False,
        relative_attention_num_buckets=_BUCKETS,
        relative_attention_max_distance=(weights[f"encoder.{_BIAS}"].shape[0] - 1) // 2,
        pad_token_id=shape.pad_id,
        eos_token_id=shape.eos_id,
        decoder_start_token_id=shape.start_id,
    )


def _state(config: T5Config, weights: Mapping[str, Floats]) -> dict[str, torch.Tensor]:
    """The state dict of transformers, from weights named after the first of each fused product."""
    head: Floats = np.zeros((config.vocab_size, config.d_model), np.float32)
    head[: weights["lm_head"].shape[1]] = weights["lm_head"].T
    embedding = torch.tensor(weights["shared"])
    state = {
        "shared.weight": embedding,
        "encoder.embed_tokens.weight": embedding,
        "decoder.embed_tokens.weight": embedding,
        "lm_head.weight": torch.tensor(head),
    }
    for stack in ("encoder", "decoder"):
        state[f"{stack}.{_BIAS}.weight"] = _by_bucket(config, stack, weights[f"{stack}.{_BIAS}"])
    for name, value in weights.items():
        if name.endswith("layer_norm"):
            state[f"{name}.weight"] = torch.tensor(value)
        elif value.ndim == 2 and name.startswith(("encoder.block", "decoder.block")):
            state |= _parts(config, name, value)
    return state


def _parts(config: T5Config, name: str, matrix: Floats) -> dict[str, torch.Tensor]:
    """The weights that stand side by side in `matrix` (in, out), transposed as torch has them."""
    module, _, first = name.rpartition(".")
    if name.endswith("relative_attention_bias"):
        return {}
    if name.endswith("EncDecAttention.k"):  # keys and values of all the decoder's layers in turn
        modules = [
            f"decoder.block.{layer}.layer.1.EncDecAttention"
            for layer in range(config.num_decoder_layers)
        ]
        names = [f"{module}.{part}" for module in modules for part in "kv"]
    elif name.endswith("SelfAttention.q"):
        names = [f"{module}.{part}" for part in "qkv"]
    elif first == "wi_0":
        names = [f"{module}.wi_0", f"{module}.wi_1"]
    else:
        names = [name]
    pieces = np.split(matrix, len(names), axis=1)
    return {
        f"{part}.weight": torch.tensor(piece.T.copy())
        for part, piece in zip(names, pieces, strict=True)
    }


def _by_bucket(config: T5Config, stack: str, by_distance: Floats) -> torch.Tensor:
    """(buckets, heads); a bucket that no distance falls into stays zero."""
    farthest = config.relative_attention_max_distance
    encoder = stack == "encoder"
    distances = range(-farthest, farthest + 1) if encoder else range(0, -farthest - 1, -1)
    buckets = T5Attention._relative_position_bucket(
        torch.tensor(distances),
        bidirectional=encoder,
        num_buckets=_BUCKETS,
        max_distance=farthest,
    )
    table = torch.zeros(_BUCKETS, config.num_heads)
    table[buckets] = torch.tensor(by_distance)
    return table
