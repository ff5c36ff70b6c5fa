"""Stores models of the Keras that runs, with what they predict and how they train on.

`write_all.sh` says which versions wrote which files. The scripts run on Python 3.7 to 3.12; the first
argument is the package to import as Keras. Each makes `PACKAGE-VERSION/NAME.*`: a model and `NAME.npz` with
its inputs (`input_0`, …), its outputs (`output_0`, …), those of a second call of a stateful model
(`again_0`, …), and for a compiled model its targets and the losses of two more steps on all of them.

| script | what its files are |
|---|---|
| `compiled.py` | trained models: the optimizers of Keras 2.0 to 2.3; losses and optimizers of one's own |
| `compiled_later.py` | rates by a schedule, scaled and masked losses, losses that are objects, float16 |
| `cudnn.py` | CuDNNLSTM and CuDNNGRU: stacks, both directions, states, nested; their weights alone |
| `encoder_decoder.py` | states and constants as further inputs, with masks; cells of one's own |
| `layers.py` | defaults, options, wrappers, cells, convolutions, attention, masks, lambdas |
| `own_layers.py` | classes of one's own that are called like classes of Keras |
| `pairs.py` | JSON beside weights, and weights alone |
| `saved_model.py` | a SavedModel folder, as an archive |
| `keras_1.py`, `keras_3.py` | what only these versions write |

`tests/interop/own_classes.py` has for Keras 3 what the files name and do not hold.
"""

import gzip
import importlib
import io
import os
import sys

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
PACKAGE = sys.argv[1]
keras = importlib.import_module(PACKAGE)
VERSION = keras.__version__
if PACKAGE == "tensorflow.keras":
    VERSION = importlib.import_module("tensorflow").__version__
if PACKAGE != "keras" and not VERSION.startswith("1."):
    importlib.import_module("tensorflow").config.experimental_run_functions_eagerly(
        True
    )  # no minutes of tracing
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{PACKAGE}-{VERSION}")
MAIN = tuple(int(part) for part in VERSION.split(".")[:2])
RATE = "lr" if PACKAGE == "keras" and MAIN < (2, 3) else "learning_rate"
STEPS = 2


def as_list(values: object) -> list:
    return list(values) if isinstance(values, (list, tuple)) else [values]


def single(values: list) -> object:
    return values[0] if len(values) == 1 else values


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
    losses = []
    for _ in range(STEPS):
        if hasattr(model, "reset_metrics"):
            model.reset_metrics()  # in Keras 3 the loss is a mean over the steps
        losses.append(float(as_list(model.train_on_batch(single(inputs), single(targets)))[0]))
    return losses


def predict(model: object, inputs: list) -> list:
    """The outputs; of stateful layers from a state of zeros, which `predict` leaves behind."""
    return flatten(model.predict(single(inputs), batch_size=len(inputs[0])))


def flatten(values: object) -> list:
    """The arrays in lists of lists, which the states of several cells are."""
    if not isinstance(values, (list, tuple)):
        return [values]
    return [array for value in values for array in flatten(value)]


def store_arrays(name: str, **arrays: object) -> None:
    """Writes `NAME.npz`, in which a list `key` is the arrays `key_0`, `key_1` and so on."""
    flat = {}
    for key, value in arrays.items():
        if isinstance(value, list):
            flat.update((f"{key}_{n}", part) for n, part in enumerate(value))
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
        suffix: of the file.
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
    pack(path)
    store_arrays(
        name, input=inputs, target=targets, output=outputs, again=more, losses=losses and np.array(losses)
    )


def store_cudnn(name: str, make: object, inputs: object, again: bool = False) -> None:
    """Writes a model with CuDNN layers, which no CPU runs, and the outputs of the same one without them.

    Keras itself carries the weights over, by `load_weights`. All weights are random, biases too.

    Args:
        name: of the files.
        make: a function that returns the model; it takes whether its layers are CuDNN's.
        inputs: an array or a list of them.
        again: the model is stateful.
    """
    inputs, path = as_list(inputs), os.path.join(FOLDER, name + ".h5")
    os.makedirs(FOLDER, exist_ok=True)
    place_what_runs()
    model, twin = make(True), make(False)
    model.set_weights([np.random.normal(size=w.shape, scale=0.5) for w in model.get_weights()])
    model.save_weights(path)
    carry_weights(model, twin, path)
    outputs = predict(twin, inputs)
    more = predict(twin, inputs) if again else None
    model.save(path)
    pack(path)
    store_arrays(name, input=inputs, output=outputs, again=more)


def carry_weights(model: object, twin: object, path: str) -> None:
    """Gives the weights of CuDNN layers, which stand in a file, to the same model without them."""
    if PACKAGE != "keras" or MAIN >= (2, 2):
        twin.load_weights(path)
        return
    topology = importlib.import_module("keras.engine.topology")  # that of Keras 2.1 cannot read its own file
    for at, other in enumerate(twin.layers):
        layer = model.layers[at]
        other.set_weights(topology.preprocess_weights_for_loading(other, layer.get_weights()))


def place_what_runs() -> None:
    """TensorFlow 1 otherwise refuses a graph in which anything has no CPU kernel."""
    tensorflow = importlib.import_module("tensorflow")
    if tensorflow.__version__.startswith("1."):
        options = tensorflow.GraphOptions(place_pruned_graph=True)
        session = tensorflow.Session(config=tensorflow.ConfigProto(graph_options=options))
        keras.backend.set_session(session)


def store_weights(
    name: str, model: object, inputs: object, suffix: str = ".h5", change: object = None
) -> None:
    """Writes the weights of a model alone, with its inputs and outputs.

    Args:
        name: of the files.
        model: a Keras model, or a pair of them: with CuDNN layers, and the same one without.
        inputs: an array or a list of them.
        suffix: of the file of weights.
        change: a function that changes the open HDF5 file.
    """
    inputs, path = as_list(inputs), os.path.join(FOLDER, name + suffix)
    os.makedirs(FOLDER, exist_ok=True)
    model, twin = model if isinstance(model, tuple) else (model, model)
    model.set_weights([np.random.normal(size=w.shape, scale=0.5) for w in model.get_weights()])
    model.save_weights(path)
    if twin is not model:
        carry_weights(model, twin, path)
    if change is not None:
        with importlib.import_module("h5py").File(path, "r+") as file:
            change(file)
    pack(path)
    store_arrays(name, input=inputs, output=predict(twin, inputs))


def check(path: str, custom_objects: object, inputs: list, outputs: list) -> None:
    """Prints when the Keras that wrote a file reads something else from it."""
    try:
        model = keras.models.load_model(path, custom_objects=custom_objects, compile=False)
        again = predict(model, inputs)
    except Exception as error:
        print(path, "cannot be read by the Keras that wrote it:", str(error)[:200])
        return
    if not all(np.allclose(value, again[n], rtol=1e-5, atol=1e-6) for n, value in enumerate(outputs)):
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


def vectors() -> np.ndarray:
    """Six sequences of five vectors: shape (6, 5, 3)."""
    return np.random.normal(size=(6, 5, 3)).astype("float32")


def padded_ids(unknown: int = 12) -> np.ndarray:
    """Sentences of different lengths: shape (6, 5), padded with zeros."""
    ids = np.random.randint(1, unknown, (6, 5))
    for row in range(5):
        ids[row, 5 - row :] = 0
    return ids
