"""Files that every Keras wrote have the outputs that it computed, and train on as they did there.

The files stand in `files/`, which also has the scripts that wrote them.
"""

import gzip
import pathlib
import sys
import tarfile
from collections.abc import Container

import keras
import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.errors import ConfigError
from ostinato.interop.keras.loading import load_source

from ..variants import thorough
from .own_classes import OF_FILES

FOLDER = pathlib.Path(__file__).parent / "files"
# Of these, the test of another name says what must hold.
REFUSED = {"time_major", "saved_model", "keras-1.2.2/pair"}
WITHOUT_MODEL = {"cudnn_weights", "cudnn_weights_bidirectional", "weights_sequential"}
# At masked steps that come first, Keras before 2.4 gave the initial state; rows without any are compared.
OTHER_AT_MASKS = {"seq2seq_bidirectional"}
# These divided a masked loss by the number of all steps; Keras 3 divides it by that of the steps that count.
MASKED_LOSS = {
    "keras-2.3.1/seq2seq_lstm",
    "tensorflow.keras-1.15.5/seq2seq_lstm",
    "tensorflow.keras-1.15.5/seq2seq_gru",
    "tensorflow.keras-2.3.4/masked_sequence",
}
# Their second loss depends on what no file holds: the schedule of Nadam's momentum, and on TensorFlow 1
# whether Keras itself read a variable before or after the step had changed it.
OTHER_STEPS = {"nadam", "keras-2.2.4/regularized", "keras-2.2.4/adamax"}
# Keras 2 added epsilon to the root of these, and Keras 3 adds it to what stands beneath; gradients are small.
EPSILON_OUTSIDE = {"rmsprop", "adagrad", "adadelta", "seq2seq_lstm"}

# Their layers are in other files, or their losses, in every run, follow from the outputs.
LIKE_OTHERS = {
    *("adadelta", "adam", "amsgrad", "nadam", "rmsprop", "sgd", "schedule", "schedule_pieces", "scaled_loss"),
    *("compiled_mse", "compiled_schedule", "cudnn_compiled", "own_loss", "regularized", "several_losses"),
    *(
        "seq2seq_gru",
        "seq2seq_luong",
        "seq2seq_nested",
        "seq2seq_repeat",
        "seq2seq_shared",
        "seq2seq_stacked",
    ),
    *("pair_functional", "pair_sequential", "conv_lstms", "conv_lstm", "cudnn_nested", "cudnn_states"),
    *("seq2seq_bidirectional", "seq2seq_gru_encoder", "several_outputs", "mixture", "own_normalization"),
}
TRAINED_IN_EVERY_RUN = {"adam", "amsgrad", "schedule", "compiled_mse"}


def cases(folder: str = "*") -> list[pathlib.Path]:
    return sorted(path.with_suffix("") for path in FOLDER.glob(f"{folder}/*.npz"))


def name_of(case: pathlib.Path) -> str:
    return f"{case.parent.name}/{case.name}"


def is_in(names: set[str], case: pathlib.Path) -> bool:
    return case.name in names or name_of(case) in names


def each(chosen: list[pathlib.Path], kinds: Container[str] | None = None) -> list[object]:
    """Of every kind of file that of one version in every run, and the others in a thorough one.

    Args:
        chosen: the files.
        kinds: the kinds that are in every run; by default all.
    """
    seen: set[str] = set()
    parameters = []
    for case in chosen:
        left_out = case.name in seen or (kinds is not None and case.name not in kinds)
        mark = thorough if left_out else pytest.param
        parameters.append(mark(case, id=name_of(case)))
        seen.add(case.name)
    return parameters


