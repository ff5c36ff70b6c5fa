"""A run on disk becomes a task with a model again, or says what is wrong with it."""

import json
import shutil
import warnings

import numpy as np
import pytest

import ostinato
from ostinato.errors import ConfigError, EngineError, RunError, RunWarning
from ostinato.runs import checkpoints
from ostinato.runs.weights import to_arrays

from ..tiny import change


def test_the_best_and_the_last_checkpoint_load_as_they_were_saved(finished_run):
    best, last = ostinato.load(finished_run), ostinato.load(str(finished_run), checkpoint="last")
    assert last.step == 12
    for run in (best, last):
        saved = checkpoints.load(run.directory.checkpoints, run.step).groups["weights"]
        np.testing.assert_equal(to_arrays(run.model), saved)


def steps_of(run_path):
    return checkpoints.steps(run_path / "checkpoints")


def damage(run_path, step, name):
    file = checkpoints.path_of(run_path / "checkpoints", step) / name
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def test_an_older_checkpoint_in_place_of_a_damaged_one_is_told(run_path):
    older, newest = steps_of(run_path)[-2:]
    damage(run_path, newest, "weights.safetensors")
    with pytest.warns(
        RunWarning, match=rf"step-0*{newest} is damaged: .*; step {older} is used instead"
    ) as told:
        run = ostinato.load(run_path, checkpoint="last")
    assert run.step == older
    assert len(told) == 1
    damage(run_path, newest, "manifest.json")
    with pytest.warns(
        RunWarning, match=rf"damaged: .*; the best of the older ones, step {older}, is used instead"
    ):
        ostinato.load(run_path)


def test_reading_a_run_reads_only_the_weights_it_needs(run_path):
    steps = steps_of(run_path)
    best = json.loads(
        (checkpoints.path_of(run_path / "checkpoints", steps[-1]) / "manifest.json").read_text()
    )
    best = best["position"]["best_step"]
    for step in steps:
        for name in ("optimizer.safetensors", "state.safetensors"):
            (checkpoints.path_of(run_path / "checkpoints", step) / name).unlink()
        if step not in (best, steps[-1]):
            (checkpoints.path_of(run_path / "checkpoints", step) / "weights.safetensors").unlink()
    with warnings.catch_warnings(action="error"):
        assert ostinato.load(run_path).step == best
        assert ostinato.load(run_path, checkpoint="last").step == steps[-1]
        if best != steps[-1]:
            (checkpoints.path_of(run_path / "checkpoints", steps[-1]) / "weights.safetensors").unlink()
            assert ostinato.load(run_path).step == best


def test_a_loaded_run_is_evaluated_without_being_read_again(run_path):
    run = ostinato.load(run_path)
    source = ["the cat sat on a mat\n" * 5]
    expected = ostinato.evaluate(run_path, source)
    shutil.rmtree(run_path / "checkpoints")
    (run_path / "vocabulary.json").unlink()
    assert ostinato.evaluate(run, source) == expected


def test_a_loaded_run_writes_text_without_its_source(run_path, monkeypatch, tmp_path):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "nothing here"))
    run = ostinato.load(run_path)
    (text,) = run.generate(prompt="the ", length=20, seed=1)
    assert text.startswith("the ")
    assert len(text) == 24
    assert not (tmp_path / "nothing here").exists()


def test_a_loaded_run_can_be_moved(run_path, tmp_path):
    moved = run_path.rename(tmp_path / "elsewhere")
    assert ostinato.load(moved).generate(length=5, seed=1) == ostinato.load(moved).generate(length=5, seed=1)


@pytest.mark.parametrize(
    ("use", "arguments", "cannot"),
    [
        (
            "predict",
            [["a"]],
            "predict; ostinato train classify and ostinato train translate train runs that can",
        ),
        ("predictions", [["a"]], "predict"),
        ("attribute", [["a"]], "attribute"),
        ("attributions", [["a"]], "attribute"),
        ("align", ["a", "b"], "align"),
        ("neighbors", ["a"], ".*neighbors; ostinato train classify trains runs that can$"),
    ],
)
def test_a_use_that_the_task_does_not_have_is_refused_with_those_that_do(
    finished_run, use, arguments, cannot
):
    run = ostinato.load(finished_run)
    with pytest.raises(ConfigError, match=f"is a language_model run, which cannot {cannot}"):
        getattr(run, use)(*arguments)


