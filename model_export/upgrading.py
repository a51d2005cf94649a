"""Rewrite a bundle of an earlier format in the newest, with the weights that it has.

Format 5 added the decoder's output `logits` and two graphs without weights
(`model_export.choosing`). Format 4 computes the same logits, so a new name and an output are all
that its decoder needs. Format 6 added the decoder's input `sources`, which its cross-attention
reads; not in half precision.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from engine.bundle import (
    CANDIDATES,
    DECODER,
    DRAW,
    FORMAT,
    MANIFEST,
    REFERENCE,
    Manifest,
    fingerprint,
    load_manifest,
)
from engine.contracts import Prompt
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from engine.sources import SOURCES
from model_export import choosing, graphs, operators
from model_export.assembly import replacing

_ROWS = 16


class UpgradeError(ValueError):
    """A bundle cannot be upgraded; the message says why."""


def upgrade(folder: Path, out: Path) -> Manifest:
    """Write the bundle in `folder` in the newest format as `out`; return its manifest as it was.

    `out` may be `folder`. The new bundle must give the answers of the old one to its reference
    questions. Of a bundle in the newest format nothing is written.
    Raises `engine.bundle.BundleError` and `UpgradeError`; then nothing has changed.
    """
    old = load_manifest(folder)
    if old.format == FORMAT:
        return old
    with replacing(out) as partial:
        for name in old.files:
            if name != DECODER:
                shutil.copy2(folder / name, partial / name)
        decoder = onnx.load(folder / DECODER, load_external_data=False)  # it stays external
        if not old.has_settings:
            _add_logits(decoder, folder / DECODER)
            onnx.save(choosing.candidates(), partial / CANDIDATES)
            onnx.save(choosing.draw(), partial / DRAW)
        _share_sources(decoder)
        decoder.graph.doc_string = graphs.__doc__ or ""
        onnx.save(decoder, partial / DECODER)
        files = {path.name: fingerprint(path) for path in sorted(partial.iterdir())}
        new = replace(old, format=FORMAT, files=files)
        (partial / MANIFEST).write_text(new.to_json(), encoding="utf-8")
        if _answers(partial, new) != _answers(folder, old):
            raise UpgradeError(f"{folder}: the upgraded bundle gives other answers")
    return old


def _add_logits(model: onnx.ModelProto, decoder: Path) -> None:
    """Make the logits that the decoder of format 4 computes an output."""
    chooses = [node for node in model.graph.node if node.op_type == "Likeliest"]
    if len(chooses) != 1:
        raise UpgradeError(f"{decoder}: expected one operator Likeliest, found {len(chooses)}")
    old = chooses[0].input[0]
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = "logits"
    shape: list[str | int | None] = ["batch", 1, _width(model, decoder)]
    model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape))


def _share_sources(model: onnx.ModelProto) -> None:
    """Let rows of the decoder read the same source; but not in half precision."""
    reading = [
        node
        for node in model.graph.node
        if node.domain == operators.DOMAIN and node.op_type.startswith("CrossAttention")
    ]
    if not reading:
        return
    (kind,) = {node.op_type for node in reading}
    for node in reading:
        node.op_type = f"Shared{kind}"
        node.input.append(SOURCES)
    for value in model.graph.input:
        if value.name.startswith("cross_") or value.name == "source_lengths":
            value.type.tensor_type.shape.dim[0].dim_param = SOURCES
    index = helper.make_tensor_value_info(SOURCES, TensorProto.INT32, ["batch"])
    model.graph.input.append(index)
    for function in model.functions:
        if function.name == kind:
            function.CopyFrom(operators.definition(f"Shared{kind}", operators.DOMAIN))


def _width(model: onnx.ModelProto, decoder: Path) -> int:
    """Return the number of tokens that the decoder chooses from: its last weight has as many."""
    shapes: dict[str, list[int]] = {
        weight.name: list(weight.dims) for weight in model.graph.initializer
    }
    if "lm_head.scales" in shapes:  # int8: a scale for each token
        return shapes["lm_head.scales"][0]
    if "lm_head" in shapes:
        return shapes["lm_head"][-1]
    raise UpgradeError(f"{decoder}: no weight lm_head")


def _answers(folder: Path, manifest: Manifest) -> list[list[int]]:
    """Return the engine's answers to the reference questions."""
    cases = json.loads((folder / REFERENCE).read_text(encoding="utf-8"))
    engine = OrtEngine(OrtModel(folder, manifest, threads=1, provider="cpu"), rows=_ROWS)
    answers = generate(engine, [Prompt(tuple(case["source"])) for case in cases])
    return [list(answer.best.tokens) for answer in answers]
