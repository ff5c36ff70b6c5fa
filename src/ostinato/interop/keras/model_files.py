"""The paths of model files; this module needs no Keras."""

import pathlib

from ostinato.errors import ConfigError


def check_model_path(path: pathlib.Path) -> None:
    """Refuses a path that cannot be a file with a Keras model.

    Raises:
        ConfigError: there is no file, or its name has another suffix.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ConfigError(f"{path} {what}; give a .keras or .h5 file written by model.save")
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise ConfigError(f"{path} is neither a .keras nor an .h5 file, as model.save writes them")
