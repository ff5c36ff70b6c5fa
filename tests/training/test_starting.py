"""Starting from the weights of another run, with symbols that it lacks."""

from pathlib import Path

import numpy as np
import pytest

import ostinato
from ostinato.errors import ConfigError, EncodingError
from ostinato.runs.directory import RunDirectory
from ostinato.runs.trained import TrainedRun
from ostinato.runs.weights import extended, to_arrays
from ostinato.tasks import registry
from ostinato.tasks.language_model import LanguageModelConfig
from ostinato.tasks.language_model.source import open_source
from ostinato.tasks.language_model.vocabulary import LanguageVocabulary
from ostinato.training.starting import Start

from ..ready import Ready

OLD, NEW = "the cat sat\n" * 20, "a dog? the cat sat!\n" * 20


def settings(**changes) -> LanguageModelConfig:
    return LanguageModelConfig(**({"units": 4, "seq_len": 8, "batch": 2, "cell": "gru"} | changes))


def trained(config, source) -> TrainedRun:
    """A run of drawn weights, which is on no disk."""
    ready = Ready(config, source)
    directory = RunDirectory(Path("old"), config.task, {}, {}, {}, ready.data.vocabulary)
    return TrainedRun(directory, ready.task, ready.drawn(), 7)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"embedding": 4, "tied": True},
        {"lines": True, "embedding": 3},
        {"encoder": "word", "seq_len": 4},
    ],
    ids=str,
)
def test_rows_of_old_symbols_stay_bit_for_bit_and_new_ones_begin_as_new(changes):
    config = settings(**changes)
    base = trained(config, [OLD])
    start, task = Start(base, True), registry.make(config)
    vocabulary = start.read(task, open_source([NEW]), None).vocabulary
    model = task.build(vocabulary)
    fresh, before = to_arrays(model), to_arrays(base.model)
    start.assign(model)
    assert start.notes == (
        "starting from the weights of old, step 7",
        "the vocabulary is extended by the new symbols of the source",
    )

    old, new = (LanguageVocabulary.from_json(each) for each in (base.directory.vocabulary, vocabulary))
    places = [new.encoder.symbols.index(symbol) for symbol in old.encoder.symbols]
    places += [new.start, new.end] if new.lines else []
    added = np.setdiff1d(np.arange(new.size), places)
    assert len(added) > 1
    for name, array in to_arrays(model).items():
        axes = [axis for axis in range(array.ndim) if array.shape[axis] == new.size]
        if not axes:
            np.testing.assert_array_equal(array, before[name])
            continue
        (axis,) = axes
        np.testing.assert_array_equal(np.take(array, places, axis), before[name])
        np.testing.assert_array_equal(np.take(array, added, axis), np.take(fresh[name], added, axis))


def test_without_it_an_error_names_the_flags_and_characters_can_be_dropped():
    config = settings()
    base, task = trained(config, [OLD]), registry.make(config)
    with pytest.raises(EncodingError) as caught:
        Start(base, False).read(task, open_source([NEW]), None)
    for part in ("does not fit the source", "'!', '?'", "unknown='drop'", "unknown='replace'"):
        assert part in str(caught.value)
    assert str(caught.value).endswith("; extend_vocabulary=True adds them")
    data = Start(base, False).read(task, open_source([NEW], unknown="drop"), None)
    assert data.vocabulary == base.directory.vocabulary
    with pytest.raises(ConfigError, match="extend_vocabulary=True extends that of another run"):
        Start(None, True)


def test_other_tasks_and_encoders_that_know_every_text_say_so():
    config = settings(encoder="byte")
    with pytest.raises(ConfigError, match="the byte encoder knows every text"):
        Start(trained(config, [OLD]), True).read(registry.make(config), open_source([NEW]), None)
    table = [("good day", "yes"), ("bad day", "no")] * 4
    config = ostinato.ClassifierConfig(units=2, embedding=2, validation_fraction=0.0)
    with pytest.raises(ConfigError, match="extend_vocabulary=True is for language models"):
        Start(trained(config, table), True).read(registry.make(config), table, None)


def test_weights_that_differ_in_more_than_symbols_are_left_as_they_are():
    model = registry.make(settings()).build({"name": "char", "normalize": "none", "symbols": ["a", "b", "c"]})
    larger = to_arrays(model)
    arrays = {name: np.ones(np.array(array.shape) + 1, np.float32) for name, array in larger.items()}
    arrays.pop("output/bias")
    found = extended(model, arrays, np.arange(2))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
