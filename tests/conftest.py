"""What many tests need: data from the real generator, and a small bundle of random weights."""

from pathlib import Path

import pytest

from training import data

SEED = 20_240_601


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
