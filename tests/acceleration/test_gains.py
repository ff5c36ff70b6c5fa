"""What a report measures: of each layer in both its forms, on the inputs that it gets in the model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.acceleration.calls import calls_of_layers
from ostinato.acceleration.inputs import make_batch
from ostinato.engines import native
from ostinato.errors import ConfigError

layers = keras.layers
SHORT = 0.01
pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")


def measured(model, *, batch=2, length=5, **options):
    return ostinato.report(model, batch=batch, length=length, seconds=SHORT, **options)


def inputs_of(found):
    return {row.layer: [gain.inputs for gain in row.gains] for row in found}


def test_every_layer_and_the_model_have_figures_that_agree_at_each_batch():
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            layers.SimpleRNN(4, return_sequences=True, name="first"),
            layers.GRU(2, name="last"),
        ]
    )
    before = [np.array(weight) for weight in model.variables]
    found = measured(model, batch=(1, 3))
    assert inputs_of(found) == {"first": ["1,5,3", "3,5,3"], "last": ["1,5,4", "3,5,4"]}
    assert [gain.inputs for gain in found.gains] == ["1,5,3", "3,5,3"]
    for gain in (gain for each in (*(row.gains for row in found), found.gains) for gain in each):
        assert gain.forward_ratio == gain.forward_keras_ms / gain.forward_ostinato_ms > 0
        assert gain.training_ratio == gain.training_keras_ms / gain.training_ostinato_ms > 0
        assert gain.runs >= gain.rounds >= 1
        assert gain.calls == 1
    assert [gain.batch for gain in found.gains] == [1, 3]
    assert {type(layer) for layer in model.layers} == {layers.SimpleRNN, layers.GRU}
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.thorough
def test_layers_in_wrappers_and_models_get_what_they_get_there():
    inputs = keras.Input((4, 6, 3))
    hidden = layers.TimeDistributed(layers.GRU(5, name="each"), name="times")(inputs)
    both = layers.Bidirectional(layers.LSTM(2, return_sequences=True, name="lstm"), name="both")(hidden)
    inner = keras.Sequential([keras.Input((None, 4)), layers.SimpleRNN(3, name="deep")], name="inner")
    found = measured(keras.Model(inputs, inner(both)))
    assert inputs_of(found) == {
        "times/each": ["2,6,3"],
        "both/forward_lstm": ["2,4,5"],
        "both/backward_lstm": ["2,4,5"],
        "inner/deep": ["2,4,4"],
    }
    [each] = found[0].gains
    assert each.calls == 4
    assert "times/each is called 4 times in a run" in str(found)


@pytest.mark.thorough
def test_a_shared_layer_gets_each_of_its_shapes():
    shared = layers.GRU(3, return_sequences=True, name="shared")
    long, short = keras.Input((7, 3)), keras.Input((5, 3))
    model = keras.Model([long, short], [shared(shared(long)), shared(short)])
    [row] = found = measured(model)
    [gain] = row.gains
    assert sorted(gain.inputs.split()) == ["2,5,3", "2,7,3"]
    assert gain.calls == 3
    assert found.gains[0].inputs == "2,7,3 2,5,3"


@pytest.mark.thorough
def test_masks_and_initial_states_are_made_up_too():
    ids, state = keras.Input((None,)), keras.Input((4,))
    hidden = layers.Embedding(5, 3, mask_zero=True)(ids)
    masked = layers.GRU(4, name="masked", return_sequences=True)(hidden)
    # Keras passes no mask where there are several tensors.
    outputs = layers.GRU(4, name="started")(masked, initial_state=state)
    model = keras.Model([ids, state], outputs)
    of = {name: model.get_layer(name) for name in ("masked", "started")}
    calls = calls_of_layers(model, of.values(), make_batch(model, 2, 5))
    specs = {name: [list(call.specs) for call in calls[id(layer)]] for name, layer in of.items()}
    assert specs == {
        "masked": [[((2, 5, 3), "float32"), ((2, 5), "bool")]],
        "started": [[((2, 5, 4), "float32"), ((2, 4), "float32")]],
    }
    assert not any("call" in vars(layer) for layer in of.values())
    assert all(row.gains[0].training_ratio > 0 for row in measured(model))


@pytest.mark.thorough
def test_an_accelerated_model_is_compared_with_keras_layers():
    stock = keras.Sequential([keras.Input((None, 3)), layers.LSTM(4), layers.Dense(1)])
    [row] = found = measured(ostinato.accelerate(stock))
    assert (row.engine, row.accelerated) == ("native", "native")
    assert row.gains[0].forward_ratio > 0
    assert "Measured at batch 2, with 5 steps" in str(found)


@pytest.mark.thorough
def test_a_layer_alone_and_a_model_of_ones_own_are_measured_as_they_were_built():
    layer = layers.LSTM(4, return_state=True, name="alone")
    layer(np.zeros((7, 6, 3), "float32"))
    [row] = found = measured(layer, batch=(1, 2))
    assert [gain.inputs for gain in row.gains] == ["1,6,3", "2,6,3"]
    assert found.gains is None

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.gru = layers.GRU(3, name="gru")

        def call(self, x):
            return self.gru(x)

    model = Own()
    model(np.zeros((7, 6, 3), "float32"))
    [row] = found = measured(model)
    assert [gain.inputs for gain in (*row.gains, *found.gains)] == ["2,6,3", "2,6,3"]


@pytest.mark.thorough
def test_a_model_that_fixes_its_batch_is_measured_once():
    model = keras.Sequential([keras.Input((4, 3), batch_size=3), layers.LSTM(4, stateful=True)])
    [row] = measured(model, batch=None, length=None)
    assert [gain.batch for gain in row.gains] == [3]


@pytest.mark.thorough
def test_a_model_that_needs_more_steps_than_usual_gets_them():
    model = keras.Sequential(
        [keras.Input((None, 3)), layers.Conv1D(2, 40), layers.LSTM(4, name="lstm"), layers.Dense(1)]
    )
    [row] = found = ostinato.report(model, batch=1, seconds=SHORT)
    assert row.gains[0].inputs == "1,61,2"
    assert "with 100 steps" in found.basis


class Odd(layers.Layer):
    def call(self, x):
        if x.shape[1] == 5:
            raise ValueError("five steps are one too few.")
        return x


class Unused(keras.Model):
    def __init__(self):
        super().__init__()
        self.used, self.unused = layers.GRU(3, name="used"), layers.GRU(3, name="unused")
        self.unused.build((None, None, 3))

    def call(self, x):
        return self.used(x)


def test_what_cannot_be_measured_says_why_in_a_sentence():
    found = measured(keras.Sequential([layers.LSTM(4)]))
    assert found.why_not == "the model has no weights yet; call it, or give it an Input"
    assert found[0].gains is None
    assert found[0].why_not == found.why_not
    assert f"The whole model was not measured: {found.why_not}." in str(found)
    assert found.basis == ""

    model = Unused()
    model(np.zeros((2, 5, 3), "float32"))
    used, unused = found = measured(model)
    assert used.gains
    assert (unused.gains, unused.why_not) == (None, "no run of the model calls it")
    assert "unused was not measured: no run of the model calls it." in str(found)


def test_a_model_that_does_not_run_gives_the_last_cause():
    inner = keras.Sequential([Odd(), layers.LSTM(4)])
    found = measured(keras.Sequential([keras.Input((None, 3)), inner]))
    assert found.why_not == "the model does not run on a made-up batch: five steps are one too few"
    assert found[0].why_not == found.why_not


def test_a_model_that_cannot_be_copied_says_so_and_without_measurement_nothing_is_copied(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), layers.LSTM(4)])
    model.kept = tf.train.CheckpointManager(tf.train.Checkpoint(), tmp_path, 1)
    found = measured(model)
    assert (
        "cannot be copied: it holds a CheckpointManager, which refers to variables by name" in found.why_not
    )
    assert found.gains is found[0].gains is None
    found = measured(model, measure=False)
    assert (found[0].gains, found[0].why_not, found.gains, found.why_not) == (None, "", None, "")


def test_a_frozen_model_has_no_training_and_what_would_not_change_no_gain():
    slow = layers.LSTM(4, activation="gelu", name="slow", return_sequences=True)
    model = keras.Sequential([keras.Input((None, 3)), slow, layers.LSTM(4, name="fast")])
    model.trainable = False
    slow_row, fast_row = found = measured(model)
    assert (slow_row.gains, slow_row.why_not) == (None, "it stays with Keras' own loop")
    assert found.gains[0].forward_ratio > 0
    assert found.gains[0].training_ratio is None
    assert "The whole model: training was not measured: it has no trainable weights." in str(found)
    assert fast_row.gains[0].training_ratio > 0  # for its inputs


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"batch": []}, r"batch must be at least 1, got \[\]"),
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"seconds": 0}, "seconds must be above 0, got 0"),
    ],
)
def test_sizes_below_one_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        ostinato.report(keras.Sequential([layers.LSTM(4)]), **options)
