"""Models from strangers: nothing that they name is imported or called, and nothing huge is made for them.

The cases are counted with those of `test_hostile_files.py`, whose docstring says how to draw more.
"""

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import ostinato
from ostinato.errors import ConfigError
from ostinato.interop.keras.loading import load_source

from ..eagerly import run_eagerly
from ..variants import examples
from .mutations import NO_PLAIN_FILES, NoPlainFile, as_json, changed_bytes, changed_json, put
from .strangers import Outside, cases, guarded

CASES = {"archives": examples(30, thorough=100), "hdf5": examples(20, thorough=60)}
PROBE = "a_strangers_module"
TELLING = ("class_name", "module", "registered_name", "units", "config", "batch_shape", "dtype", "shape")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Outside:
    """A folder with models, and another which nobody may touch."""
    outside = Outside(tmp_path_factory.mktemp("strangers"))
    model = keras.Sequential([keras.Input((None, 3)), layers.GRU(4), layers.Dense(2, "tanh", name="out")])
    model.compile("adam", "mse", metrics=["mae"])
    with run_eagerly():
        model.fit(np.zeros((2, 5, 3)), np.zeros((2, 2)), verbose=0)
    model.save(outside.home / "model.keras")
    model.save(outside.home / "model.h5")
    return outside


@pytest.fixture(scope="module", autouse=True)
def probe(home):
    """A module which, if anything imports it, leaves a file in the folder that nobody may touch."""
    code = f"open({str(home.outside / 'imported')!r}, 'w').close()\nclass Layer:\n    pass\n"
    (home.cache / f"{PROBE}.py").write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(home.cache)
        yield
    assert PROBE not in sys.modules


def parts_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(parts: dict[str, bytes], *, deflated: bool = False) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return data.getvalue()


# Drawn.


@st.composite
def damaged_archives(draw, real: Path) -> bytes | NoPlainFile:
    parts = parts_of(real)
    how = draw(st.sampled_from(["config"] * 6 + ["weights", "archive", "name", "part", "no file"]), "how")
    if how == "config":
        return packed(
            parts
            | {"config.json": as_json(draw(changed_json(json.loads(parts["config.json"]), often=TELLING)))}
        )
    if how == "weights":
        return packed(parts | {"model.weights.h5": draw(changed_bytes(parts["model.weights.h5"]))})
    if how == "archive":
        return draw(changed_bytes(real.read_bytes()))
    if how == "no file":
        return draw(st.sampled_from(NO_PLAIN_FILES))
    name = draw(st.sampled_from(sorted(parts)))
    other = draw(
        st.sampled_from(["../../outside/new", "/tmp/new", "a\\..\\b", "assets/x", "config.json", "x" * 300])
    )
    if how == "name":
        parts[other] = parts.pop(name)
    else:
        parts[other] = draw(changed_bytes(parts[name]))
    return packed(parts)


@st.composite
def damaged_hdf5(draw, real: Path) -> bytes | NoPlainFile:
    how = draw(st.sampled_from(["config"] * 4 + ["bytes"] * 4 + ["no file"]), "how")
    if how == "bytes":
        return draw(changed_bytes(real.read_bytes()))
    if how == "no file":
        return draw(st.sampled_from(NO_PLAIN_FILES))
    data = io.BytesIO(real.read_bytes())
    with h5py.File(data, "r+") as file:
        name = draw(st.sampled_from(["model_config", "model_config", "training_config"]))
        file.attrs[name] = json.dumps(draw(changed_json(json.loads(file.attrs[name]), often=TELLING)))
    return data.getvalue()


def check_models(home: Outside, name: str, damaged, count: int, record_property) -> None:
    @cases(count, record_property)
    @given(content=damaged)
    def check(content):
        with home.copy_of(home.home / name) as path, guarded(home):
            put(path, content, home.outside)
            with home.refusals():
                load_source(path)

    check()


@pytest.mark.filterwarnings("ignore")
def test_archives(home, record_property):
    check_models(
        home, "model.keras", damaged_archives(home.home / "model.keras"), CASES["archives"], record_property
    )


@pytest.mark.filterwarnings("ignore")
def test_hdf5(home, record_property):
    check_models(home, "model.h5", damaged_hdf5(home.home / "model.h5"), CASES["hdf5"], record_property)


# What is known to be tried.


