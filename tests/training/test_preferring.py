"""The last checkpoint is preferred to that of the lowest loss where its answers are better."""

import numpy as np
import pytest

import ostinato
from ostinato.data.sources.pairs import open_pairs
from ostinato.runs import checkpoints
from ostinato.runs.checkpoints import Checkpoint
from ostinato.tasks.abilities import Quality
from ostinato.tasks.translator import TranslatorConfig
from ostinato.tasks.translator.answers import Answers
from ostinato.training.config import TrainingConfig
from ostinato.training.evaluation import prefer_at_end
from ostinato.training.events import Notice

from ..tasks.translator.numbers import PAIRS


@pytest.fixture
def overfitted(tmp_path):
    """A run whose lowest loss is that of the checkpoint before the last; and its data."""
    config = TranslatorConfig(units=(5,), embedding=6, batch=16, validation_fraction=0.2)
    training = TrainingConfig(epochs=2, evaluations=2, averaging=0.1)
    run = ostinato.train(config, PAIRS, training=training, out=tmp_path / "run")
    folder = run.directory.checkpoints
    first, last = checkpoints.steps(folder)
    position = checkpoints.load(folder, last, ()).position | {"best_step": first}
    checkpoints.save(folder, Checkpoint(last, position, {}))
    return ostinato.load(run.directory.path), run.task.read(open_pairs(PAIRS)), (first, last)


def ranked(monkeypatch, *values):
    values = iter(values)
    monkeypatch.setattr(Answers, "quality", lambda *_: Quality("BLEU", next(values)))


def test_the_last_one_is_the_best_from_then_on_if_its_answers_are_better(overfitted, monkeypatch):
    run, data, (first, last) = overfitted
    assert run.step == first
    ranked(monkeypatch, 20.0, 20.5)
    preferred, sentence = prefer_at_end(run, data)
    assert sentence == (
        "the last checkpoint is kept as the best: on the validation part "
        f"step {last:,} has a BLEU of 20.5, step {first:,} one of 20"
    )
    wanted = run.directory.weights("last")
    assert preferred.step == last
    for loaded in (preferred, ostinato.load(run.directory.path)):
        assert loaded.step == last
        for weight in loaded.model.weights:
            name = weight.path.removeprefix("translator/")
            np.testing.assert_array_equal(weight.numpy(), wanted.groups["weights"][name])
    assert prefer_at_end(preferred, data)[1] is None  # it is the best already; nothing is measured


@pytest.mark.parametrize("value", [20.0, 19.0])
def test_that_of_the_lowest_loss_stays_if_the_last_one_is_not_better(overfitted, monkeypatch, value):
    run, data, (first, _) = overfitted
    before = [weight.numpy() for weight in run.model.weights]
    ranked(monkeypatch, 20.0, value)
    kept, sentence = prefer_at_end(run, data)
    assert (kept.step, sentence, ostinato.load(run.directory.path).step) == (first, None, first)
    for weight, array in zip(kept.model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), array)


def test_an_added_budget_begins_with_the_lowest_loss_again(overfitted, monkeypatch):
    run, data, (_, last) = overfitted
    ranked(monkeypatch, 1.0, 2.0, 3.0, 2.0)
    prefer_at_end(run, data)
    assert run.directory.newest_checkpoint(())[0].position["preferred"]
    went_on = ostinato.resume(run.directory.path, epochs=3)
    newest, _ = went_on.directory.newest_checkpoint(())
    assert newest.step > last
    assert not newest.position["preferred"]


def test_a_training_says_what_it_prefers(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        "ostinato.training.run.prefer_at_end", lambda run, data: (run, "the last checkpoint is kept")
    )
    config = TranslatorConfig(units=(3,), embedding=4, batch=16, validation_fraction=0.2)
    ostinato.train(
        config, PAIRS, training=TrainingConfig(epochs=1), out=tmp_path / "run", on_event=said.append
    )
    assert Notice("the last checkpoint is kept") in said


def test_the_quality_of_a_translator_is_that_of_its_translations(tmp_path):
    config = TranslatorConfig(units=(5,), embedding=6, batch=16, validation_fraction=0.2)
    run = ostinato.train(config, PAIRS, training=TrainingConfig(epochs=1), out=tmp_path / "run")
    data = run.task.read(open_pairs(PAIRS))
    measure, value = run.use.quality(data, "validation")
    assert measure == "BLEU"
    assert 0 <= value <= 100
    words = [(source.split()[0], target.split()[0]) for source, target in PAIRS]
    run = ostinato.train(config, words, training=TrainingConfig(epochs=1), out=tmp_path / "words")
    assert run.use.quality(run.task.read(open_pairs(words)), "validation").measure == "share of exact matches"
