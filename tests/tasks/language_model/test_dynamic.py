"""Dynamic evaluation: weights that adapt to the text while they read it."""

import numpy as np
import pytest

import ostinato
from ostinato.errors import ConfigError
from ostinato.runs import weights
from ostinato.tasks.language_model.dynamic import Adaptation


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a text whose validation part repeats one line that is rare in the training part."""
    place = tmp_path_factory.mktemp("dynamic")
    draw = np.random.default_rng(0)
    lines = ["".join(draw.choice(list("abcdefgh"), size=20)) for _ in range(300)]
    (place / "text.txt").write_text("\n".join(lines) + "\n" + "badcafe headed\n" * 60)
    return ostinato.train(
        ostinato.LanguageModelConfig(cell="gru", units=24, batch=8, seq_len=16, validation_fraction=0.1),
        place / "text.txt",
        training=ostinato.TrainingConfig(steps=60, learning_rate=0.01, evaluations=1),
        out=place / "run",
    )


def test_a_repeated_line_costs_less_and_the_weights_are_their_own_again(run):
    before = weights.to_arrays(run.model)
    found = ostinato.evaluate(run, dynamic=True)
    assert found["dynamic_loss"] < found["loss"] - 0.1
    assert found["dynamic_perplexity"] == pytest.approx(np.exp(found["dynamic_loss"]))
    for name, array in weights.to_arrays(run.model).items():
        np.testing.assert_array_equal(array, before[name])


def test_without_a_rate_it_is_the_static_evaluation(run):
    found = ostinato.evaluate(run, dynamic=True, dynamic_rate=0.0)
    assert found["dynamic_loss"] == pytest.approx(found["loss"], rel=1e-6)


def test_a_decay_of_one_holds_the_weights_near_to_where_they_were(run):
    free, held = (
        ostinato.evaluate(run, dynamic=True, dynamic_decay=decay)["dynamic_loss"] for decay in (0.0, 1.0)
    )
    static = ostinato.evaluate(run)["loss"]
    assert free < held < static


def test_another_source_is_read_with_the_sizes_of_the_training_text(run):
    found = ostinato.evaluate(run, ["badcafe headed\n" * 60], dynamic=True)
    assert found["dynamic_loss"] < found["loss"] - 0.1


def test_static_figures_do_not_change(run):
    static, both = ostinato.evaluate(run), ostinato.evaluate(run, dynamic=True)
    assert {name: both[name] for name in static} == static


@pytest.mark.parametrize("name", ["rate", "decay"])
def test_values_out_of_range_are_refused(run, name):
    with pytest.raises(ConfigError, match=rf"dynamic_{name} must be 0 to 1, got 2"):
        ostinato.evaluate(run, dynamic=True, **{f"dynamic_{name}": 2.0})
    with pytest.raises(ConfigError, match="dynamic_decay must be 0 to 1, got -1"):
        Adaptation(decay=-1.0).checked()


def test_other_options_are_refused(run):
    with pytest.raises(ConfigError, match="to which the option 'beam' means nothing"):
        ostinato.evaluate(run, beam=3)


def test_a_model_of_lines_is_refused(tmp_path):
    trained = ostinato.train(
        ostinato.LanguageModelConfig(lines=True, units=8, validation_fraction=0.2),
        ["anna\nbob\ncarl\ndora\nemil\nfritz\n" * 4],
        training=ostinato.TrainingConfig(steps=2),
        out=tmp_path / "run",
    )
    with pytest.raises(ConfigError, match="this model reads lines"):
        ostinato.evaluate(trained, dynamic=True)
