"""One tiny run, trained once; a test that changes it takes a copy."""

import shutil

import numpy as np
import pytest

import ostinato

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "rain", "fall", "over", "hills")
TEXT = "\n".join(map(" ".join, np.random.default_rng(0).choice(WORDS, size=(60, 8))))


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """The path of a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    config = ostinato.LanguageModelConfig(units=8, seq_len=8, batch=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_CACHE", str(folder / "cache"))
        training = ostinato.TrainingConfig(steps=12, evaluations=4, learning_rate=0.01)
        ostinato.train(config, [TEXT], training=training, out=folder / "run")
    return folder / "run"


@pytest.fixture
def run_path(finished_run, tmp_path):
    """The path of a copy of it."""
    return shutil.copytree(finished_run, tmp_path / "run")
