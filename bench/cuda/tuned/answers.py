"""`python -m bench.cuda.tuned.answers MODEL PAIRS DEVICE`: print PyTorch's greedy texts in fp32."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from model_export.greedy import greedy
from service.children import live_below_the_parent
from training.checkpoint import load


def main(model: str, pairs: str, device: str) -> None:
    live_below_the_parent()
    loaded, tokenizer = load(Path(model), device=device)
    lines = Path(pairs).read_text(encoding="utf-8").splitlines()
    sources = [tokenizer.encode(json.loads(line)["source"]).ids for line in lines]
    most = loaded.generation_config.max_new_tokens
    rows = greedy(loaded, sources, max_new_tokens=most)
    texts = [tokenizer.decode(row, skip_special_tokens=True) for row in rows]
    print(json.dumps({"texts": texts, "max_new_tokens": most}))


if __name__ == "__main__":
    main(*sys.argv[1:])
