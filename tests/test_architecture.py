"""The import arrows between the rooms, as the table in docs/architecture.md has them."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "commandline",
    "equations",
    "training",
    "model_export",
    "service",
    "bench",
    "loadtest",
    "deploy",
    "client",
)

DOCUMENT = ROOT / "docs" / "architecture.md"
_ROW = re.compile(r"\| `(?P<room>[\w.]+)` \|.*\|(?P<imports>[^|]*)\|")


def table() -> dict[str, set[str]]:
    """Return what each room may import, by the table in docs/architecture.md."""
    rows = (_ROW.fullmatch(line) for line in DOCUMENT.read_text().splitlines())
    return {row["room"]: set(re.findall(r"`([\w.]+)`", row["imports"])) for row in rows if row}


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


def files_of(room: str) -> list[Path]:
    path = ROOT / room.replace(".", "/")
    return sources(str(path)) if path.is_dir() else [path.with_suffix(".py")]


def _within(module: str, name: str) -> bool:
    return f"{module}.".startswith(f"{name}.")


def allowed(module: str, names: set[str]) -> bool:
    known = module.split(".", maxsplit=1)[0] in sys.stdlib_module_names
    return known or any(_within(module, name) for name in names)


@pytest.mark.parametrize("room", table())
def test_a_room_imports_only_what_the_document_allows(room: str) -> None:
    strangers = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in files_of(room)
        for module in imported(path)
        if not allowed(module, table()[room] | {room})
    }
    assert not strangers


def test_the_document_has_every_room() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    named = {room.split(".")[0] for room in table()}
    assert named == packages | {"client"}


def test_no_row_allows_what_its_room_does_not_import() -> None:
    for room, names in table().items():
        used = [module for path in files_of(room) for module in imported(path)]
        unused = {name for name in names if not any(_within(module, name) for module in used)}
        assert not unused, f"{room}: {unused}"


def test_baseline_engines_stay_in_their_processes() -> None:
    """The baselines' environment has their packages and nothing of ours."""
    baselines = {"optimum", "ctranslate2", "onnxruntime"}
    candidates = ROOT / "bench/engines/candidate"
    for path in sources("bench"):
        if candidates not in path.parents:
            assert not baselines & {module.split(".")[0] for module in imported(path)}, path
    for name in ("__main__", "serving", "rows", "optimum", "ctranslate"):
        ours = [m for m in imported(candidates / f"{name}.py") if m.split(".")[0] in ROOMS]
        here = ("bench.engines.candidate", "bench.engines.scenarios")
        assert all(module.startswith(here) for module in ours), (name, ours)


def test_baseline_servers_stay_in_their_processes() -> None:
    """They serve our engine, which needs little more than a runtime and a tokenizer."""
    candidates = ROOT / "bench/servers/candidate"
    files = {
        "litserve": candidates / "with_litserve.py",
        "bentoml": candidates / "with_bentoml.py",
    }
    knowing = {
        (name, path)
        for path in sources("bench")
        for name in {module.split(".")[0] for module in imported(path)} & files.keys()
    }
    assert knowing == set(files.items())
    for path in sources("bench/servers/candidate"):
        here = ("bench.servers.candidate", "equations", "engine", "service.contracts")
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
