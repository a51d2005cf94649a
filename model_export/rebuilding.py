"""Build transformers' model of a checkpoint whose weights are in no file that transformers reads.

These are a LoRA adapter merged into its base, and the graphs that optimum wrote.
"""

from __future__ import annotations

import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedModel

from model_export.checkpoint.names import HEAD
from model_export.checkpoint.reading import Checkpoint


def rebuild(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Return the model with the weights that were read, in evaluation mode."""
    config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
    model: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(config, dtype=dtype)
    weights = {name: torch.from_numpy(value) for name, value in checkpoint.weights.items()}
    head = weights.pop(HEAD).to(dtype)
    model.load_state_dict(weights, strict=False)  # embeddings have further names
    # A parameter of its own: transformers ties the head to the embeddings until they differ.
    model.lm_head.weight = torch.nn.Parameter(head)
    generation = checkpoint.generation
    model.generation_config.suppress_tokens = list(generation.suppressed) or None
    model.generation_config.max_new_tokens = generation.max_new_tokens
    return model.eval()
