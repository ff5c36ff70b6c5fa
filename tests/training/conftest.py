"""Tiny trainings on a small text: a few seconds from beginning to end."""

from pathlib import Path

import pytest

import ostinato

from ..tiny import made_once, text
from .scripted import Training


@pytest.fixture(scope="session")
def text_file(tmp_path_factory) -> Path:
    """About 1,600 characters, 12 steps an epoch for `start`."""
    place = made_once(tmp_path_factory, "text", lambda place: (place / "text.txt").write_text(text()))
    return place / "text.txt"


@pytest.fixture(scope="session")
def start(text_file, tmp_path_factory):
    """start(out, task settings, training settings, **options of train): trains one layer of 8 units."""

    def train(out, task=None, training=None, *, source=None, **options):
        network = {"cell": "gru", "units": 8, "seq_len": 30, "batch": 4, "output_dropout": 0.2} | (task or {})
        training = {"learning_rate": 0.01, "log_every": 5, "evaluations": 6} | (training or {"epochs": 3})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OSTINATO_CACHE", str(tmp_path_factory.getbasetemp() / "cache of trainings"))
            return ostinato.train(
                ostinato.LanguageModelConfig(**network),
                text_file if source is None else source,
                training=ostinato.TrainingConfig(**training),
                out=out,
                **options,
            )

    return train


@pytest.fixture(scope="session")
def whole_run(start, tmp_path_factory):
    """The path of a run of three epochs that nothing interrupted."""
    return made_once(tmp_path_factory, "three epochs", lambda place: start(place / "run")) / "run"


@pytest.fixture
def prepare(tmp_path):
    """prepare(script, better, **training settings) -> a `Training` of it on a new run."""

    def prepare(script, better="lower", **settings):
        return Training(tmp_path / f"run-{len(list(tmp_path.iterdir()))}", script, better, **settings)

    return prepare
