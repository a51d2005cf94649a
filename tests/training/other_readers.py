"""Read a checkpoint as others do, in the baselines' environment: `other_readers.py FOLDER REQUEST`.

REQUEST is JSON of `texts` and, for each, the ids of a `target`. Prints JSON: the ids that
`AutoTokenizer` gives, and the log-probabilities of each target by transformers and by CTranslate2.
Imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
import tempfile

import ctranslate2
import torch
import transformers
from ctranslate2.converters import TransformersConverter
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer


def main() -> None:
    folder, request = sys.argv[1], json.loads(sys.argv[2])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(request["texts"])["input_ids"]
    print(
        json.dumps(
            {
                "transformers": transformers.__version__,
                "ids": ids,
                "decoded": [tokenizer.decode(row, skip_special_tokens=True) for row in ids],
                "pytorch": _by_transformers(folder, ids, request["targets"]),
                "ctranslate2": _by_ctranslate2(folder, tokenizer, ids, request["targets"]),
            }
        )
    )


@torch.no_grad()
def _by_transformers(
    folder: str, sources: list[list[int]], targets: list[list[int]]
) -> list[list[float]]:
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    found = []
    for source, target in zip(sources, targets, strict=True):
        wanted = torch.tensor([target])
        logits = model(input_ids=torch.tensor([source]), labels=wanted).logits
        found.append(logits.log_softmax(-1).gather(-1, wanted[..., None]).flatten().tolist())
    return found


def _by_ctranslate2(
    folder: str,
    tokenizer: transformers.PreTrainedTokenizerBase,
    sources: list[list[int]],
    targets: list[list[int]],
) -> list[list[float]]:
    with tempfile.TemporaryDirectory() as converted:
        TransformersConverter(folder).convert(converted, force=True)
        translator = ctranslate2.Translator(converted, compute_type="float32", intra_threads=1)
        scored = translator.score_batch(
            [tokenizer.convert_ids_to_tokens(row) for row in sources],
            [tokenizer.convert_ids_to_tokens(row[:-1]) for row in targets],  # it appends the end
            max_input_length=0,
        )
    return [list(result.log_probs) for result in scored]


if __name__ == "__main__":
    main()
