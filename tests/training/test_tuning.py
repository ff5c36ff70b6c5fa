"""The search for settings: which trials survive, what is drawn, and going on after it was stopped."""

import pytest

import ostinato
from ostinato.errors import ConfigError, RunError
from ostinato.tasks.language_model.config import LanguageModelConfig
from ostinato.training import tuning
from ostinato.training.config import TrainingConfig
from ostinato.training.tuning import (
    ROUNDS,
    Search,
    Trial,
    begin,
    best_settings,
    description,
    rows,
    run_search,
)

FREE = {*LanguageModelConfig.model_fields, *TrainingConfig.model_fields} - {"cell", "seq_len", "batch"}
CONFIG = LanguageModelConfig(cell="rnn", seq_len=16, batch=4, units=16)


def searched(folder, *results, better="lower") -> Search:
    """A search with these results of its trials."""
    trials = [Trial({}, list(each)) for each in results]
    return Search(folder, "language_model", 1.0, 0, {}, {}, [], "loss", better, trials)


def test_the_better_third_survives_each_round(tmp_path):
    first = [[float(n)] for n in (8, 3, 5, 1, 9, 2, 7, 6, 4)]
    search = searched(tmp_path, *first)
    assert search.survivors(0) == list(range(9))
    assert search.survivors(1) == [3, 5, 1]
    for number, result in zip((3, 5, 1), (2.5, 1.5, 3.5), strict=True):
        search.trials[number].results.append(result)
    assert search.survivors(2) == [5]
    search.trials[5].results.append(1.0)
    assert search.best == 5


def test_higher_may_be_better_and_a_training_that_diverged_does_not_survive(tmp_path):
    search = searched(tmp_path, *([float(n)] for n in range(8)), [None], better="higher")
    assert search.survivors(1) == [7, 6, 5]


@pytest.fixture(scope="module")
def done(text_file, tmp_path_factory):
    """A whole search, and the sentences it said."""
    folder, told = tmp_path_factory.mktemp("search") / "tune", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "_SHORTEST", 0.05)
        search = begin(folder, CONFIG, TrainingConfig(evaluations=1), FREE - {"units"}, minutes=0.1, seed=3)
        run_search(search, text_file, told.append)
    return search, [event.sentence for event in told if hasattr(event, "sentence")]


def test_nine_settings_are_tried_the_first_of_them_without_a_search(done):
    search, told = done
    assert [len(trial.results) for trial in search.trials].count(1) == 6
    assert sorted(len(trial.results) for trial in search.trials)[-3:] == [2, 2, 3]
    assert search.trials[0].settings == {}
    assert all({*trial.settings} == {"learning_rate", "output_dropout"} for trial in search.trials[1:])
    assert len({trial.settings["learning_rate"] for trial in search.trials[1:]}) > 5
    assert len(told) == 13
    assert told[0].endswith("the settings of a training without a search")
    assert told[-1].startswith("round 3 of 3, training 1 of 1, ")


def test_the_winner_is_a_recipe_without_a_budget(done):
    search, _ = done
    config, training = best_settings(search)
    assert isinstance(config, LanguageModelConfig)
    assert (config.cell, config.units, config.seq_len) == ("rnn", (16,), 16)
    assert training.minutes is None
    settings = config.model_dump() | training.model_dump()
    for name, value in search.trials[search.best].settings.items():
        assert settings[name] == value
    assert description(search).startswith("the best of 9 settings that were tried in 0.1 minutes: loss ")


def test_what_was_tried_is_told_the_best_first(done):
    search, _ = done
    table = rows(search)
    assert len(table) == 9
    assert table[0][f"round {ROUNDS}"] == search.trials[search.best].results[-1]
    assert [row for row in table if row["round 2"] is not None] == table[:3]


def test_a_search_that_is_over_trains_no_more(done, text_file):
    search, _ = done
    again = Search.open(search.folder)
    assert again == search
    told = []
    run_search(again, again.source, told.append)
    assert told == []


def test_a_search_that_was_stopped_goes_on_where_it_was(text_file, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "_SHORTEST", 0.05)
    search = begin(tmp_path / "tune", CONFIG, TrainingConfig(evaluations=1), FREE, minutes=0.1)
    trained, real = [], tuning.train

    def train(*arguments, **options):
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append(options["out"].name)
        return real(*arguments, **options)

    monkeypatch.setattr(tuning, "train", train)
    with pytest.raises(KeyboardInterrupt):
        run_search(search, text_file)
    again = Search.open(tmp_path / "tune")
    assert [len(trial.results) for trial in again.trials] == [1, 1, 1, 1, 0, 0, 0, 0, 0]
    drawn = [trial.settings for trial in again.trials]
    monkeypatch.setattr(tuning, "train", lambda *a, **o: (trained.append(o["out"].name), real(*a, **o))[1])
    run_search(again, again.source)
    assert [trial.settings for trial in again.trials] == drawn
    assert len(trained) == len({*trained}) == 13


def test_a_budget_too_short_for_anything_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"minutes must be at least 1\.35, which gives the shortest of 9"):
        begin(tmp_path / "tune", CONFIG, TrainingConfig(), FREE, minutes=0.5)
    assert not (tmp_path / "tune").exists()


def test_a_search_with_nothing_to_search_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is nothing to search"):
        begin(tmp_path / "tune", CONFIG, TrainingConfig(), {"batch"}, minutes=60)


def test_a_folder_that_is_taken_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is not empty; resume the search in it"):
        begin(tmp_path, CONFIG, TrainingConfig(), FREE, minutes=60)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "ostinato search", "trials": [1]}'])
def test_a_damaged_search_is_refused(tmp_path, content):
    with pytest.raises(RunError, match="is not a search: it has no search"):
        Search.open(tmp_path)
    (tmp_path / "search.json").write_text(content)
    with pytest.raises(RunError, match=r"damaged|JSON"):
        Search.open(tmp_path)


def test_a_search_needs_a_validation_part(text_file, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "_SHORTEST", 0.05)
    config = CONFIG.model_copy(update={"validation_fraction": 0.0})
    search = begin(tmp_path / "tune", config, TrainingConfig(), FREE, minutes=0.1)
    with pytest.raises(ConfigError, match="compares trainings on a validation part"):
        run_search(search, text_file)


def test_a_recipe_of_a_search_trains(done, text_file, tmp_path):
    config, training = best_settings(done[0])
    run = ostinato.train(
        config, text_file, training=training.model_copy(update={"steps": 2}), out=tmp_path / "run"
    )
    assert run.directory.task_config["units"] == [16]
