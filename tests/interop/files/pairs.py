"""Writes models in two files, `NAME.json` and their weights; and weights alone.

python tests/interop/files/pairs.py PACKAGE [NAME ...]
"""

import os

from storing import FOLDER, PACKAGE, keras, padded_ids, store_weights, vectors, write

layers, models = keras.layers, keras.models
# What people called the file of weights; Keras 3 insists on the last.
SUFFIX = {"keras": ".hdf5", "tensorflow.keras": ".h5", "tf_keras": ".weights.h5"}[PACKAGE]


def save_json(name: str, model: object) -> None:
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, name + ".json"), "w") as file:
        file.write(model.to_json())


def make_sequential() -> object:
    model = models.Sequential()
    model.add(layers.Embedding(12, 3, mask_zero=True, input_length=5, name="words"))
    model.add(layers.LSTM(4, return_sequences=True, name="first"))
    model.add(layers.Bidirectional(layers.GRU(2, name="gru"), name="second"))
    model.add(layers.Dense(2, activation="softmax", name="last"))
    return model


def pair_sequential(name: str) -> None:
    model = make_sequential()
    save_json(name, model)
    store_weights(name, model, padded_ids(), suffix=SUFFIX)


def pair_functional(name: str) -> None:
    source, target = layers.Input((5, 3)), layers.Input((5, 3))
    shared = layers.SimpleRNN(3, return_sequences=True)
    inner = models.Sequential([layers.LSTM(3, input_shape=(5, 3))])
    both = layers.concatenate([inner(shared(source)), layers.GRU(2)(shared(target))])
    model = models.Model([source, target], layers.Dense(2)(both))
    save_json(name, model)
    store_weights(name, model, [vectors(), vectors()], suffix=SUFFIX)


def weights_sequential(name: str) -> None:
    store_weights(name, make_sequential(), padded_ids())


MAKERS = pair_sequential, pair_functional, weights_sequential
if __name__ == "__main__":
    write({maker.__name__: maker for maker in MAKERS})
