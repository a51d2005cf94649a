"""The import arrows between the rooms, as the table in docs/architecture.md has them."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "equations",
    "training",
    "model_export",
    "service",
    "bench",
    "loadtest",
    "deploy",
    "client",
)

SERVING = {"fastapi", "httptools", "numpy", "onnxruntime", "prometheus_client", "pydantic"} | {
    "opentelemetry",
    "starlette",
    "tokenizers",
    "tqdm",
    "uvicorn",
    "uvloop",
}
MAY_IMPORT = {
    "equations": {"equations"},
    "training": {
        "training", "equations", "service.engine", "service.errors", "service.runtime",
        "service.settings", "service.solving",
        "torch", "transformers", "tokenizers", "numpy", "tqdm", "matplotlib", "pyarrow",
        "accelerate", "huggingface_hub",
    },
    "model_export": {
        "model_export", "equations", "service.engine", "service.contracts",
        "torch", "transformers", "tokenizers", "onnx", "numpy", "tqdm",
    },
    "service": {"service", "equations", "pyarrow"} | SERVING,
    "bench": {
        "bench", "equations", "training.data", "training.model", "model_export", "loadtest",
        "service.api", "service.app", "service.batching", "service.confidence",
        "service.contracts", "service.engine", "service.hosting", "service.logs",
        "service.metrics", "service.runtime", "service.settings", "fastapi", "uvloop",
        "torch", "transformers", "tokenizers", "onnx", "numpy", "tqdm", "matplotlib", "httpx",
        "onnxruntime", "optimum", "ctranslate2", "litserve", "bentoml", "pydantic",
    },
    "loadtest": {"loadtest", "locust", "gevent"},
    "deploy": {"deploy", "service", "ray", "fastapi"},
    "client/cybersolve_client": {"cybersolve_client", "httpx"},
    "service/batching": {"service.batching", "service.contracts", "service.errors"},
    "service/hosting": {
        "service.hosting", "service.batching.policy", "service.contracts", "service.engine",
        "service.errors", "service.logs",
    },
    "service/contracts.py": set(),
}  # fmt: skip


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def sources(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def allowed(module: str, names: set[str]) -> bool:
    parts = module.split(".")
    prefixes = {".".join(parts[: i + 1]) for i in range(len(parts))}
    return parts[0] in sys.stdlib_module_names or bool(prefixes & names)


@pytest.mark.parametrize("place", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(place: str) -> None:
    files = sources(place)
    assert files
    strangers = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in files
        for module in imported(path)
        if not allowed(module, MAY_IMPORT[place])
    }
    assert not strangers


def test_rivals_stay_in_their_processes() -> None:
    """What a contender imports must be there in the rivals' environment: it has nothing of ours."""
    rivals = {"optimum", "ctranslate2", "onnxruntime"}
    contenders = ROOT / "bench/engines/contender"
    for path in sources("bench"):
        if contenders not in path.parents:
            assert not rivals & {module.split(".")[0] for module in imported(path)}, path
    for name in ("__main__", "serving", "rows", "optimum", "ctranslate"):
        ours = [m for m in imported(contenders / f"{name}.py") if m.split(".")[0] in ROOMS]
        here = ("bench.engines.contender", "bench.engines.scenarios")
        assert all(module.startswith(here) for module in ours), (name, ours)


def test_rival_servers_stay_in_their_processes() -> None:
    """They serve our engine, which needs little more than a runtime and a tokenizer."""
    contenders = ROOT / "bench/servers/contender"
    files = {
        "litserve": contenders / "with_litserve.py",
        "bentoml": contenders / "with_bentoml.py",
    }
    knowing = {
        (name, path)
        for path in sources("bench")
        for name in {module.split(".")[0] for module in imported(path)} & files.keys()
    }
    assert knowing == set(files.items())
    for path in sources("bench/servers/contender"):
        here = ("bench.servers.contender", "equations", "service.engine", "service.contracts")
        ours = [m for m in imported(path) if m.split(".")[0] in ROOMS]
        assert all(m.startswith((*here, "service.confidence")) for m in ours), (path, ours)


def test_only_one_module_of_the_service_needs_pyarrow() -> None:
    """The module of Parquet files, which is imported when there is one."""
    importing = [
        path.name
        for path in sources("service")
        if any(module.split(".")[0] == "pyarrow" for module in imported(path))
    ]
    assert importing == ["parquet.py"]


def test_every_bulk_backend_is_a_function_of_its_module() -> None:
    """Entry points are found by name at run time: no import would show that one is missing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    backends = project["entry-points"]["cybersolve.bulk_backends"]
    for name, target in backends.items():
        module, function = target.split(":")
        tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
        defined = {node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef)}
        assert function in defined, target
        assert name in project["optional-dependencies"], f"no extra `{name}`"


def test_nobody_but_settings_reads_the_environment() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in sources("service")
        if "os.environ" in path.read_text() or "getenv" in path.read_text()
    ]
    assert readers == ["service/settings.py"]


def test_files_stay_short() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): count
        for room in ROOMS
        for path in sources(room)
        if (count := len(path.read_text().splitlines())) > 300
    }
    assert not long