def unpack(case: pathlib.Path, folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of a case, `NAME.json` or the whole model first."""
    found = []
    for packed in FOLDER.glob(f"{name_of(case)}.*.gz"):
        path = folder / packed.name.removesuffix(".gz")
        path.write_bytes(gzip.decompress(packed.read_bytes()))
        found.append(path)
    described = case.with_suffix(".json")
    return [described, *found] if described.exists() else found


def arrays(case: pathlib.Path, key: str) -> list[np.ndarray]:
    with np.load(case.with_suffix(".npz")) as stored:
        return [stored[f"{key}_{n}"] for n in range(len(stored.files)) if f"{key}_{n}" in stored]


def load(case: pathlib.Path, folder: pathlib.Path) -> keras.Model:
    path, *weights = unpack(case, folder)
    own = {value.__name__: value for value in OF_FILES.get(case.name, ())}
    safe = case.name != "lambdas"
    model = load_source(path, weights=weights[0] if weights else None, custom_objects=own, safe_mode=safe)
    assert isinstance(model, keras.Model)
    return model


def single(values: list[np.ndarray]) -> object:
    return values[0] if len(values) == 1 else values


def is_old(case: pathlib.Path) -> bool:
    """Whether Keras itself wrote it, before it became TensorFlow's."""
    return case.parent.name.startswith("keras-2.")


def check_outputs(model: keras.Model, case: pathlib.Path) -> None:
    inputs = arrays(case, "input")
    rows = np.ones(len(inputs[0]), bool)
    if is_old(case) and case.name in OTHER_AT_MASKS:
        rows = np.all([np.all(values != 0, axis=1) for values in inputs], axis=0)
        assert rows.any()
    tolerance = 1e-2 if case.name == "mixed" else 1e-5  # float16
    for key in ("output", "again"):
        if expected := arrays(case, key):
            outputs = keras.tree.flatten(model(single(inputs)))
            assert len(outputs) == len(expected)
            for output, value in zip(outputs, expected, strict=True):
                np.testing.assert_allclose(output.numpy()[rows], value[rows], rtol=tolerance, atol=tolerance)


def same_python(case: pathlib.Path) -> bool:
    """Whether this Python reads the code in the file."""
    return case.name != "lambdas" or (
        "keras-2" not in case.parent.name[:7] and sys.version_info[:2] == (3, 11)
    )


LOADED = [
    case for case in cases() if not is_in(REFUSED | WITHOUT_MODEL, case) and case.parent.name != "keras-1.2.2"
]


OUTPUTS = [case for case in LOADED if same_python(case)]


def ways(chosen: list[object]) -> list[object]:
    """Each file accelerated as a copy, and in place; without `--thorough` in turn one of the two.

    A copy is compared with the model on a made-up batch in several ways, which takes far longer than its use.
    """
    return [
        pytest.param(*file.values, copy, id=f"{file.id}-{'copied' if copy else 'in place'}", marks=marks)
        for number, file in enumerate(chosen)
        for copy in (True, False)
        for marks in [file.marks if copy == (number % 2 == 0) else pytest.mark.thorough]
    ]


@pytest.mark.filterwarnings("ignore:.*runs Python code", "ignore:.*momentums start from zero")
@pytest.mark.parametrize(("case", "copy"), ways(each(OUTPUTS, {case.name for case in OUTPUTS} - LIKE_OTHERS)))
def test_a_file_has_the_outputs_that_its_keras_computed(case, copy, tmp_path):
    model = load(case, tmp_path)
    if copy:
        accelerated = ostinato.accelerate(model)
        check_outputs(model, case)
    else:
        check_outputs(model, case)
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.RNN) and layer.stateful:
                layer.reset_state()
        accelerated = ostinato.accelerate(model, copy=False)
    check_outputs(accelerated, case)


COMPILED = [case for case in LOADED if "losses" in np.load(case.with_suffix(".npz")).files]


def train(model: keras.Model, inputs: object, targets: object) -> float:
    """The loss before a step of training.

    Gradients are dense here: of a word that is repeated in a batch, Keras 3 squares each part of a sparse
    one, where Keras 2 squared their sum.
    """
    with tf.GradientTape() as tape:
        loss = model.compute_loss(inputs, targets, model(inputs, training=True))
        scaled = model.optimizer.scale_loss(loss)
    variables = [variable.value for variable in model.trainable_variables]
    gradients = map(tf.convert_to_tensor, tape.gradient(scaled, variables))
    model.optimizer.apply(list(gradients), model.trainable_variables)
    return float(loss)


@pytest.mark.filterwarnings("ignore:the file does not hold how many steps")
@pytest.mark.filterwarnings("ignore:.*momentums start from zero")
@pytest.mark.parametrize("case", each(COMPILED, TRAINED_IN_EVERY_RUN))
def test_a_compiled_file_trains_on_as_it_did(case, tmp_path):
    inputs, targets = arrays(case, "input"), single(arrays(case, "target"))
    expected = np.load(case.with_suffix(".npz"))["losses"]
    if is_in(MASKED_LOSS, case):
        expected = expected[:1] / np.mean(inputs[-1] != 0)
    if is_in(OTHER_STEPS, case):
        expected = expected[:1]
    # On TensorFlow 1, Keras itself read the number of steps now before and now after it had counted one.
    runs = []
    for counted in (0, 1) if is_old(case) else (0,):
        model = ostinato.accelerate(load(case, tmp_path), copy=counted == 0)
        model.optimizer.iterations.assign_add(counted)
        model.run_eagerly = True
        evaluated = model.test_on_batch(single(inputs), targets, return_dict=True)  # its metrics, too
        np.testing.assert_allclose(evaluated["loss"], expected[0], rtol=1e-5)
        runs.append([train(model, single(inputs), targets) for _ in expected])
    tolerance = 1e-3 if is_in(EPSILON_OUTSIDE, case) and len(expected) > 1 else 1e-5
    nearest = min(runs, key=lambda losses: np.abs(losses - expected).max())
    np.testing.assert_allclose(nearest, expected, rtol=tolerance)


