"""Write optimum.tar.xz: a tiny T5 as `optimum-cli export onnx` writes it, with optimum's answers.

Run it in the baselines' environment:
`.venv-baselines/bin/python tests/model_export/optimum_fixture.py`.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from optimum.onnxruntime import ORTModelForSeq2SeqLM
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

ARCHIVE = Path(__file__).with_name("optimum.tar.xz")
SIZE, STEPS = 96, 12
UNKNOWN = "<unk>"
FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "encoder_model.onnx",
    "decoder_model.onnx", "decoder_model_merged.onnx", "answers.json",
)  # fmt: skip


def write_checkpoint(folder: Path) -> None:
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=SIZE, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_decoder_layers=2,
        num_heads=2, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        decoder_start_token_id=0, initializer_factor=3.0,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokens = ["<pad>", "</s>", UNKNOWN, *(f"w{number}" for number in range(SIZE - 3))]
    tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(tokens[:3])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def answers(folder: Path) -> list[dict[str, list[int]]]:
    """Return sources with the tokens that optimum generates for them, without start and end."""
    model = ORTModelForSeq2SeqLM.from_pretrained(folder, use_merged=True)
    chance = random.Random(0)
    cases = []
    for length in (1, 2, 3, 5, 8, 13, 21, 34):
        source = [*chance.choices(range(3, SIZE), k=length), 1]
        row = model.generate(torch.tensor([source]), max_new_tokens=STEPS, do_sample=False)[0]
        tokens = [token for token in row.tolist()[1:] if token != 1]
        cases.append({"source": source, "tokens": tokens})
    return cases


def main() -> None:
    with TemporaryDirectory() as name:
        source, out = Path(name) / "checkpoint", Path(name) / "optimum"
        write_checkpoint(source)
        command = [sys.executable, "-m", "optimum.commands.optimum_cli", "export", "onnx"]
        task = ["--task", "text2text-generation-with-past", "--model", str(source), str(out)]
        subprocess.run([*command, *task], check=True)
        (out / "answers.json").write_text(json.dumps(answers(out)))
        with tarfile.open(ARCHIVE, "w:xz") as archive:
            for file in FILES:
                archive.add(out / file, file)


if __name__ == "__main__":
    main()
