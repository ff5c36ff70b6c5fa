"""What an evaluation measures of a part or of another source; what more a task finds is drawn."""

import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.cells.base import initial_state
from ostinato.data.encoders.registry import encoder_from_json
from ostinato.errors import ConfigError, EncodingError, RunError, SourceError
from ostinato.tasks.base import as_figures
from ostinato.tasks.language_model import LanguageModelConfig
from ostinato.training.evaluation import Evaluator, evaluate_in_detail

from ..ready import Ready
from ..tiny import made_once, text
from .scripted import Script, Scripted


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_an_evaluation_of_a_whole_text_equals_one_pass_over_all_its_tokens(cell):
    config = LanguageModelConfig(cell=cell, units=8, seq_len=8, batch=4)
    ready = Ready(config, [text(90)])
    whole = Ready(config, [text(90)], vocabulary=ready.data.vocabulary, whole=True)
    model = ready.drawn()
    metrics, weight = Evaluator(ready.task, model)(whole.data.in_order("train"))
    figures = as_figures(metrics)

    ids = ready.data.encoder.encode(text(90)).astype(np.int32)
    assert len(ids) > 2500  # three windows of evaluation, the last one ragged
    pass_over = tf.function(lambda tokens, state: model(tokens, state))
    logits, _ = pass_over(tf.constant(ids[np.newaxis, :-1]), initial_state(ready.task.states(model), 1))
    scores = logits[0].numpy().astype(np.float64)
    nats = np.log(np.exp(scores).sum(-1)) - scores[np.arange(len(ids) - 1), ids[1:]]
    assert weight == len(ids) - 1
    assert figures["loss"] == pytest.approx(nats.mean(), rel=1e-5)
    assert figures["perplexity"] == pytest.approx(np.exp(nats.mean()), rel=1e-5)
    assert figures["bits_per_character"] == pytest.approx(nats.mean() / np.log(2), rel=1e-5)


def test_an_evaluation_tells_how_far_it_is_and_how_long_it_took():
    ready, told = Ready(LanguageModelConfig(units=8, seq_len=8, batch=4), [text()]), []
    evaluate, part = Evaluator(ready.task, ready.build()), ready.part("validation")
    evaluate(part, lambda done, total: told.append((done, total)))
    assert told == [(number + 1, part.steps) for number in range(part.steps)]
    assert len(told) > 1
    assert evaluate.seconds > 0


def test_an_evaluation_that_is_stopped_finds_nothing():
    task, script = Scripted(), Script([2.0, 1.0])
    evaluate = Evaluator(task, task.build({}))
    asked = iter([True])
    assert evaluate.unless_stopped(script.part("validation"), lambda: next(asked)) is None
    metrics, weight = evaluate.unless_stopped(script.part("validation"), lambda: False)
    assert (as_figures(metrics), weight) == ({"loss": 1.0, "other": 1.0}, 1.0)


# Of runs.


def test_an_evaluation_equals_one_pass_over_the_part_or_the_source(whole_run, text_file):
    run = ostinato.load(whole_run)
    encoder = encoder_from_json(run.directory.vocabulary)
    ids = encoder.encode(text_file.read_text()).astype(np.int32)
    pass_over = tf.function(lambda tokens, state: run.model(tokens, state), reduce_retracing=True)

    def by_hand(ids):
        logits, _ = pass_over(tf.constant(ids[np.newaxis, :-1]), initial_state(run.task.states(run.model), 1))
        scores = logits[0].numpy().astype(np.float64)
        nats = np.log(np.exp(scores).sum(-1)) - scores[np.arange(len(ids) - 1), ids[1:]]
        return {
            "loss": pytest.approx(nats.mean(), rel=1e-5),
            "perplexity": pytest.approx(np.exp(nats.mean()), rel=1e-5),
            "bits_per_character": pytest.approx(nats.mean() / np.log(2), rel=1e-5),
            "tokens": len(ids) - 1,
        }

    border = len(ids) - round(len(ids) * 0.1)
    assert ostinato.evaluate(whole_run) == by_hand(ids[border:])
    assert ostinato.evaluate(whole_run, split="train") == by_hand(ids[:border])
    assert ostinato.evaluate(whole_run, text_file) == by_hand(ids)
    assert ostinato.evaluate(whole_run, ["the cat"]) == by_hand(encoder.encode("the cat"))


def test_an_evaluation_of_nothing_or_of_strangers_is_refused(whole_run):
    with pytest.raises(RunError, match="kept no test part; evaluate another"):
        ostinato.evaluate(whole_run, split="test")
    with pytest.raises(SourceError, match="too short"):
        ostinato.evaluate(whole_run, ["t"])
    with pytest.raises(EncodingError, match="'☃'"):
        ostinato.evaluate(whole_run, ["the ☃"])


def test_a_loaded_run_and_its_path_are_evaluated_alike(whole_run):
    assert ostinato.evaluate(ostinato.load(whole_run)) == ostinato.evaluate(whole_run)


def test_what_the_task_does_not_take_is_refused(whole_run):
    with pytest.raises(
        ConfigError, match="is a language_model run, to which the option 'beam' means nothing"
    ):
        ostinato.evaluate(whole_run, beam=3)


def test_a_task_with_figures_only_has_no_more_in_detail(whole_run):
    assert evaluate_in_detail(whole_run) == ("validation", ostinato.evaluate(whole_run), ())


@pytest.fixture(scope="module")
def classifier_run(tmp_path_factory):
    """The path of a run with a validation part and a test part."""
    rows = [(f"{word} {n}", label) for n in range(20) for word, label in (("great", "+"), ("dull", "-"))]

    def make(place):
        config = ostinato.ClassifierConfig(units=4, embedding=3, batch=8, test_fraction=0.2)
        training = ostinato.TrainingConfig(steps=3, evaluations=1)
        ostinato.train(config, rows, training=training, out=place / "run")
        (place / "rows.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))

    return made_once(tmp_path_factory, "a classifier to evaluate", make) / "run"


def test_an_evaluation_in_detail_has_the_figures_of_evaluate_and_is_drawn_unless_of_another_source(
    classifier_run, monkeypatch
):
    monkeypatch.setenv("OSTINATO_CACHE", str(classifier_run.parent / "cache"))
    drawn = {path.name for path in (classifier_run / "report").iterdir()}
    table = classifier_run.parent / "rows.csv"
    of_table = evaluate_in_detail(classifier_run, table)
    assert of_table.figures == ostinato.evaluate(classifier_run, table)
    assert of_table.figures["examples"] == 40
    assert {path.name for path in (classifier_run / "report").iterdir()} == drawn
    of_test = evaluate_in_detail(classifier_run)
    assert of_test.part == "test"
    assert of_test.figures == ostinato.evaluate(classifier_run, split="test")
    new = {path.name for path in (classifier_run / "report").iterdir()} - drawn
    assert new == {f"{kind}-test.png" for kind in ("confusion", "reliability", "roc")}
