"""`python -m bench.memory`: what loading a bundle takes at its worst, and whether serving grows.

Each measurement is a process of its own. Loading: the highest resident memory, less that of a
process with an empty session, by the bytes of the graphs. Serving: resident memory of one engine
after each tenth of the questions. Linux only: read from /proc. Ends in one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_MIB = 1024  # of the kB that /proc counts in
_ROWS = 32
_STAGES = 10
_SEED = 7


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.child:
        print(json.dumps(_child(arguments)))
        return 0
    bundles = {"mini": arguments.bundle}
    if not arguments.skip_base:
        bundles["base"] = _base_bundle(arguments.cache)
    empty = _in_a_process("empty", arguments)["peak_mib"]
    report: dict[str, Any] = {"empty_mib": empty, "loading": {}}
    for name, bundle in bundles.items():
        peak = _in_a_process("load", arguments, bundle)["peak_mib"]
        weights = sum(path.stat().st_size for path in _graphs(bundle)) / _MIB**2
        report["loading"][name] = {
            "weights_mib": round(weights, 1),
            "peak_mib": round(peak - empty, 1),
            "ratio": round((peak - empty) / weights, 2),
        }
    report["serving"] = _in_a_process("serve", arguments, arguments.bundle)
    print(json.dumps(report))
    return 0


# -- processes -----------------------------------------------------------------------------------


def _in_a_process(child: str, arguments: argparse.Namespace, bundle: Path | None = None) -> Any:
    command = [
        *(sys.executable, "-m", "bench.memory", "--child", child),
        *("--bundle", str(bundle or arguments.bundle)),
        *("--cache", str(arguments.cache), "--questions", str(arguments.questions)),
    ]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=_ROOT)  # noqa: S603
    return json.loads(result.stdout)


def _child(arguments: argparse.Namespace) -> dict[str, Any]:
    match arguments.child:
        case "empty":
            _empty_session()
        case "load":
            _load(arguments.bundle)
        case "serve":
            return _serve(arguments.bundle, arguments.cache, arguments.questions)
    return {"peak_mib": _status("VmHWM")}


def _status(field: str) -> float:
    """A figure of this process in MiB, by its name in /proc/self/status."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, f"no {field} in /proc/self/status"
    return int(found[1]) / _MIB


# -- loading -------------------------------------------------------------------------------------


def _empty_session() -> None:
    """All that is imported to load a bundle, and a session of one node."""
    from onnx import TensorProto, checker, helper

    import service.engine.ort  # noqa: F401
    from service.engine.sessions import open_sessions

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "empty", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    checker.check_model(model)
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model.SerializeToString())
        file.flush()
        open_sessions([Path(file.name)], threads=1, provider="cpu")


def _load(bundle: Path) -> None:
    from service.engine.bundle import load_manifest
    from service.engine.ort import OrtModel

    OrtModel(bundle, load_manifest(bundle), threads=1, provider="cpu")


def _graphs(bundle: Path) -> Iterator[Path]:
    """The graphs' files, and those that hold their weights."""
    for name in ("encoder", "decoder"):
        yield from bundle.glob(f"{name}.*")


def _base_bundle(cache: Path) -> Path:
    """A bundle of FLAN-T5-base's shape with random weights, in fp32 (about 1 GB)."""
    from transformers import T5Config

    from bench.engines.workloads import write_random
    from model_export.bundle import Identity, write_bundle
    from service.engine.bundle import MANIFEST, Limits

    out, checkpoint = cache / "base" / "bundle", cache / "base" / "checkpoint"
    if (out / MANIFEST).exists():
        return out
    config = T5Config(
        vocab_size=32128, d_model=768, d_kv=64, d_ff=2048, num_layers=12, num_decoder_layers=12,
        num_heads=12, dropout_rate=0.0, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        pad_token_id=0, eos_token_id=32127, decoder_start_token_id=0,
    )  # fmt: skip
    checkpoint.mkdir(parents=True, exist_ok=True)
    write_random(config, checkpoint, 64)
    identity = Identity("base", "0", "plain", "answer", Limits(512, 64), {})
    write_bundle(
        checkpoint, out, identity, [list(range(3, 23))], lambda _: "Random.\n", least_equal=0.0
    )
    shutil.rmtree(checkpoint)
    return out


# -- serving -------------------------------------------------------------------------------------


def _serve(bundle: Path, cache: Path, questions: int) -> dict[str, Any]:
    """Resident memory in MiB after each tenth of the questions."""
    from model_export.bundle import sources_of
    from service.contracts import Prompt
    from service.engine.bundle import load_manifest
    from service.engine.generate import generate
    from service.engine.ort import OrtEngine, OrtModel
    from training import data

    share = questions // _STAGES
    folder = cache / f"memory-questions-{share}"
    if not (folder / data.GENERATED).exists():
        data.generate(folder, train=0, test=share, seed=_SEED, workers=1)
    problems = data.read(data.split_file(folder, data.TEST_SPLIT))
    manifest = load_manifest(bundle)
    sources = sources_of([problem.question for problem in problems], manifest.prompt_format, bundle)
    prompts = [Prompt(tuple(source)) for source in sources]
    engine = OrtEngine(OrtModel(bundle, manifest, threads=1, provider="cpu"), rows=_ROWS)
    resident = []
    for _ in range(_STAGES):
        generate(engine, prompts)
        resident.append(round(_status("VmRSS"), 1))
    return {"questions": len(prompts) * _STAGES, "resident_mib": resident}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.memory",
        description=__doc__.splitlines()[0] if __doc__ else None,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--bundle", type=Path, default=_ROOT / "models/cybersolve-mini", help="the small bundle")
    add("--questions", type=int, default=100_000, help="to answer while memory is watched")
    add("--cache", type=Path, default=Path("runs/bench/cache"), help="for what is prepared once")
    add("--skip-base", action="store_true", help="without FLAN-T5-base's shape (1 GB on disk)")
    add("--child", choices=["empty", "load", "serve"], help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
