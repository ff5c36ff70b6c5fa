"""The command line, called in this process, and one tiny run for it to work on."""

import io
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ostinato.tasks.config import TaskConfig
from ostinato.training import run as training_run
from ostinato.training.config import TrainingConfig

from ..command_line import command
from ..eagerly import run_eagerly
from ..tiny import made_once, text

TEXT = text()
TINY = ("--cell", "gru", "--units", "8", "--seq-len", "30", "--batch", "4")


class Answer(NamedTuple):
    """What a command left: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def ostinato(capsys):
    """ostinato("train", "lm", …) -> Answer."""

    def run(*arguments) -> Answer:
        capsys.readouterr()
        code = command(*arguments)
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def eagerly():
    """What these commands compute is computed without graphs; the runs that are trained once have them."""
    with run_eagerly():
        yield


@pytest.fixture
def tiny() -> tuple[str, ...]:
    """Options for a network that trains in no time on `text.txt`."""
    return TINY


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory: a folder of its own, with `text.txt` in it."""
    place = tmp_path / "here"
    place.mkdir()
    (place / "text.txt").write_text(TEXT)
    monkeypatch.chdir(place)
    return place


def rolls_of_two_pieces() -> bytes:
    """An .npz file of piano rolls."""
    content = io.BytesIO()
    np.savez(content, train_0=np.eye(4, 88), train_1=np.eye(5, 88))
    return content.getvalue()


def put(path: Path, content: str | bytes) -> None:
    """Writes a file of text or bytes."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


SOURCES: dict[str, tuple[str, str | bytes]] = {
    "lm": ("text.txt", TEXT),
    "classify": ("table.csv", "text,label\ngood,yes\nbad,no\n"),
    "translate": ("pairs.tsv", "good\tbon\nbad\tmauvais\n"),
    "music": ("tunes.npz", rolls_of_two_pieces()),
}


class Asked(NamedTuple):
    """The settings that a command would train with."""

    config: TaskConfig
    training: TrainingConfig


@pytest.fixture
def asked(ostinato, folder, monkeypatch):
    """asked("lm", "--units", "8", …) -> Asked: the settings of `ostinato train lm SOURCE --units 8`."""
    found = []

    def train(config, source, *, training, **others):
        found.append(Asked(config, training))
        raise KeyboardInterrupt

    monkeypatch.setattr(training_run, "train", train)
    for name, content in SOURCES.values():
        put(folder / name, content)

    def settings(task: str, *flags) -> Asked:
        answer = ostinato("train", task, SOURCES[task][0], *flags)
        assert answer.code == 130, answer.err
        return found.pop()

    return settings


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory) -> Path:
    """The path of a finished run; its text lies beside it."""

    def make(place):
        (place / "text.txt").write_text(TEXT)
        arguments = ["train", "lm", place / "text.txt", "--out", place / "run", "--steps", "12", *TINY]
        assert command(*arguments, "--evaluations", "3") == 0

    return made_once(tmp_path_factory, "language model of the commands", make) / "run"


@pytest.fixture
def run(trained_run, folder) -> Path:
    """A copy of it in the working directory: `run`."""
    shutil.copytree(trained_run, folder / "run")
    return Path("run")
