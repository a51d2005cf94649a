"""Small checkpoints of every member of T5's family, laid out as they are published.

Weights are random, of the real configurations' kinds. The vocabulary is a part of the real one:
see t5_tokenizer.md.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import MT5Config, PreTrainedConfig, T5Config, UMT5Config
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING
from transformers.utils import sentencepiece_model_pb2_new as sentencepiece_model_pb2

TOKENIZER = Path(__file__).resolve().parents[1] / "t5_tokenizer.json"
VOCABULARY = 3_456  # its 3,425 tokens and some spare, as published models have
SENTINELS = 100
_SHAPE = {
    "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2,
    "num_heads": 3, "dropout_rate": 0.0, "vocab_size": VOCABULARY,
}  # fmt: skip
GATED = {"feed_forward_proj": "gated-gelu"}
V1_1 = {**GATED, "tie_word_embeddings": False}
_SPECIAL = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}


def write_model(folder: Path, config: PreTrainedConfig, *, tied: bool = False) -> Path:
    """Write random weights of the configuration's own class, with a head of its own or `tied`."""
    torch.manual_seed(0)
    model = MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING[type(config)](config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Initial weights are so small that random answers would be near ties.
            parameter.mul_(1.0 if "norm" in name or "shared" in name else 3.0)
        if not tied:
            head = torch.randn(config.vocab_size, config.d_model)
            model.lm_head.weight = torch.nn.Parameter(head)
    model.save_pretrained(folder)
    return folder


def change(path: Path, **settings: object) -> None:
    """Change settings in a file of JSON; those that are `None` are removed."""
    content = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def as_on_the_hub(folder: Path, *, tied: bool) -> None:
    """Say in `config.json` what transformers 4 wrote there."""
    change(folder / "config.json", tie_word_embeddings=tied, scale_decoder_outputs=None)


def write_pieces(path: Path) -> None:
    """Write the vocabulary as a SentencePiece model, by the real schema of that file."""
    tokenizer = json.loads(TOKENIZER.read_text())
    proto = sentencepiece_model_pb2.ModelProto()
    pieces = tokenizer["model"]["vocab"][:-SENTINELS]
    for number, (text, score) in enumerate(pieces):
        kind = {0: 3, 1: 3, 2: 2}.get(number, 1)  # control, control, unknown, normal
        proto.pieces.add(piece=text, score=score, type=kind)
    proto.trainer_spec.model_type = 1
    proto.trainer_spec.unk_id = 2
    rules = tokenizer["normalizer"]["normalizers"][0]["precompiled_charsmap"]

    proto.normalizer_spec.precompiled_charsmap = base64.b64decode(rules)
    path.write_bytes(proto.SerializeToString())


def write_byte_level(folder: Path) -> None:
    """Write `vocab.json` and `merges.txt`, laid out as CodeT5's."""
    special = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]
    tokenizer = ByteLevelBPETokenizer()
    lines = [f"def f{n}(x, y):\n    return x * {n} + y if x < {n} else None" for n in range(40)]
    tokenizer.train_from_iterator(
        lines, vocab_size=400, special_tokens=special, show_progress=False
    )
    tokenizer.save_model(str(folder))
    size = tokenizer.get_vocab_size()
    sentinels = {f"<extra_id_{99 - n}>": size + n for n in range(SENTINELS)}
    (folder / "added_tokens.json").write_text(json.dumps(sentinels))
    named = {
        "cls_token": "<s>", "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>",
        "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>",
        "additional_special_tokens": list(sentinels),
    }  # fmt: skip
    (folder / "special_tokens_map.json").write_text(json.dumps(named))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**named, "tokenizer_class": "RobertaTokenizer"})
    )


def _fast(folder: Path) -> None:
    shutil.copyfile(TOKENIZER, folder / "tokenizer.json")


def t5(folder: Path) -> None:
    write_model(folder, T5Config(**_SHAPE, **_SPECIAL), tied=True)
    _fast(folder)


def flan(folder: Path) -> None:
    write_model(folder, T5Config(**_SHAPE, **_SPECIAL, **V1_1))
    as_on_the_hub(folder, tied=False)
    _fast(folder)


