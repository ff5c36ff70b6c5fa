"""What a model gains: the figures are of that model, its inputs and its loss, and nothing is changed."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from ostinato.acceleration import timing
from ostinato.acceleration.accelerate import accelerate
from ostinato.acceleration.compare import compare, compare_batches
from ostinato.acceleration.inputs import make_inputs
from ostinato.engines import native
from ostinato.errors import ConfigError

from .. import forks
from ..variants import thorough

layers = keras.layers


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    """How exact a time is does not matter here."""
    monkeypatch.setattr(timing, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(timing, "RUNS", 3)


def small(*, features: int = 3, loss: str | None = None, kind=layers.SimpleRNN) -> keras.Model:
    """A model with a layer of a kind; of Keras' loops that of the SimpleRNN is traced the fastest."""
    model = keras.Sequential([keras.Input((None, features)), kind(4), layers.Dense(2, "softmax")])
    if loss is not None:
        model.compile("sgd", loss)
    return model


def quick(model, shapes=(), **options):
    return compare(model, shapes, **{"rounds": 1, "memory": False} | options)


def test_forward_figures_are_there_and_results_agree():
    figures = quick(small(kind=layers.LSTM), [(2, 5, 3)])
    assert (figures.model[:10], figures.inputs, figures.rounds) == ("sequential", "2,5,3", 1)
    assert figures.recurrent_layers == 1
    assert figures.forward_ratio == figures.forward_keras_ms / figures.forward_ostinato_ms > 0
    assert figures.output_difference < 1e-5
    assert figures.training_ratio is figures.gradient_difference is figures.loss is figures.memory_of is None
    assert (figures.native_layers, bool(figures.engine_note)) == (
        (1, False) if native.available() else (0, True)
    )


@pytest.mark.parametrize(
    "loss", ["sparse_categorical_crossentropy", thorough("categorical_crossentropy"), thorough("mse")]
)
def test_gradients_are_of_the_compiled_loss(loss):
    figures = quick(small(loss=loss, kind=layers.GRU), [(2, 5, 3)], training=True)
    assert figures.loss == loss
    assert figures.training_ratio == figures.training_keras_ms / figures.training_ostinato_ms > 0
    assert figures.gradient_difference < 1e-3


def test_every_figure_says_how_many_runs_stand_behind_it(monkeypatch):
    monkeypatch.setattr(timing, "RUNS", 10)
    figures = quick(small(), [(2, 5, 3)], training=True, rounds=3)
    for of_pass in ("forward_keras", "forward_ostinato", "training_keras", "training_ostinato"):
        assert getattr(figures, f"{of_pass}_runs") == 12  # at least ten, in three equal turns
        assert 0 < getattr(figures, f"{of_pass}_ms") <= getattr(figures, f"{of_pass}_p99_ms")
    monkeypatch.setattr(timing, "LONGEST_SECONDS", 0.0)
    assert quick(small(), [(2, 5, 3)], rounds=3).forward_keras_runs == 3


def test_several_batches_are_compared():
    told = []
    found = compare_batches(
        small(), [4, 1, 4], length=6, rounds=1, memory=False, on_progress=lambda *step: told.append(step)
    )
    assert [(each.batch, each.inputs) for each in found] == [(4, "4,6,3"), (1, "1,6,3")]
    for figures in found:
        assert figures.forward_ratio == figures.forward_keras_ms / figures.forward_ostinato_ms
        assert figures.output_difference < 1e-5
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert {total for _, _, total in told} == {told[-1][1]}
    with pytest.raises(ConfigError, match="batches and length must be at least 1"):
        compare_batches(small(), [0])


def test_a_model_that_fixes_its_batch_is_compared_once():
    model = keras.Sequential([keras.Input((4, 3), batch_size=2), layers.LSTM(4)])
    [figures] = compare_batches(model, rounds=1, memory=False)
    assert (figures.batch, figures.inputs) == (2, "2,4,3")


