"""The exceptions a user may meet.

Each message says what was given, what was expected, and what to do; the command line prints it as one line
and exits with code 2. Warnings name the line of the user's that led to them.
"""

import sys
import warnings

_LIBRARIES = ("ostinato", "keras", "tensorflow")


class OstinatoError(Exception):
    """Anything wrong with what was asked, given or found; the base of all the others."""


class ConfigError(OstinatoError):
    """A setting that does not exist, is out of range, or contradicts another."""


class SourceError(OstinatoError):
    """A source of data that cannot be read, or holds too little to work with."""


class EncodingError(OstinatoError):
    """Text with symbols that an encoder does not know."""


class EngineError(OstinatoError):
    """An engine that cannot run the layer it was asked to run."""


class EngineWarning(RuntimeWarning):
    """Told once in a process: the native engine is not available, so that layers run on Keras' own loop."""


class ConfigWarning(FutureWarning):
    """A setting that has another name now, as in recipes and runs of an older version."""


class RunWarning(RuntimeWarning):
    """Something about a run that its user should know: for example that an older checkpoint is used."""


class RunError(OstinatoError):
    """A run directory that is damaged, of a newer version, no run at all, or in the way."""


class TrainingError(OstinatoError):
    """A training that cannot go on, for example because its loss is no longer finite."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns, and names the line that uses Keras or ostinato, however far down in them this is called."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def warn_renamed(old: str, new: str) -> None:
    """Warns that a public name has changed; the old one works for one more version."""
    warn(f"{old} is now {new}; the old name will be removed in the next version", DeprecationWarning)
