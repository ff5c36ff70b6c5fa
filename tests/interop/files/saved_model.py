"""Writes SavedModel folders, as archives.

python tests/interop/files/saved_model.py PACKAGE [NAME ...]
"""

import os
import shutil
import tarfile
import tempfile

from storing import FOLDER, RATE, fit, keras, padded_ids, predict, store_arrays, vectors, write

layers, models = keras.layers, keras.models


def store_folder(name: str, model: object, inputs: object, targets: object = None) -> None:
    """Writes `NAME.tar.xz` and the arrays beside it."""
    os.makedirs(FOLDER, exist_ok=True)
    if targets is not None:
        fit(model, [inputs], [targets])
    outputs = predict(model, [inputs])
    folder = tempfile.mkdtemp()
    model.save(os.path.join(folder, name), save_format="tf")
    with tarfile.open(os.path.join(FOLDER, name + ".tar.xz"), "w:xz", preset=9) as archive:
        archive.add(os.path.join(folder, name), name)
    shutil.rmtree(folder)
    store_arrays(name, input=[inputs], output=outputs)


def saved_sequential(name: str) -> None:
    stack = [
        layers.Embedding(12, 3, mask_zero=True, input_length=5),
        layers.LSTM(3, return_sequences=True),
        layers.GRU(2),
        layers.Dense(1),
    ]
    model = models.Sequential(stack)
    model.compile(keras.optimizers.Adam(**{RATE: 0.01}), "mse")
    store_folder(name, model, padded_ids(), vectors()[:, 0, :1])


def saved_functional(name: str) -> None:
    floats = layers.Input((5, 3))
    both = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(floats)
    store_folder(name, models.Model(floats, layers.SimpleRNN(2)(both)), vectors())


MAKERS = saved_sequential, saved_functional
if __name__ == "__main__":
    write({maker.__name__: maker for maker in MAKERS})