def test_a_run_of_a_task_that_does_not_generate_says_so(tmp_path):
    rows = [("great", "+"), ("dull", "-")] * 5
    config = ostinato.ClassifierConfig(units=2, embedding=2, validation_fraction=0.0)
    training = ostinato.TrainingConfig(steps=1)
    run = ostinato.train(config, rows, training=training, out=tmp_path / "run")
    with pytest.raises(
        ConfigError,
        match="is a classifier run, which cannot generate; ostinato train lm and ostinato train music train "
        "runs that can",
    ):
        run.generate()


def test_an_option_that_the_use_does_not_take_is_refused_by_name(finished_run):
    run = ostinato.load(finished_run)
    message = "is a language_model run, to which the option 'beams' means nothing"
    with pytest.raises(ConfigError, match=message):
        run.generate(length=3, beams=5)


def test_explain_is_the_older_name_of_attribute(finished_run):
    run = ostinato.load(finished_run)
    asked = []

    class Attributing:
        def attributions(self, texts, *, steps=64):
            asked.append(([*texts], steps))
            yield "an attribution"

    vars(run)["use"] = Attributing()
    with pytest.warns(DeprecationWarning, match=r"run\.explain is now called run\.attribute") as told:
        assert run.explain(["a", "b"], steps=5) == ["an attribution"]
    assert told[0].filename == __file__
    assert run.attribute(["a", "b"], steps=5) == ["an attribution"]
    assert asked == [(["a", "b"], 5)] * 2


def test_a_checkpoint_is_the_best_or_the_last(finished_run):
    with pytest.raises(ConfigError, match="checkpoint must be 'best' or 'last', got 'newest'"):
        ostinato.load(finished_run, checkpoint="newest")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, "newer version"),
        ({"task": "painter"}, "unknown task 'painter'; this version has language_model"),
        ({"task_config": {"units": 0}}, r"config\.json is damaged: units must be 1 to 64 layers"),
        ({"task_config": {"colour": 1}}, r"config\.json is damaged: unknown setting 'colour'"),
        ({"task_config": {"units": [9]}}, "are another network's"),
        ({"task_config": {"units": [65536] * 8}}, "are another network's"),
        ({"task_config": {"self": 1}}, r"config\.json is damaged: unknown setting 'self'"),
        (
            {"task_config": {"engine": "scratch", "recurrent_dropout": 0.5}},
            "is damaged: its settings make no network: ",
        ),
    ],
)
def test_a_damaged_config_is_refused(run_path, changes, message):
    change(run_path, **changes)
    with pytest.raises(RunError, match=message):
        ostinato.load(run_path)


def test_a_wrong_environment_variable_is_no_damage(finished_run, monkeypatch):
    monkeypatch.setenv("OSTINATO_ENGINE", "fast")
    with pytest.raises(EngineError, match="OSTINATO_ENGINE must be 'keras' or 'auto', got 'fast'"):
        ostinato.load(finished_run)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ({}, "the vocabulary is damaged"),
        ({"name": "char", "normalize": "none", "symbols": ["b", "a"]}, "not in the order of code points"),
        ({"name": "char", "normalize": "none", "symbols": ["a", "b"]}, "are another network's"),
    ],
)
def test_a_damaged_vocabulary_is_refused(run_path, vocabulary, message):
    (run_path / "vocabulary.json").write_text(json.dumps(vocabulary))
    with pytest.raises(RunError, match=message):
        ostinato.load(run_path)


def test_a_damaged_checkpoint_is_refused_for_the_best_and_passed_over_for_the_last(run_path):
    best = ostinato.load(run_path).step
    steps = checkpoints.steps(run_path / "checkpoints")
    (run_path / "checkpoints" / f"step-{steps[-1]:09d}" / "weights.safetensors").write_bytes(b"no weights")
    assert best == steps[-1]
    assert ostinato.load(run_path, checkpoint="last").step == steps[-2]
    assert ostinato.load(run_path).step in steps[:-1]
