"""Stores models of the Keras that runs, with what they predict and how they train on; on Python 3.6 to 3.12."""

import gzip
import importlib
import io
import os
import sys
import tempfile

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
PACKAGE = sys.argv[1]
keras = importlib.import_module(PACKAGE)
VERSION = keras.__version__
if PACKAGE == "tensorflow.keras":
    VERSION = importlib.import_module("tensorflow").__version__
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{PACKAGE}-{VERSION}")
MAIN = tuple(int(part) for part in VERSION.split(".")[:2])
STEPS = 2


def as_list(values: object) -> list:
    return list(values) if isinstance(values, (list, tuple)) else [values]


def pack(path: str) -> None:
    """Replaces a file by its gzip: most of an HDF5 file is zeros."""
    packed = io.BytesIO()
    with open(path, "rb") as file, gzip.GzipFile("", "wb", 9, packed, mtime=0) as archive:
        archive.write(file.read())
    with open(path + ".gz", "wb") as file:
        file.write(packed.getvalue())
    os.remove(path)


def fit(model: object, inputs: list, targets: list) -> list:
    """The losses of `STEPS` steps on the whole data.

    It is `train_on_batch`, as `fit` gives each epoch's mean loss in another way in every version.
    """
    single = lambda values: values[0] if len(values) == 1 else values
    losses = [model.train_on_batch(single(inputs), single(targets)) for _ in range(STEPS)]
    return [float(as_list(loss)[0]) for loss in losses]


def predict(model: object, inputs: list) -> list:
    """The outputs; of stateful layers from a state of zeros, which `predict` leaves behind."""
    return as_list(model.predict(inputs if len(inputs) > 1 else inputs[0], batch_size=len(inputs[0])))


def store_arrays(name: str, **arrays: object) -> None:
    """Writes `NAME.npz`, in which a list `key` is the arrays `key_0`, `key_1` and so on."""
    flat = {}
    for key, value in arrays.items():
        if isinstance(value, list):
            flat.update(("{}_{}".format(key, n), part) for n, part in enumerate(value))
        elif value is not None:
            flat[key] = value
    os.makedirs(FOLDER, exist_ok=True)
    np.savez_compressed(os.path.join(FOLDER, name + ".npz"), **flat)


def store(
    name: str,
    model: object,
    inputs: object,
    targets: object = None,
    again: bool = False,
    suffix: str = ".h5",
    custom_objects: object = None,
) -> None:
    """Writes a model, its inputs and its outputs; a compiled one is trained before and after.

    Args:
        name: of the files.
        model: a Keras model.
        inputs: an array or a list of them, which are all samples.
        targets: likewise, for a compiled model.
        again: the model is stateful: the outputs of a second call are stored, too.
        suffix: of the file; `.h5` is packed.
        custom_objects: what its own Keras needs to read the model.
    """
    inputs, losses = as_list(inputs), None
    os.makedirs(FOLDER, exist_ok=True)
    path = os.path.join(FOLDER, name + suffix)
    if targets is not None:
        targets = as_list(targets)
        fit(model, inputs, targets)
    if again:
        model.reset_states()
    outputs, more = predict(model, inputs), None
    if again:
        more = predict(model, inputs)
        model.reset_states()
    model.save(path)
    if targets is not None:
        losses = fit(model, inputs, targets)
    check(path, custom_objects, inputs, outputs)
    if suffix == ".h5":
        pack(path)
    store_arrays(
        name, input=inputs, target=targets, output=outputs, again=more, losses=losses and np.array(losses)
    )


def check(path: str, custom_objects: object, inputs: list, outputs: list) -> None:
    """Prints when the Keras that wrote a file reads something else from it."""
    try:
        model = keras.models.load_model(path, custom_objects=custom_objects, compile=False)
        again = predict(model, inputs)
    except Exception as error:
        print(path, "cannot be read by the Keras that wrote it:", str(error)[:200])
        return
    if not all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(outputs, again)):
        print(path, "is read as another model by the Keras that wrote it")


def write(makers: dict) -> None:
    """Calls the makers that the command line names, or all; each starts from the same random numbers."""
    for name in sys.argv[2:] or makers:
        keras.backend.clear_session()
        np.random.seed(0)
        seed_all(0)
        makers[name](name)
        print(name)


def seed_all(seed: int) -> None:
    if hasattr(keras.utils, "set_random_seed"):
        keras.utils.set_random_seed(seed)
        return
    try:
        tensorflow = importlib.import_module("tensorflow")
    except ImportError:
        return
    getattr(tensorflow, "set_random_seed", None) or tensorflow.random.set_seed(seed)


TEMPORARY = tempfile.gettempdir()
