"""Our engine on a bundle, without a server: rows join as others finish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.cuda.agreement import Scored
from bench.cuda.measure.candidate import Rows
from engine.bundle import read_manifest
from engine.contracts import Decoding, Hypothesis, Prompt
from engine.cpu import available_cpus
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from engine.sessions import Sessions


class Ours:
    """Implement `Candidate` with a bundle on `device`, and one kind of `kernels`."""

    def __init__(self, bundle: Path, device: str, options: Mapping[str, str]) -> None:
        self._model = OrtModel(
            bundle,
            read_manifest(bundle),
            threads=1 if device == "cuda" else available_cpus(),
            provider=device,
            kernels=options["kernels"],
        )
        self._engine: OrtEngine | None = None
        self._asked = 0  # rows of the engine; a GPU may hold fewer

    def answer(self, sources: Rows, new_tokens: int, rows: int) -> list[Hypothesis]:
        if self._engine is None or self._asked != rows:
            self._engine = None  # its memory first
            self._engine, self._asked = OrtEngine(self._model, rows=rows), rows
        decoding = Decoding(max_new_tokens=new_tokens)
        prompts = [Prompt(tuple(source), (), decoding) for source in sources]
        try:
            return [answer.best for answer in generate(self._engine, prompts)]
        except BaseException:
            self._engine = None  # the next case starts with an idle one
            raise

    def scored(self, sources: Rows, new_tokens: int) -> list[Scored]:
        answers = self.answer(sources, new_tokens, len(sources))
        return [Scored(one.tokens, one.logprobs) for one in answers]

    def facts(self) -> dict[str, Any]:
        return {
            "versions": {"onnxruntime": _runtime_version()},
            "provider": self._model.provider,
            "placement": _placement([self._model.encoder, self._model.decoder]),
        }


def _runtime_version() -> str:
    """Return the version of the package with CUDA, where both are installed."""
    try:
        return version("onnxruntime-gpu")
    except PackageNotFoundError:
        return version("onnxruntime")


def _placement(graphs: Sessions) -> dict[str, dict[str, int]]:
    """Return the number of operators of each type, by the provider that runs them."""
    found: dict[str, Counter[str]] = {}
    for part in (part for graph in graphs for part in graph.get_provider_graph_assignment_info()):
        types = found.setdefault(part.ep_name, Counter())
        types.update(node.op_type for node in part.get_nodes())
    return {provider: dict(types.most_common()) for provider, types in found.items()}
