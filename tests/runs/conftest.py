"""One tiny run, trained once; a test that changes it takes a copy."""

import shutil

import pytest

import ostinato

from ..tiny import made_once, text


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """The path of a finished run."""

    def make(place):
        config = ostinato.LanguageModelConfig(units=8, seq_len=8, batch=4)
        training = ostinato.TrainingConfig(steps=12, evaluations=4, learning_rate=0.01)
        ostinato.train(config, [text(60)], training=training, out=place / "run")

    return made_once(tmp_path_factory, "twelve steps", make) / "run"


@pytest.fixture
def run_path(finished_run, tmp_path):
    """The path of a copy of it."""
    return shutil.copytree(finished_run, tmp_path / "run")
