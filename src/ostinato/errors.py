"""The exceptions that users see.

Each message says what was expected, what was given, and what to do. The command line prints it as one line
and exits with code 2. Warnings point to the line of the user's code that caused them.
"""

import sys
import warnings

_LIBRARIES = ("ostinato", "keras", "tensorflow")


class OstinatoError(Exception):
    """The base of all errors of this package."""


class ConfigError(OstinatoError):
    """A setting that does not exist, is out of range, or contradicts another."""


class SourceError(OstinatoError):
    """A source of data that cannot be read, or contains too little data."""


class EncodingError(OstinatoError):
    """Text with symbols that an encoder does not know."""


class ExportError(OstinatoError):
    """A network that cannot be exported, or an exported file that does not agree with it."""


class EngineError(OstinatoError):
    """An engine that cannot run a layer."""


class EngineWarning(RuntimeWarning):
    """The native engine is not available, so layers run on the loop of Keras; shown once in a process."""


class ConfigWarning(FutureWarning):
    """A setting that has another name now, as in recipes and runs of an older version."""


class RunWarning(RuntimeWarning):
    """Something the user of a run should know, for example that an older checkpoint is used."""


class RunError(OstinatoError):
    """A run directory that is missing, damaged, written by a newer version, or in the way."""


class TrainingError(OstinatoError):
    """A training that cannot continue, for example because its loss is no longer finite."""


def unwrapped(error: OstinatoError) -> OstinatoError:
    """The error, whose sentence Keras and TensorFlow now leave alone: they wrap others in many lines."""
    error._keras_call_info_injected = error.ag_pass_through = True
    return error


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns, and points to the line of the user's code, however deep in Keras or ostinato this is called."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def warn_renamed(old: str, new: str) -> None:
    """Warns that a public name has changed; the old one works for one more version."""
    warn(f"{old} is now {new}; the old name will be removed in the next version", DeprecationWarning)