def named(module: Any, name: Any, config: Any = None, **more: Any) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config or {}, "registered_name": None, **more}


def function(module: str, name: str) -> dict[str, Any]:
    return named(module, "function", name, registered_name=name)


def as_layer(part: dict[str, Any]) -> Any:
    """The change of a model's configuration that has this part in the place of its recurrent layer."""

    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][1] = part

    return change


def as_activation(part: Any) -> Any:
    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][2]["config"]["activation"] = part

    return change


def as_metric(part: Any) -> Any:
    def change(config: dict[str, Any]) -> None:
        config["compile_config"]["metrics"] = [part]

    return change


def with_units(units: int) -> Any:
    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][1]["config"]["units"] = units
        config["config"]["layers"][2]["build_config"]["input_shape"] = [None, units]

    return change


TENSOR = {"value": "x", "dtype": "<U999999999"}
LOOKUP = {"max_tokens": None, "num_oov_indices": 1, "vocabulary": "/etc/passwd"}
CALLS = named(
    "keras.layers", "Lambda", {"name": "l", "function": function("builtins", "relu"), "arguments": {}}
)
HOSTILE = {
    "a lambda": (as_activation(named("builtins", "__lambda__", {"value": "4wEAAA=="})), "a Python lambda"),
    "a lambda layer": (as_layer(CALLS), "a Lambda layer, which may call any function"),
    "a lambda of Keras 2": (
        as_layer(
            {"class_name": "Lambda", "config": {"function": ["4wEA", None, None], "function_type": "lambda"}}
        ),
        "a Python lambda",
    ),
    "a module of the system": (as_layer(named("os", "system", {"command": "true"})), "it names 'os.system'"),
    "a module that is found": (as_layer(named(PROBE, "Layer")), f"it names '{PROBE}.Layer'"),
    "a function of a module": (as_activation(function(PROBE, "run")), f"it names '{PROBE}.run'"),
    "a function of Keras' that is no part": (
        as_activation(function("keras.utils", "get_file")),
        "it names 'keras.utils.get_file'",
    ),
    "a function that loads": (as_metric(function("keras.models", "load_model")), "keras.models.load_model"),
    "what allows anything": (
        as_activation(function("keras.config", "enable_unsafe_deserialization")),
        "keras.config.enable_unsafe_deserialization",
    ),
    "inside Keras": (as_layer(named("keras.src.saving.saving_lib", "load_model")), "keras.src.saving"),
    "a type of TensorFlow's": (
        as_layer(named("tensorflow", "__typespec__", [], spec_name="x")),
        "tensorflow",
    ),
    "a saved model": (as_layer(named("keras.layers", "TFSMLayer", {"filepath": "/"})), "it has a TFSMLayer"),
    "a module of PyTorch's": (as_layer(named("keras.layers", "TorchModuleWrapper")), "TorchModuleWrapper"),
    "a file elsewhere": (
        as_layer(named("keras.layers", "StringLookup", LOOKUP)),
        "it reads the file '/etc/passwd'",
    ),
    "a class that is a number": (
        as_layer(named("keras.layers", 7)),
        "its configuration must name a class, got 7",
    ),
    "an array of long texts": (as_activation(named("builtins", "__numpy__", TENSOR)), "not of numbers"),
    "a huge layer": (with_units(65536), r"asks for [\d,]+ bytes of weights, and it holds"),
    "a huge metric": (
        as_metric(named("keras.metrics", "MeanIoU", {"num_classes": 10**6})),
        r"asks for [\d,]+ bytes of weights, and it holds",
    ),
}


@pytest.mark.parametrize("attack", HOSTILE)
@pytest.mark.filterwarnings("ignore")
def test_what_a_configuration_may_not_name_or_ask_for_is_refused(home, attack):
    change, says = HOSTILE[attack]
    parts = parts_of(home.home / "model.keras")
    config = json.loads(parts["config.json"])
    change(config)
    with home.copy_of(home.home / "model.keras") as path, guarded(home):
        path.write_bytes(packed(parts | {"config.json": as_json(config)}))
        with pytest.raises(ConfigError, match=says):
            ostinato.accelerate(path)


