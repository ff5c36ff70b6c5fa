"""Files with models, as far as can be told without Keras."""

import pathlib

from ostinato.errors import ConfigError


def check_file(path: pathlib.Path) -> None:
    """Refuses a path at which no file with a Keras model can be.

    Raises:
        ConfigError: there is no file, or it is called like none.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ConfigError(f"{path} {what}; give a .keras or .h5 file written by model.save.")
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise ConfigError(f"{path} is neither a .keras nor an .h5 file, as model.save writes them.")
