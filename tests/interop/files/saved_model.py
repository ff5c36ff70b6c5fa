"""Writes a SavedModel folder, as an archive.

python tests/interop/files/saved_model.py PACKAGE
"""

import os
import shutil
import tarfile
import tempfile

from storing import FOLDER, keras, predict, store_arrays, vectors, write

layers, models = keras.layers, keras.models


def store_folder(name: str, model: object, inputs: object) -> None:
    """Writes `NAME.tar.xz` and the arrays beside it."""
    os.makedirs(FOLDER, exist_ok=True)
    outputs = predict(model, [inputs])
    folder = tempfile.mkdtemp()
    model.save(os.path.join(folder, name), save_format="tf")
    with tarfile.open(os.path.join(FOLDER, name + ".tar.xz"), "w:xz", preset=9) as archive:
        archive.add(os.path.join(folder, name), name)
    shutil.rmtree(folder)
    store_arrays(name, input=[inputs], output=outputs)


def saved_model(name: str) -> None:
    model = models.Sequential([layers.LSTM(2, return_sequences=True, input_shape=(5, 3)), layers.GRU(2)])
    store_folder(name, model, vectors())


MAKERS = (saved_model,)
if __name__ == "__main__":
    write({maker.__name__: maker for maker in MAKERS})