@pytest.mark.parametrize(
    ("values", "p50", "p99"),
    [
        ([7.0], 7, 7),
        ([1.0, 2.0], 1, 2),
        ([3.0, 1.0, 2.0], 2, 3),
        (range(100, 0, -1), 50, 99),
        (range(1, 102), 51, 100),
        (range(1, 201), 100, 198),
        (range(1, 100), 50, 99),
    ],
)
def test_percentiles_are_by_the_nearest_rank(values, p50, p99):
    assert timing.percentile(list(values), 50) == p50
    assert timing.percentile(list(values), 99) == p99
    assert timing.summarize(list(values)) == (1e3 * p50, 1e3 * p99, len(values))


def test_without_a_loss_gradients_are_of_the_mean_square():
    figures = quick(small(), [(2, 5, 3)], training=True)
    assert figures.loss == "mean square of the outputs"
    assert figures.gradient_difference < 1e-3


def test_both_drop_the_same_units_and_start_from_the_same_state():
    inputs = keras.Input((4, 3), batch_size=2)
    hidden = layers.GRU(4, stateful=True, return_sequences=True, recurrent_dropout=0.3)(inputs)
    hidden = layers.LSTM(4, dropout=0.4)(hidden)
    figures = quick(keras.Model(inputs, layers.Dropout(0.5)(hidden)), training=True)
    assert figures.inputs == "2,4,3"
    assert figures.recurrent_layers == 2
    assert figures.output_difference < 1e-5
    assert figures.gradient_difference < 1e-3


def test_an_accelerated_model_is_compared_with_keras_own_layers_and_is_not_changed():
    model = accelerate(small(loss="mse"))
    before = [np.array(variable) for variable in model.variables]
    figures = quick(model, [(2, 5, 3)], training=True)
    assert figures.recurrent_layers == 1
    assert type(model.layers[0]).__module__.startswith("ostinato.")
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_layer_the_native_engine_lacks_is_told_with_its_reason():
    model = keras.Sequential([keras.Input((4, 3)), layers.LSTM(4, activation="gelu")])
    figures = quick(model)
    assert figures.native_layers == 0
    assert figures.engine_note


