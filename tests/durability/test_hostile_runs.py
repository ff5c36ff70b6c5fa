"""Runs from strangers: whatever is in them, a reader succeeds or says in a sentence what is wrong.

Small real runs of every task are changed as a stranger could change them, the checksums included, and read by
everything that reads them. No traceback, no hang, no memory for what a file only claims, and nothing outside
is touched. The cases are counted with those of `test_hostile_files.py`, which says how to draw more.
"""

import itertools
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import ostinato
from ostinato.data.encoders.registry import encoder_from_json
from ostinato.errors import RunError, SourceError
from ostinato.runs import reading
from ostinato.runs.directory import open_run
from ostinato.runs.opened import settings_of, source_of
from ostinato.tasks.classifier.vocabulary import ClassifierVocabulary
from ostinato.tasks.translator.data import TranslatorVocabulary
from ostinato.training.budget import Position
from ostinato.training.config import TrainingConfig

from ..eagerly import run_eagerly
from ..variants import examples, thorough
from .mutations import (
    NO_PLAIN_FILES,
    NoPlainFile,
    changed_arrays,
    changed_bytes,
    changed_document,
    put,
    remove,
    sign,
    sparse,
)
from .strangers import Outside, cases, guarded

TASKS = ("language_model", "classifier", "translator")
IN_EVERY_RUN = [("language_model", "runs"), ("classifier", "loads")]
OF_EACH = {"runs": 300, "loads": examples(10, thorough=20)}
CASES = {name: len(TASKS) * count for name, count in OF_EACH.items()}
TELLING = ("units", "best_step", "step", "path", "sha256", "task", "labels", "max_tokens", "merges", "growth")
STEP_NAMES = (
    *("step-..", ".writing-1", "step-000000000", "step-0000000000000001"),
    *("step-\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0661", "step-" + "9" * 18),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Outside:
    """A folder with real files, and another which nobody may touch."""
    outside = Outside(tmp_path_factory.mktemp("strangers"))
    outside.write_sources()
    return outside


@pytest.fixture(scope="module")
def runs(home) -> dict[str, Path]:
    """A run of each task, trained once; without graphs, as only what is written matters here."""
    configs = {
        "language_model": (
            ostinato.LanguageModelConfig(units=4, seq_len=8, batch=4, encoder="bpe"),
            "text.txt",
        ),
        "classifier": (ostinato.ClassifierConfig(units=4, embedding=4, batch=8), "table.csv"),
        "translator": (
            ostinato.TranslatorConfig(units=4, embedding=4, batch=8, source_encoder="char"),
            "pairs.tsv",
        ),
    }
    training = ostinato.TrainingConfig(steps=4, evaluations=2, log_every=1)
    with pytest.MonkeyPatch.context() as patch, run_eagerly():
        patch.setenv("OSTINATO_CACHE", str(home.cache))
        for task, (config, source) in configs.items():
            ostinato.train(config, home.home / source, training=training, out=home.home / task)
    for task in configs:
        shutil.rmtree(home.home / task / "tensorboard")
    return {task: home.home / task for task in configs}


@pytest.fixture(autouse=True)
def cache_of_the_real_files(home, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(home.cache))


def encoders(config, vocabulary) -> tuple:
    """What the vocabulary of a run makes ids with."""
    if isinstance(config, ostinato.TranslatorConfig):
        words = TranslatorVocabulary.from_json(vocabulary)
        return words.source, words.target
    if isinstance(config, ostinato.ClassifierConfig):
        return (ClassifierVocabulary.from_json(config, vocabulary).encoder,)
    return (encoder_from_json(vocabulary),)


def read_run(path: Path, *, whole: bool) -> None:
    """All that reads a run. Without `whole`, all but what makes a network."""
    run = open_run(path)
    run.rows()
    newest, _ = run.newest_checkpoint()
    Position.from_json(newest.position)
    run.weights("best")
    config = settings_of(run)
    TrainingConfig(**run.training)
    for side in encoders(config, run.vocabulary):
        side.decode(side.encode("the cat"))
    source_of(run)
    if whole:
        ostinato.load(path)


@dataclass(frozen=True)
class Damage:
    """What is done to a run directory.

    Attributes:
        name: the file or folder.
        content: what is put in its place.
        signed: whether the checksums of its checkpoint are made to fit.
        new_name: what it is called afterwards.
    """

    name: Path
    content: bytes | NoPlainFile | None
    signed: bool = False
    new_name: str | None = None

    def do(self, path: Path, outside: Path) -> None:
        if self.content is not None:
            put(path / self.name, self.content, outside)
        if self.signed:
            sign((path / self.name).parent)
        if self.new_name is not None:
            other = (path / self.name).with_name(self.new_name)
            remove(other)
            (path / self.name).rename(other)


@st.composite
def damages(draw, real: Path) -> Damage:
    """Damages of a run directory like the real one."""
    files = sorted(
        file.relative_to(real) for file in real.rglob("*") if file.is_file() and file.suffix != ".png"
    )
    how = draw(st.sampled_from(["content"] * 12 + ["no file", "step"]), "how")
    if how == "step":
        step = draw(st.sampled_from(sorted(step.name for step in (real / "checkpoints").iterdir())))
        return Damage(Path("checkpoints", step), None, new_name=draw(st.sampled_from(STEP_NAMES)))
    name = draw(st.sampled_from(files), "file")
    if how == "no file":
        return Damage(
            draw(st.sampled_from([name, *name.parents][:-1])), draw(st.sampled_from(NO_PLAIN_FILES))
        )
    data = (real / name).read_bytes()
    if name.suffix == ".safetensors":
        return Damage(name, draw(changed_arrays(data)), signed=draw(st.integers(0, 4)) > 0)
    if name.suffix == ".json":
        return Damage(name, draw(changed_document(data, often=TELLING)))
    return Damage(name, draw(changed_bytes(data)))


@pytest.mark.parametrize(
    ("task", "name"),
    [
        pair if pair in IN_EVERY_RUN else thorough(*pair)
        for pair in itertools.product(TASKS, ("runs", "loads"))
    ],
)
def test_damaged_runs(home, runs, task, record_property, name):
    @cases(OF_EACH[name], record_property)
    @given(damage=damages(runs[task]))
    def check(damage):
        with home.copy_of(runs[task]) as path, guarded(home):
            damage.do(path, home.outside)
            with home.refusals():
                read_run(path, whole=name == "loads")

    check()


def change_json(file: Path, *keys: str, to: object) -> None:
    value = json.loads(file.read_text())
    place = value
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    file.write_text(json.dumps(value))


@pytest.mark.parametrize(("task", "depth"), [*((task, 4) for task in TASKS), thorough("language_model", 64)])
def test_a_network_that_its_weights_are_not_of_is_refused_before_it_is_made(home, runs, task, depth):
    with home.copy_of(runs[task]) as path, guarded(home):
        change_json(path / "config.json", "task_config", "units", to=[65536] * depth)
        with pytest.raises(RunError, match="another network's"):
            ostinato.load(path)


@pytest.mark.parametrize(
    "array", [np.full((4, 4), np.nan, "f4"), np.zeros((4, 4), "f8"), np.zeros((4, 4), "i4")]
)
def test_weights_that_are_no_finite_float32_are_refused(home, runs, array):
    with home.copy_of(runs["language_model"]) as path, guarded(home):
        for checkpoint in (path / "checkpoints").iterdir():
            arrays = safetensors.numpy.load_file(checkpoint / "weights.safetensors")
            name = next(name for name in arrays if name.endswith("recurrent_kernel"))
            arrays[name] = np.resize(array, arrays[name].shape)
            safetensors.numpy.save_file(arrays, checkpoint / "weights.safetensors")
            sign(checkpoint)
        with pytest.raises(RunError, match=r"recurrent_kernel (has|contains)"):
            ostinato.load(path)


@pytest.mark.parametrize("best", [3, -1, True, 1.0, "1", "../../outside", [], 10**17, 10**400])
def test_a_best_step_that_is_none_is_refused(home, runs, best):
    with home.copy_of(runs["language_model"]) as path, guarded(home):
        newest = max((path / "checkpoints").iterdir())
        change_json(newest / "manifest.json", "position", "best_step", to=best)
        with pytest.raises(RunError, match="best_step is"):
            open_run(path).weights("best")


@pytest.mark.parametrize(
    "place", ["metrics.jsonl", "report", "report/loss.png", "tensorboard", "checkpoints/more"]
)
@pytest.mark.parametrize("other", NO_PLAIN_FILES[2:8], ids=repr)
def test_what_resuming_would_write_to_is_in_the_run(home, runs, place, other):
    with home.copy_of(runs["language_model"]) as path, guarded(home):
        put(path / place, other, home.outside)
        for use in (ostinato.load, ostinato.resume):
            with pytest.raises(RunError, match="which no run directory contains; remove it"):
                use(path)


@pytest.mark.parametrize(
    ("name", "size"),
    [("config.json", reading.LARGEST_SETTINGS), ("vocabulary.json", reading.LARGEST_VOCABULARY)],
)
def test_settings_are_not_read_when_they_are_huge(home, runs, name, size):
    with home.copy_of(runs["language_model"]) as path, guarded(home):
        sparse(path / name, size + 1)
        with pytest.raises(RunError, match=f"must have at most {size:,} bytes, got {size + 1:,}"):
            open_run(path)


def test_a_source_that_has_become_a_pipe_is_not_waited_for(home, runs):
    os.mkfifo(home.cache / "pipe")
    for task, keys in {"language_model": (), "classifier": ("table",), "translator": ()}.items():
        with home.copy_of(runs[task]) as path, guarded(home):
            place = ("source", "description", *keys, "path")
            change_json(path / "config.json", *place, to=str(home.cache / "pipe"))
            with pytest.raises(SourceError, match=r"was a file when training began|is not a regular file"):
                ostinato.evaluate(path)
