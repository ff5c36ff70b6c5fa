"""Writes files of Keras 3: `.h5` and `.keras`, and JSON beside weights.

python tests/interop/files/keras_3.py keras [NAME ...]
"""

import pathlib

import numpy as np
from storing import FOLDER, keras, pack, padded_ids, predict, store, store_arrays, vectors, write

layers, Model, Sequential = keras.layers, keras.Model, keras.Sequential


def regression() -> keras.Model:
    return Sequential([keras.Input((5, 3)), layers.GRU(3), layers.Dense(1)])


def compiled_mse(name: str) -> None:
    """A loss by its short name, which an `.h5` file of Keras 3 keeps as it was."""
    model = regression()
    model.compile("adam", "mse", metrics=["mae"])
    store(name, model, vectors(), vectors()[:, 0, :1])


def compiled_schedule(name: str) -> None:
    rate = keras.optimizers.schedules.CosineDecay(0.1, 4)
    model = regression()
    model.compile(keras.optimizers.RMSprop(rate), keras.losses.Huber(), metrics=["mae"])
    store(name, model, vectors(), vectors()[:, 0, :1], suffix=".keras")


def lambdas(name: str) -> None:
    keras.config.enable_unsafe_deserialization()
    floats = keras.Input((5, 3))
    read = layers.Lambda(lambda x: x * 2.0)(layers.LSTM(3, return_sequences=True)(floats))
    model = Model(floats, layers.Lambda(lambda x: x[:, -1] + 1.0, output_shape=(3,))(read))
    store(name, model, vectors(), suffix=".keras")


def seq2seq(name: str) -> None:
    """States as further inputs; without padding, as this Keras loses the mask beside them."""
    source, target = keras.Input((None,)), keras.Input((None,))
    embedding = layers.Embedding(9, 3)
    states = layers.LSTM(3, return_state=True)(embedding(source))[1:]
    read = layers.LSTM(3, return_sequences=True)(embedding(target), initial_state=states)
    ids = [np.maximum(padded_ids(9), 1) for _ in range(2)]
    store(name, Model([source, target], layers.Dense(9, activation="softmax")(read)), ids, suffix=".keras")


def attention(name: str) -> None:
    """Beside masks; Keras 3.8 cannot compute it, and Keras 3.15 not read the file."""
    source, target = keras.Input((5,)), keras.Input((5,))
    words = layers.LSTM(3, return_sequences=True)(layers.Embedding(12, 3, mask_zero=True)(source))
    read = layers.GRU(3, return_sequences=True)(layers.Embedding(12, 3, mask_zero=True)(target))
    outputs = [layers.Attention()([read, words]), layers.AdditiveAttention()([read, words])]
    store(name, Model([source, target], outputs), [padded_ids(), padded_ids()[::-1]])


def pair(name: str) -> None:
    model = Sequential([keras.Input((5,)), layers.Embedding(12, 3, mask_zero=True)])
    model.add(layers.Bidirectional(layers.LSTM(2)))
    model.add(layers.Dense(2))
    path = pathlib.Path(FOLDER)
    path.mkdir(exist_ok=True)
    (path / f"{name}.json").write_text(model.to_json())
    model.save_weights(path / f"{name}.weights.h5")
    pack(str(path / f"{name}.weights.h5"))
    ids = padded_ids()
    store_arrays(name, input=[ids], output=predict(model, [ids]))


MAKERS = compiled_mse, compiled_schedule, lambdas, seq2seq, attention, pair
if __name__ == "__main__":
    write({maker.__name__: maker for maker in MAKERS})
