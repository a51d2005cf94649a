"""What many tests need: data from the real generator, and a small bundle of random weights."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from training import data

# No deadlines: machines are noisy. In CI the same examples each time; elsewhere new ones.
settings.register_profile(
    "project",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")

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
