"""Prepare the models and questions that engines are compared on, once, in a cache folder.

A workload starts from a plain checkpoint, from which the bundles and the baselines' models are
derived. Its answers are PyTorch's. Questions where any step is a near tie are left out, because
rounding decides those.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from tokenizers import Tokenizer

from bench.engines.answers import certain
from bench.engines.flops import ModelShape, flops
from bench.engines.random_weights import RANDOM, write_checkpoint
from engine.bundle import TOKENIZER, Limits
from equations.formats import FORMATS
from model_export.assembly import Identity
from model_export.bundle import write_bundle
from training.checkpoint import resave
from training.data import GENERATED, TEST_SPLIT, generate, read, split_file

_SEED = 7
_SPARE = 1.05  # questions drawn for each one kept
_PARITY_TOKENS = 4096  # of the first sources, from which int8's ranges are taken


@dataclass(frozen=True)
class Workload:
    """One model and its questions; `answers` have no end token."""

    name: str
    checkpoint: Path
    plain: Path  # a copy of the checkpoint that the baselines' tools can read
    bundles: dict[str, Path]  # by precision
    sources: list[list[int]]
    answers: list[list[int]]
    max_new_tokens: int
    shape: ModelShape

    def flops(self, count: int) -> float:
        """Return the mean floating point operations for each of the first `count` questions."""
        counts = [  # the end token takes a step too
            flops(self.shape, len(source), min(len(answer) + 1, self.max_new_tokens))
            for source, answer in zip(self.sources[:count], self.answers[:count], strict=True)
        ]
        return sum(counts) / len(counts)


def mini(cache: Path, count: int, checkpoint: Path, questions: Path | None) -> Workload:
    """Return the shipped model with the first of the `questions` (a dataset file) or fresh ones."""
    tokenizer = Tokenizer.from_file(str(checkpoint / TOKENIZER))
    problems = read(questions or _generated(cache / f"questions-{count}", _drawn(count)))
    sources = [
        tokenizer.encode(FORMATS["digits"].encode(problem.question)).ids
        for problem in problems[: _drawn(count)]
    ]
    return prepare("mini", checkpoint, sources, cache / "mini", count)


def _drawn(count: int) -> int:
    """Return how many questions to draw so that `count` of them are no near ties."""
    return int(count * _SPARE) + 8


def _generated(folder: Path, count: int) -> Path:
    if not (folder / GENERATED).exists():
        generate(folder, train=0, test=count, seed=_SEED, workers=1)
    return split_file(folder, TEST_SPLIT)


def random_weights(
    name: str, cache: Path, count: int, precisions: Sequence[str] = ("fp32", "int8")
) -> Workload:
    """Return the shape `name` of `RANDOM` with random weights and sources of random ids."""
    shape = RANDOM[name]
    checkpoint = cache / name / "checkpoint"
    end = shape.dimensions["vocab_size"] - 1
    if not (checkpoint / TOKENIZER).exists():
        write_checkpoint(shape, _fresh(checkpoint))
    chance = random.Random(_SEED)
    sources = [
        [chance.randrange(3, end) for _ in range(chance.randint(*shape.lengths))]
        for _ in range(_drawn(count))
    ]
    return prepare(name, checkpoint, sources, cache / name, count, precisions=precisions)


def prepare(
    name: str,
    checkpoint: Path,
    drawn: list[list[int]],
    cache: Path,
    count: int,
    *,
    precisions: Sequence[str] = ("fp32", "int8"),
) -> Workload:
    """Return the first `count` of the `drawn` questions that are no near ties, with the bundles and
    the plain copy of the checkpoint.
    """
    config = json.loads((checkpoint / "config.json").read_text())
    generation = json.loads((checkpoint / "generation_config.json").read_text())
    weights = sorted(checkpoint.glob("*.safetensors"))
    key = _key([*weights, checkpoint / "generation_config.json"], drawn)
    answers_file = cache / f"answers-{key}-{count}.json"
    if not answers_file.exists():
        kept = certain(checkpoint, drawn, count)
        cache.mkdir(parents=True, exist_ok=True)
        answers_file.write_text(json.dumps(kept))
    kept = json.loads(answers_file.read_text())
    plain = cache / f"plain-{key}"
    if not plain.exists():
        resave(checkpoint, plain)  # one from transformers 5 is not read alike by the baselines
    steps = generation["max_new_tokens"]
    sources = [source for source, _ in kept]
    first = sum(total <= _PARITY_TOKENS for total in accumulate(map(len, sources)))
    limits = Limits(max(map(len, sources)), steps)
    bundles = {}
    for precision in precisions:
        bundles[precision] = cache / f"bundle-{precision}"
        identity = Identity(name, "0", "digits", "work", limits, {}, precision)
        write_bundle(
            checkpoint, bundles[precision], identity, sources[:first], lambda _: "To compare.\n",
            least_equal=0.0,  # the comparison checks all questions itself
        )  # fmt: skip
    return Workload(
        name=name,
        checkpoint=checkpoint,
        plain=plain,
        bundles=bundles,
        sources=sources,
        answers=[answer for _, answer in kept],
        max_new_tokens=steps,
        shape=ModelShape.of(config, len(generation.get("suppress_tokens") or [])),
    )


def _key(files: Iterable[Path], drawn: list[list[int]]) -> str:
    """Return a key of the weights, the generation configuration and the questions."""
    digest = hashlib.sha256(json.dumps(drawn).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
