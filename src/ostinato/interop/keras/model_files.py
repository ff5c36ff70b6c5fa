"""The paths of model files; this module needs no Keras."""

import pathlib

from ostinato.errors import ConfigError

_SAVED_MODEL = (
    "is a SavedModel, which Keras 3 no longer loads; with Keras 2 (pip install tf_keras), "
    "tf_keras.models.load_model(folder).save('model.h5') writes a file that ostinato loads"
)


def check_model_path(path: pathlib.Path) -> None:
    """Refuses a path that cannot be a file with a Keras model.

    Raises:
        ConfigError: there is no file, or its name has another suffix.
    """
    if path.is_dir() and any((path / name).exists() for name in ("saved_model.pb", "keras_metadata.pb")):
        raise ConfigError(f"{path} {_SAVED_MODEL}")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ConfigError(f"{path} {what}; give a .keras or .h5 file written by model.save")
    if path.name == "saved_model.pb":
        raise ConfigError(f"{path.parent} {_SAVED_MODEL}")
    if path.suffix not in (".keras", ".h5", ".hdf5", ".json"):
        raise ConfigError(f"{path} is neither a .keras nor an .h5 file, as model.save writes them")


def check_weights_path(path: pathlib.Path) -> None:
    """Refuses a path that cannot be a file with weights.

    Raises:
        ConfigError: there is no file, or its name has another suffix.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ConfigError(f"{path} {what}; give an .h5 file written by model.save_weights or model.save")
    if path.suffix not in (".h5", ".hdf5"):
        raise ConfigError(f"{path} is not an .h5 file, as model.save_weights writes them")


def is_hdf5(path: pathlib.Path) -> bool:
    """Whether a file is HDF5, whatever its name; Keras 2 wrote it into `.keras` files, too."""
    with open(path, "rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def keras_1(version: str) -> str:
    """The sentence about a file of Keras 1, which describes its layers in another way."""
    return (
        f"Keras {version} wrote it, and only files of Keras 2 and 3 are read; Keras 2.2.4 (on Python 3.7 "
        "with TensorFlow 1.15) loads it, and model.save writes it anew"
    )
