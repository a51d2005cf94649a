"""Write T5 checkpoints that transformers 4.57 and 5 and CTranslate2's converter read alike.

transformers 5 writes `tie_word_embeddings: true` for every T5, and `scale_decoder_outputs` beside
it, which older readers do not know: they would replace a head of its own by the embeddings, and
scale it. Of a head that is not scaled all of them understand `tie_word_embeddings: false`, if the
file holds both tables. A folder without `tokenizer_config.json` is given T5's tokenizer by
`AutoTokenizer`, with 100 tokens more than the vocabulary has.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import T5ForConditionalGeneration

_CONFIG, _TOKENIZER, _TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
_SHARED, _HEAD = "shared.weight", "lm_head.weight"
State = dict[str, torch.Tensor]


def write_checkpoint(
    model: T5ForConditionalGeneration,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    state: State | None = None,
) -> None:
    """Write configurations, weights (`state`, if not those of the model) and tokenizer."""
    weights, tied = _portable(model.state_dict() if state is None else state, model.config)
    model.save_pretrained(folder, state_dict=weights)
    config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    config.pop("scale_decoder_outputs", None)
    config["tie_word_embeddings"] = tied
    _write_json(folder / _CONFIG, config)
    tokenizer.save(str(folder / _TOKENIZER))
    _write_json(folder / _TOKENIZER_CONFIG, _tokenizer_config(tokenizer, config))


def _portable(state: State, config: Any) -> tuple[State, bool]:
    """Return weights for `tie_word_embeddings`, and its value: whether the head is the embeddings,
    scaled by `d_model ** -0.5`. Without it every reader takes the head as it is.
    """
    embeddings, head = state[_SHARED], state[_HEAD]
    weights = {name: value for name, value in state.items() if "embed_tokens" not in name}
    # MT5 has no such setting and is not scaled; UMT5 has none, and transformers 5 always scales it.
    scaled = getattr(config, "scale_decoder_outputs", config.model_type == "umt5")
    if not scaled:
        weights[_HEAD] = head.clone()  # a copy where it shares the embeddings' memory
        return weights, False
    if torch.equal(embeddings, head):
        del weights[_HEAD]
        return weights, True
    if config.model_type == "umt5":
        return weights, True
    weights[_HEAD] = head * config.d_model**-0.5
    return weights, False


def _tokenizer_config(tokenizer: Tokenizer, config: dict[str, Any]) -> dict[str, Any]:
    """Return what makes `AutoTokenizer` read `tokenizer.json` and nothing else."""
    roles = {"pad_token": config["pad_token_id"], "eos_token": config["eos_token_id"]}
    names = {role: tokenizer.id_to_token(id_) for role, id_ in roles.items()}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **names,
        "unk_token": unknown_token(tokenizer),
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }


def unknown_token(tokenizer: Tokenizer) -> str | None:
    """Return the token for what the vocabulary does not have, if there is one."""
    model = json.loads(tokenizer.to_str())["model"]
    if (index := model.get("unk_id")) is not None:  # of Unigram
        return tokenizer.id_to_token(index)
    found: str | None = model.get("unk_token")
    return found


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
