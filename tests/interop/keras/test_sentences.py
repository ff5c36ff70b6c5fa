"""The last of the errors that Keras and TensorFlow report in one another is the one that is told."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato.interop.keras.sentences import class_name, describe_error
from ostinato.wording import shortened

layers = keras.layers


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(layers.Layer):
    """A layer whose arguments lack what `get_config` gives."""

    def __init__(self, units):
        super().__init__()
        self.units = units

    def call(self, x):
        return x

    def get_config(self):
        return {"units": self.units, "trainable": True}


@keras.saving.register_keras_serializable(package="tests")
class Around(layers.Layer):
    def __init__(self, inner, **options):
        super().__init__(**options)
        self.inner = keras.saving.deserialize_keras_object(inner) if isinstance(inner, dict) else inner

    def call(self, x):
        return self.inner(x)

    def get_config(self):
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}


class Wrong(layers.Layer):
    """A layer whose error another one caused."""

    def call(self, x):
        try:
            raise KeyError("deep")
        except KeyError as error:
            raise ValueError("the layer needs a key.") from error


def told(run) -> str:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - any error, whose sentence is what is tested
        run()
    return describe_error(raised.value)


@pytest.mark.parametrize("depth", [0, 2])
def test_an_argument_that_a_class_does_not_take_is_named_however_deep_it_stands(depth, tmp_path):
    layer = Forgetful(3)
    for _ in range(depth):
        layer = Around(layer)
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((None, 3)), layer, layers.LSTM(2)]).save(path)
    assert told(lambda: keras.models.load_model(path)) == (
        "Forgetful.__init__() got an unexpected keyword argument 'trainable'"
    )


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (Wrong(), "the layer needs a key"),
        (
            layers.Reshape((20,)),
            "The total size of the tensor must be unchanged. "
            "Received: input_shape=(6, 3), target_shape=(20,)",
        ),
        (layers.Layer(), "Layer Layer does not have a `call` method implemented"),
    ],
)
def test_the_error_of_a_call_is_told_without_what_keras_adds(wrap, layer, sentence):
    model = keras.Sequential([keras.Sequential([layer])])
    assert told(lambda: wrap(lambda x: model(x))(np.zeros((2, 6, 3), "float32"))) == sentence


def test_an_error_of_a_running_graph_is_told_without_its_places():
    model = keras.Sequential([layers.Embedding(3, 2), layers.LSTM(2)])
    sentence = "indices[0,0] = 7 is not in [0, 3)"
    ids = np.array([[7]])
    assert told(lambda: model(ids)) == sentence
    assert told(lambda: tf.function(lambda x: model(x))(tf.constant(ids))) == sentence
    model.compile("sgd", "mse", jit_compile=False)
    assert told(lambda: model.fit(ids, np.zeros((1, 2)), verbose=0)) == sentence


def test_a_class_that_nobody_registered_is_told_without_its_configuration():
    config = keras.saving.serialize_keras_object(layers.Dense(2)) | {"class_name": "Nope", "module": "nope"}
    sentence = told(lambda: keras.saving.deserialize_keras_object(config))
    assert sentence.startswith("Could not locate class 'Nope'. ")
    assert "config" not in sentence


def test_a_cause_is_told_where_the_error_itself_only_wraps_it():
    inner = ValueError("units must be positive")
    outer = TypeError("Sequential 'm' cannot be copied")
    outer.__cause__ = inner
    assert describe_error(outer) == "units must be positive"
    empty = RuntimeError("")
    empty.__cause__ = outer
    assert describe_error(empty) == "units must be positive"
    assert describe_error(AssertionError()) == "AssertionError"


def test_optimizers_and_variables_have_the_names_that_people_know():
    adam = keras.optimizers.AdamW(name="adam_3")
    assert describe_error(ValueError(f"no state for {adam!r}")) == "no state for AdamW"
    assert describe_error(ValueError(f"{type(adam)} failed")) == "AdamW failed"
    assert describe_error(ValueError("Skipped the optimizer 'adam_3'.")) == "Skipped the optimizer Adam"
    assert describe_error(ValueError("the optimizer 'mine_3'")) == "the optimizer 'mine_3'"
    variable = keras.Variable(np.ones((30, 30)), name="kernel")
    assert describe_error(ValueError(f"Unknown: {variable!r}")) == "Unknown: kernel"
    assert class_name(type(adam)) == "AdamW"
    assert class_name(Wrong).endswith("test_sentences.Wrong")


def test_a_long_message_is_cut_between_words_and_never_within_a_name():
    sentence = describe_error(ValueError("a layer/with/a/long/path " * 40))
    assert sentence.endswith("layer/with/a/long/path…")
    assert len(sentence) <= 401
    assert shortened("the layer 'of two words' is wrong", 18) == "the layer…"
    assert shortened("x" * 1000, 10) == "x" * 20 + "…"
    assert shortened("all of it", 9) == "all of it"


def test_what_cannot_be_printed_is_escaped():
    assert describe_error(ValueError("a\x07b")) == r"a\x07b"
