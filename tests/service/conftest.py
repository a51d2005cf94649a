from pathlib import Path

import pytest
import torch

from model_export.bundle import Identity, write_bundle
from service.engine.bundle import Limits
from training.data import Problem
from training.model import PRESETS, SmallT5, save_plain
from training.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, problems: list[Problem]) -> Path:
    """A real bundle of a tiny T5 with random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    vocabulary = Vocabulary.digits()
    plain = SmallT5(PRESETS["test"], vocabulary).plain()
    save_plain(plain, vocabulary.tokenizer(), folder / "checkpoint")
    identity = Identity("tiny", "0.0.1", "digits", "work", Limits(200, 8), {"seed": 0})
    questions = [problem.question for problem in problems[:4]]
    write_bundle(folder / "checkpoint", folder / "bundle", identity, questions, lambda _: "card")
    return folder / "bundle"