@pytest.mark.parametrize("attack", [name for name in HOSTILE if name != "a huge layer"])
@pytest.mark.filterwarnings("ignore")
def test_the_same_in_hdf5(home, attack):
    change, says = HOSTILE[attack]
    with home.copy_of(home.home / "model.h5") as path, guarded(home):
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            config["compile_config"] = json.loads(file.attrs["training_config"])
            change(config)
            file.attrs["training_config"] = json.dumps(config.pop("compile_config"))
            file.attrs["model_config"] = json.dumps(config)
        with pytest.raises(ConfigError, match=says):
            ostinato.accelerate(path)


def test_a_huge_layer_in_hdf5_is_refused(home):
    with home.copy_of(home.home / "model.h5") as path, guarded(home):
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = file.attrs["model_config"].replace('"units": 4', '"units": 65536')
        with pytest.raises(ConfigError, match=r"asks for [\d,]+ bytes of weights, and it holds"):
            ostinato.accelerate(path)


def bomb() -> bytes:
    """An archive of two hundred megabytes of zeros."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("config.json", "{}")
        with archive.open("model.weights.h5", "w") as file:
            for _ in range(200):
                file.write(bytes(1 << 20))
    return data.getvalue()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda parts: packed(parts | {"../../outside/new": b"x"}), "leads out of it"),
        (lambda parts: packed(parts | {"/tmp/new": b"x"}), "leads out of it"),
        (lambda parts: packed(parts | {"assets/..\\new": b"x"}), "leads out of it"),
        (lambda parts: packed({"config.json": parts["config.json"]}), r"it has no model\.weights\.h5"),
        (
            lambda parts: packed({"model.weights.npz": b"x", "config.json": b"{}"}),
            r"it has no model\.weights\.h5",
        ),
        (
            lambda parts: packed(parts | {"config.json": b" " * (1 << 26) + b" {}"}),
            "its configuration has more than",
        ),
        (lambda parts: packed(parts | {"config.json": b"[" * 100_000}), "cannot be loaded"),
        (lambda parts: bomb(), "unpacks to 209,715,200 bytes"),
    ],
    ids=["up", "root", "backslash", "no weights", "numpy", "large", "deep", "bomb"],
)
def test_archives_that_lead_out_or_are_bombs_are_refused(home, change, says):
    with home.copy_of(home.home / "model.keras") as path, guarded(home):
        path.write_bytes(change(parts_of(path)))
        with pytest.raises(ConfigError, match=says):
            load_source(path)


def external(file: h5py.File, outside: Path) -> None:
    file.create_dataset("more", (4,), "f4", external=[(str(outside / "notes.txt"), 0, 16)])


def virtual(file: h5py.File, outside: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(outside / "other.h5", "x", (4,))
    file.create_virtual_dataset("more", layout)


def linked(file: h5py.File, outside: Path) -> None:
    file["more"] = h5py.ExternalLink(str(outside / "other.h5"), "/")


def claiming(file: h5py.File, outside: Path) -> None:
    file.create_dataset("more", (1 << 40,), "f4", chunks=(1 << 10,))


@pytest.mark.parametrize(
    ("add", "says"),
    [
        (external, "lie in another file"),
        (virtual, "lie in another file"),
        (linked, "lies elsewhere"),
        (claiming, "claim 4,398,046,511,104 bytes"),
    ],
)
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_weights_that_lie_elsewhere_or_claim_to_be_huge_are_refused(home, name, add, says):
    with home.copy_of(home.home / name) as path, guarded(home):
        parts = parts_of(path) if name.endswith(".keras") else {}
        data = io.BytesIO(parts.get("model.weights.h5") or path.read_bytes())
        with h5py.File(data, "r+") as file:
            add(file, home.outside)
        path.write_bytes(packed(parts | {"model.weights.h5": data.getvalue()}) if parts else data.getvalue())
        with pytest.raises(ConfigError, match=says):
            load_source(path)


def test_what_this_process_has_registered_is_made_again(tmp_path):
    @keras.saving.register_keras_serializable("strangers")
    class Halved(keras.layers.Layer):
        def call(self, x):
            return x / 2

    keras.Sequential([keras.Input((None, 3)), layers.GRU(4), Halved()]).save(tmp_path / "model.keras")
    assert isinstance(load_source(tmp_path / "model.keras").layers[-1], Halved)
    model = keras.Sequential([keras.Input(batch_shape=(2, 5, 3)), layers.LSTM(4, stateful=True)])
    model.save(tmp_path / "stateful.h5")
    assert load_source(tmp_path / "stateful.h5").layers[0].stateful
