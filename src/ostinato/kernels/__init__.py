"""Where the native engine's library and its C header are; `python -m ostinato.kernels` prints them as flags.

    cc program.c $(python -m ostinato.kernels) -o program

It does not import TensorFlow. The C interface is described in `ostinato.h`, and in docs/c-interface.md.
"""

import os
import pathlib

import ostinato
from ostinato.errors import EngineError

_ENDINGS = (".so", ".dylib")


def include_folder() -> pathlib.Path:
    """The folder that holds `ostinato.h`."""
    return next(folder for folder in _folders() if (folder / "ostinato.h").exists())


def library() -> pathlib.Path:
    """The path of the native engine's library, or that of OSTINATO_LIBRARY.

    Raises:
        EngineError: it was not built, or there is no file at OSTINATO_LIBRARY.
    """
    named = os.environ.get("OSTINATO_LIBRARY")
    if named:
        if not pathlib.Path(named).is_file():
            raise EngineError(f"OSTINATO_LIBRARY must be the path of a library of the engine, got '{named}'")
        return pathlib.Path(named)
    paths = [path for folder in _folders() for end in _ENDINGS for path in folder.glob(f"libostinato*{end}")]
    if not paths:
        raise EngineError(
            "its library was not built, as when ostinato is installed without a C++ compiler; "
            "install one (g++ or clang++) and then ostinato again"
        )
    return max(paths, key=lambda path: path.stat().st_mtime)  # the last build


def flags() -> list[str]:
    """What a C compiler needs to build a program that calls the engine."""
    folder, name = library().parent, library().stem.removeprefix("lib")
    return [f"-I{include_folder()}", f"-L{folder}", f"-l{name}", f"-Wl,-rpath,{folder}"]


def _folders() -> list[pathlib.Path]:
    # In an editable install the package has two folders: the sources, and what was built.
    return [pathlib.Path(folder) / "kernels" for folder in ostinato.__path__]
