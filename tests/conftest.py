"""What many tests need: data from the real generator, and a small bundle of random weights."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from engine.bundle import Limits
from model_export.bundle import Identity, sources_of, write_bundle
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


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 10,000 interpolation and 6,000 training questions, freshly generated."""
    folder = tmp_path_factory.mktemp("data")
    data.generate(folder, train=6_000, test=10_000, seed=SEED, workers=2, show_progress=False)
    return folder


@pytest.fixture(scope="session")
def problems(dataset: Path) -> list[data.Problem]:
    """The 10,000 interpolation questions of `dataset`."""
    return data.read(data.split_file(dataset, data.TEST_SPLIT))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, problems: list[data.Problem]) -> Path:
    """A real bundle of a tiny T5 with random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    vocabulary = Vocabulary.digits()
    plain = SmallT5(PRESETS["test"], vocabulary).plain()
    save_plain(plain, vocabulary.tokenizer(), folder / "checkpoint")
    identity = Identity("tiny", "0.0.1", "digits", "work", Limits(200, 8), {"seed": 0})
    checkpoint = folder / "checkpoint"
    sources = sources_of([problem.question for problem in problems[:4]], "digits", checkpoint)
    write_bundle(checkpoint, folder / "bundle", identity, sources, lambda _: "card")
    return folder / "bundle"