AS_A_MODULE = """
import runpy, sys
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def forked(monkeypatch):
    """Processes of a module are forks, which need not import TensorFlow."""

    def run(command, **_):
        _, option, *arguments = command
        assert option == "-m"
        return forks.run("-c", AS_A_MODULE, *arguments)

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured on Linux only")
@pytest.mark.parametrize("processes", ["forked", thorough("new")])
def test_memory_is_that_of_processes_of_their_own(processes, request):
    if processes == "forked":
        request.getfixturevalue("forked")
    figures, of_one = compare_batches(small(), [2, 1], length=5, rounds=1)
    assert (figures.memory_of, figures.memory_note) == ("forward", "")
    assert (of_one.memory_of, of_one.keras_peak_mib) == (None, None)  # only of the largest batch
    for extra, peak in (
        (figures.keras_extra_mib, figures.keras_peak_mib),
        (figures.ostinato_extra_mib, figures.ostinato_peak_mib),
    ):
        assert 0 <= extra < peak
        assert peak > 100  # TensorFlow alone


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured on Linux only")
def test_a_model_no_other_process_can_load_has_a_note_in_place_of_memory(forked):
    class Here(layers.Layer):
        def call(self, x):
            return x

    model = keras.Sequential([keras.Input((None, 3)), layers.SimpleRNN(4), Here()])
    figures = quick(model, [(2, 5, 3)], memory=True)
    assert figures.memory_of is figures.keras_peak_mib is None
    assert figures.memory_note.startswith("memory could not be measured in a process of its own: ")


def test_open_sizes_are_a_batch_of_32_and_100_steps():
    assert make_inputs(small())[0].shape == (32, 100, 3)


def test_inputs_are_the_same_each_time():
    first, second = (make_inputs(small(), [(2, 5, 3)])[0].numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_ids_are_below_the_vocabulary_and_never_padding():
    words, tags = keras.Input((None,)), keras.Input((None,), dtype="int32")
    inner = keras.Sequential([keras.Input((None,), dtype="int32"), layers.Embedding(3, 2)])
    hidden = layers.Concatenate()([layers.Embedding(5, 2, mask_zero=True)(words), inner(tags)])
    model = keras.Model([words, tags], layers.GRU(4)(hidden))
    of_words, of_tags = (array.numpy() for array in make_inputs(model, [(20, 9), (20, 9)]))
    assert set(of_words.ravel()) == {1, 2, 3, 4}
    assert set(of_tags.ravel()) == {0, 1, 2}
    figures = quick(model, [(2, 9), (2, 9)], training=True)
    assert figures.inputs == "2,9 2,9"
    assert figures.gradient_difference < 1e-3


def test_inputs_with_names_and_outputs_with_losses_of_their_own():
    inputs = {"b": keras.Input((None, 3), name="b"), "a": keras.Input((2,), name="a")}
    hidden = layers.Concatenate()([layers.LSTM(4)(inputs["b"]), inputs["a"]])
    model = keras.Model(inputs, {"p": layers.Dense(3, "softmax")(hidden), "q": layers.Dense(1)(hidden)})
    model.compile("sgd", {"p": "sparse_categorical_crossentropy", "q": "mse"})
    figures = quick(model, [(2, 2), (2, 5, 3)], training=True)
    assert figures.loss == "sparse_categorical_crossentropy + mse"
    assert figures.gradient_difference < 1e-3


def test_progress_goes_from_nothing_to_everything():
    told = []
    compare(
        small(),
        [(2, 5, 3)],
        rounds=2,
        training=True,
        memory=False,
        on_progress=lambda *step: told.append(step),
    )
    assert [done for _, done, _ in told] == list(range(6))
    assert {total for _, _, total in told} == {5}


@keras.saving.register_keras_serializable(package="tests")
class Written(keras.Model):
    """A model that does not say what it reads."""

    def __init__(self, **options):
        super().__init__(**options)
        self.embed, self.read = layers.Embedding(5, 3), layers.LSTM(4)

    def call(self, ids):
        return self.read(self.embed(ids))


def test_a_model_that_declares_no_inputs_needs_their_shape():
    with pytest.raises(ConfigError, match="does not say what shape its input has"):
        quick(Written())
    figures = quick(Written(), [(2, 5)], training=True)
    assert figures.output_difference < 1e-5
    assert figures.gradient_difference < 1e-3


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ([(2, 5, 4)], "2,5,4 does not fit the input"),
        ([(2, 5)], "is any,any,3"),
        ([(2, 5, 3), (2, 5, 3)], "has 1 input"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes, says):
    with pytest.raises(ConfigError, match=says):
        quick(small(), shapes)


def test_a_model_that_fails_on_such_inputs_is_one_sentence():
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            layers.LSTM(4, return_sequences=True),
            layers.Reshape((20,)),
            layers.Dense(1),
        ]
    )
    with pytest.raises(ConfigError, match="does not run on inputs of shape 2,6,3: ") as refused:
        quick(model, [(2, 6, 3)])
    assert "\n" not in str(refused.value)


def test_there_must_be_something_to_accelerate_and_to_train():
    with pytest.raises(ConfigError, match="no SimpleRNN, GRU or LSTM layer"):
        quick(keras.Sequential([keras.Input((3,)), layers.Dense(1)], name="plain"))
    frozen = small()
    frozen.trainable = False
    with pytest.raises(ConfigError, match="no trainable weights"):
        quick(frozen, [(2, 5, 3)], training=True)
    with pytest.raises(ConfigError, match="rounds must be at least 1, got 0"):
        quick(small(), rounds=0)


def test_a_model_with_adapted_statistics_is_measured_with_them():
    norm = keras.layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(7.0, 2.0, (64, 5, 3)))
    model = keras.Sequential([keras.Input((5, 3)), norm, keras.layers.LSTM(4)])
    assert compare(model, [(2, 5, 3)], rounds=1, memory=False).output_difference < 1e-5


def test_texts_are_made_up_of_the_models_words():
    words = keras.layers.TextVectorization()
    words.adapt(["one two", "three"])
    model = keras.Sequential(
        [keras.Input((1,), dtype="string"), words, keras.layers.Embedding(6, 2), keras.layers.GRU(2)]
    )
    (texts,) = make_inputs(model)
    assert {word for text in texts.numpy().flat for word in text.decode().split()} <= {
        "one",
        "two",
        "three",
        "[UNK]",
    }
    assert compare(model, rounds=1, memory=False).recurrent_layers == 1
