"""Fixtures of many tests: data from the real generator, and a small bundle of random weights.

`make test` runs the tests in several processes of pytest-xdist. The folders here are made by the
first that needs them, and the others wait for it.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, settings

from engine.bundle import Limits
from model_export.assembly import Identity, sources_of
from model_export.bundle import write_bundle
from training import data
from training.model import PRESETS, SmallT5, save_plain
from training.vocabulary import Vocabulary

# No deadlines: machines are noisy. In CI the same examples each time; elsewhere new ones.
settings.register_profile(
    "project",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")

SEED = 20_240_601


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="write snapshots as they are now")


def pytest_configure() -> None:
    # One thread in each process: more would contend with the other processes, and tiny models gain
    # nothing from them.
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start


def shared_folder(
    factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], object]
) -> Path:
    """Return a folder that `fill` wrote once for all processes of this run."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # that of the run; each worker has a folder in it
    folder, partial = root / f"shared-{name}", root / f"partial-{name}"
    with FileLock(root / f"{name}.lock"):
        if not folder.exists():
            shutil.rmtree(partial, ignore_errors=True)  # of a process that failed or was killed
            partial.mkdir()
            fill(partial)
            partial.rename(folder)
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 2,000 interpolation and 1,200 training questions, freshly generated."""

    def fill(folder: Path) -> None:
        data.generate(
            folder, train=1_200, test=2_000, seed=SEED, workers=2, chunk=500, show_progress=False
        )

    return shared_folder(tmp_path_factory, "dataset", fill)


@pytest.fixture(scope="session")
def problems(dataset: Path) -> list[data.Problem]:
    """Return the 2,000 interpolation questions of `dataset`."""
    return data.read(data.split_file(dataset, data.TEST_SPLIT))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, problems: list[data.Problem]) -> Path:
    """Return a real bundle of a tiny T5 with random weights."""

    def fill(folder: Path) -> None:
        torch.manual_seed(0)
        vocabulary = Vocabulary.digits()
        checkpoint = folder / "checkpoint"
        plain = SmallT5(PRESETS["test"], vocabulary).plain()
        save_plain(plain, vocabulary.tokenizer(), checkpoint)
        identity = Identity("tiny", "0.0.1", "digits", "work", Limits(200, 8), {"seed": 0})
        questions = [problem.question for problem in problems[:4]]
        sources = sources_of(questions, "digits", checkpoint)
        write_bundle(checkpoint, folder / "bundle", identity, sources, lambda _: "card")

    return shared_folder(tmp_path_factory, "tiny", fill) / "bundle"
