"""Check a checkpoint's tensors against its configuration, and give them by canonical names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod

import numpy as np

from model_export.checkpoint.configuration import UMT5, Configuration
from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.names import EMBEDDINGS, HEAD, SHARED, UNREAD, layers_of
from model_export.checkpoint.tensors import Matrix, Tensors


class Weights(Mapping[str, Matrix]):
    """Tensors in fp32 by transformers' names. Each look-up reads its tensor anew."""

    def __init__(
        self,
        tensors: Tensors,
        stored: Mapping[str, str],
        on_read: Callable[[], object] | None = None,
    ) -> None:
        self._tensors = tensors
        self._stored = stored  # from canonical names to those in the files
        self._on_read = on_read

    def __getitem__(self, name: str) -> Matrix:
        if self._on_read is not None:
            self._on_read()
        return self._tensors.read(self._stored[name])

    def watched(self, on_read: Callable[[], object]) -> Weights:
        """Return the same weights, which call `on_read` each time that one is read."""
        return Weights(self._tensors, self._stored, on_read)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def place(self, name: str) -> str:
        """Return the file that a tensor is stored in."""
        return self._tensors.place(self._stored[name])

    @property
    def parameters(self) -> int:
        """Return the number of parameters; those of a tied head count once."""
        return sum(prod(self._tensors.shapes[name]) for name in set(self._stored.values()))


def check_weights(tensors: Tensors, config: Configuration, place: str) -> Weights:
    """Return the weights of a T5 of this configuration.

    `place` names the checkpoint in messages. Raises `CheckpointError` for missing or unexpected
    tensors, other shapes, and values that are not finite.
    """
    expected = layers_of(config)
    missing = [name for name in expected if name not in tensors.shapes]
    if not any(name.startswith("decoder.block.") for name in tensors.shapes):
        raise CheckpointError(
            f"{place}: has no decoder; an encoder-only model generates no text, and another "
            "T5ForConditionalGeneration is needed"
        )
    if missing:
        raise CheckpointError(_incomplete(place, missing, len(expected)))
    table = (config.vocab_size, config.d_model)
    embeddings = [name for name in EMBEDDINGS if name in tensors.shapes]
    if not embeddings:
        raise CheckpointError(f"{place}: {SHARED} is missing; the checkpoint is incomplete")
    head = HEAD if HEAD in tensors.shapes else embeddings[0]
    if head != HEAD and config.own_head:
        raise CheckpointError(
            f"{place}: {HEAD} is missing, though config.json says tie_word_embeddings: false; the "
            "checkpoint is incomplete"
        )
    wanted = {**expected, **dict.fromkeys({*embeddings, head}, table)}
    unexpected = sorted(set(tensors.shapes) - set(wanted) - set(UNREAD))
    if unexpected:
        raise CheckpointError(_unexpected(place, unexpected, config))
    for name, shape in wanted.items():
        if tensors.shapes[name] != shape:
            raise CheckpointError(
                f"{tensors.place(name)}: {name} has the shape {tensors.shapes[name]}; config.json "
                f"asks for {shape}"
            )
    _require_finite(tensors, wanted)
    _require_equal(tensors, embeddings)
    if head == HEAD and _equal(tensors, HEAD, embeddings[0]):
        head = embeddings[0]  # a copy, as pickles of tied weights have it
    stored = {name: name for name in expected}
    return Weights(tensors, {**stored, SHARED: embeddings[0], HEAD: head})


def _incomplete(place: str, missing: list[str], of: int) -> str:
    return (
        f"{place}: {len(missing)} of {of} tensors are missing, the first is {missing[0]}; the "
        "checkpoint is incomplete, or config.json is another model's"
    )


def _unexpected(place: str, unexpected: list[str], config: Configuration) -> str:
    first = unexpected[0]
    advice = "config.json is another model's, or the checkpoint is of another kind"
    if config.model_type != UMT5 and all("relative_attention_bias" in name for name in unexpected):
        advice = f"position biases in every layer are {UMT5}'s: see model_type in config.json"
    return (
        f"{place}: {len(unexpected)} tensors that a {config.model_type} of this configuration does "
        f"not have, the first is {first}; {advice}"
    )


def _require_finite(tensors: Tensors, names: Mapping[str, object]) -> None:
    for name in names:
        value = tensors.read(name)
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(value.sum()):  # which the sum of anything else is not
                continue
        wrong = np.size(value) - np.count_nonzero(np.isfinite(value))
        if wrong:
            raise CheckpointError(
                f"{tensors.place(name)}: {name} has {wrong:,} of {value.size:,} values that are "
                "NaN or infinite; the training that wrote it diverged"
            )


def _require_equal(tensors: Tensors, embeddings: list[str]) -> None:
    for name in embeddings[1:]:
        if not _equal(tensors, name, embeddings[0]):
            raise CheckpointError(
                f"{tensors.place(name)}: {name} differs from {embeddings[0]}; a T5 has one table "
                "of embeddings"
            )


def _equal(tensors: Tensors, name: str, other: str) -> bool:
    return np.array_equal(tensors.read(name), tensors.read(other))