@pytest.mark.parametrize("name", ["own_loss", "own_optimizer"])
def test_a_file_with_a_loss_of_ones_own_comes_back_uncompiled_without_it(name, tmp_path):
    case = FOLDER / "keras-2.2.4" / name
    with pytest.warns(UserWarning, match="comes back uncompiled"):
        model = load_source(*unpack(case, tmp_path))
    assert not model.compiled
    check_outputs(model, case)


def stack() -> list[keras.layers.Layer]:
    layers = keras.layers
    return [layers.LSTM(3, return_sequences=True, name="first"), layers.GRU(4, name="second")]


def both_directions() -> list[keras.layers.Layer]:
    layers, both = keras.layers, keras.layers.Bidirectional
    return [
        both(layers.LSTM(3, return_sequences=True), name="concat"),
        both(layers.GRU(2, return_sequences=True), merge_mode="sum", name="sum"),
        both(layers.GRU(2), merge_mode="ave", name="ave"),
    ]


def text(gate: str, *, reset_after: bool) -> list[keras.layers.Layer]:
    layers = keras.layers
    gates = {"recurrent_activation": keras.saving.get_registered_object(gate) or gate}
    return [
        layers.Embedding(12, 3, mask_zero=True, name="words"),
        layers.LSTM(4, return_sequences=True, name="first", **gates),
        layers.Bidirectional(layers.GRU(2, reset_after=reset_after, **gates), name="second"),
        layers.Dense(2, activation="softmax", name="last"),
    ]


def make_for_weights(case: pathlib.Path) -> keras.Model:
    """The model that the owner of a file of weights makes in Keras 3."""
    if case.name == "cudnn_weights_bidirectional":
        return keras.Sequential([keras.Input((5, 3)), *both_directions()])
    if case.name == "cudnn_weights":
        return keras.Sequential([keras.Input((5, 3)), *stack(), keras.layers.Dense(2, name="last")])
    old = case.parent.name == "keras-2.2.4"
    gate = "ostinato>keras2_hard_sigmoid" if old else "sigmoid"
    return keras.Sequential([keras.Input((5,)), *text(gate, reset_after=not old)])


@pytest.mark.parametrize("case", each([case for case in cases() if is_in(WITHOUT_MODEL, case)]))
def test_weights_alone_load_into_a_model_of_keras_3(case, tmp_path):
    model = make_for_weights(case)
    ostinato.load_weights(model, *unpack(case, tmp_path))
    check_outputs(model, case)
    check_outputs(ostinato.accelerate(model), case)


@pytest.mark.parametrize("case", each([case for case in cases() if case.name == "lambdas"]))
def test_a_lambda_runs_only_when_one_allows_it(case, tmp_path):
    with pytest.raises(ConfigError, match="safe_mode=False"):
        load_source(*unpack(case, tmp_path), custom_objects={"twice": OF_FILES["lambdas"][0]})


def test_code_of_another_python_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="another version of Python"):
        load(FOLDER / "keras-2.2.4/lambdas", tmp_path)


@pytest.mark.parametrize("case", each([case for case in cases() if case.name == "time_major"]))
def test_a_file_with_time_first_is_refused(case, tmp_path):
    with pytest.raises(ConfigError, match="time_major=True, which Keras 3 does not have"):
        load(case, tmp_path)


@pytest.mark.parametrize("suffix", [".h5", ".json"])
def test_files_of_keras_1_are_refused(suffix, tmp_path):
    files = {path.suffix: path for path in unpack(FOLDER / "keras-1.2.2/pair", tmp_path)}
    weights = files[".hdf5"] if suffix == ".json" else None
    with pytest.raises(ConfigError, match=r"Keras 1.* wrote it, and only files of Keras 2 and 3 are read"):
        load_source(files[suffix], weights=weights)


def test_a_saved_model_is_refused_with_the_way_to_save_it_anew(tmp_path):
    (case,) = (case for case in cases() if case.name == "saved_model")
    with tarfile.open(f"{case}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    with pytest.raises(ConfigError, match=r"SavedModel, which Keras 3 no longer loads; .*save\('model.h5'\)"):
        load_source(tmp_path / case.name)