def flan_saved_again(folder: Path) -> None:
    write_model(folder, T5Config(**_SHAPE, **_SPECIAL, **V1_1))
    _fast(folder)


def gated_silu(folder: Path) -> None:
    config = T5Config(**_SHAPE, **_SPECIAL, feed_forward_proj="gated-silu")
    write_model(folder, config, tied=True)
    _fast(folder)


def mt5(folder: Path) -> None:
    write_model(folder, MT5Config(**_SHAPE))
    change(folder / "config.json", tie_word_embeddings=False)
    write_pieces(folder / "spiece.model")
    (folder / "tokenizer_config.json").write_text('{"extra_ids": 0}')


def mt5_saved_again(folder: Path) -> None:
    write_model(folder, MT5Config(**_SHAPE))
    _fast(folder)


def umt5(folder: Path) -> None:
    write_model(folder, UMT5Config(**_SHAPE))
    _fast(folder)


def byt5(folder: Path) -> None:
    shape = {**_SHAPE, "vocab_size": 384, "num_layers": 3, "num_decoder_layers": 1}
    write_model(folder, T5Config(**shape, **_SPECIAL, **V1_1, tokenizer_class="ByT5Tokenizer"))
    as_on_the_hub(folder, tied=False)


def codet5(folder: Path) -> None:
    special = {**_SPECIAL, "bos_token_id": 1, "eos_token_id": 2}
    write_model(folder, T5Config(**_SHAPE | {"vocab_size": 512}, **special), tied=True)
    write_byte_level(folder)


def madlad(folder: Path) -> None:
    special = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
    write_model(folder, T5Config(**_SHAPE, **special, **V1_1))
    as_on_the_hub(folder, tied=False)
    weights = load_file(folder / "model.safetensors")
    weights["decoder.embed_tokens.weight"] = weights.pop("shared.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    tokenizer = json.loads(TOKENIZER.read_text())
    texts = ["<unk>", "<s>", "</s>"]
    for id_, text in enumerate(texts):
        tokenizer["model"]["vocab"][id_] = [text, 0.0]
        tokenizer["added_tokens"][id_]["content"] = text
    tokenizer["model"]["unk_id"] = 0
    tokenizer["post_processor"]["special_tokens"]["</s>"]["ids"] = [2]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def pieces_only(folder: Path) -> None:
    flan(folder)
    (folder / "tokenizer.json").unlink()
    write_pieces(folder / "spiece.model")


def pickled(folder: Path) -> None:
    t5(folder)
    weights = load_file(folder / "model.safetensors")
    # A pickle has every name of a shared tensor.
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
        weights[name] = weights["shared.weight"]
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def sharded(folder: Path) -> None:
    flan(folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = {name: f"model-0000{1 + n % 2}-of-00002.safetensors" for n, name in enumerate(weights)}
    for file in set(files.values()):
        part = {name: value for name, value in weights.items() if files[name] == file}
        save_file(part, folder / file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def in_bf16(folder: Path) -> None:
    flan(folder)
    weights = load_file(folder / "model.safetensors")
    halves = {name: value.to(torch.bfloat16) for name, value in weights.items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})
    change(folder / "config.json", dtype="bfloat16")


MEMBERS: dict[str, Callable[[Path], None]] = {
    "T5": t5,
    "T5 1.1 and FLAN-T5": flan,
    "T5 1.1, saved by transformers 5": flan_saved_again,
    "gated-silu": gated_silu,
    "mT5": mt5,
    "mT5, saved by transformers 5": mt5_saved_again,
    "UMT5": umt5,
    "ByT5": byt5,
    "CodeT5": codet5,
    "MADLAD-400": madlad,
    "spiece.model only": pieces_only,
    "pytorch_model.bin only": pickled,
    "sharded": sharded,
    "bf16": in_bf16,
}


def write_member(name: str, folder: Path) -> Path:
    """Write a small checkpoint of one of `MEMBERS`."""
    folder.mkdir(parents=True, exist_ok=True)
    MEMBERS[name](folder)
    return folder
