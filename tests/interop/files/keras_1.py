"""Writes models of Keras 1, as a whole and as JSON beside weights.

python tests/interop/files/keras_1.py keras [NAME ...]
"""

import os

import numpy as np
from storing import FOLDER, keras, pack, predict, store_arrays, write


def pair(name: str) -> None:
    layers, models = keras.layers, keras.models
    model = models.Sequential()
    model.add(layers.GRU(output_dim=3, input_dim=2, input_length=4, inner_activation="sigmoid"))
    model.add(layers.Dense(output_dim=1, init="uniform"))
    ids = np.random.normal(size=(3, 4, 2))
    with open(f"{FOLDER}/{name}.json", "w") as file:
        file.write(model.to_json())
    model.save_weights(f"{FOLDER}/{name}.hdf5")
    pack(f"{FOLDER}/{name}.hdf5")
    model.compile("sgd", "mse")
    model.save(f"{FOLDER}/{name}.h5")
    pack(f"{FOLDER}/{name}.h5")
    store_arrays(name, input=[ids], output=predict(model, [ids]))


if __name__ == "__main__":
    os.makedirs(FOLDER, exist_ok=True)
    write({"pair": pair})
