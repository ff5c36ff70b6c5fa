"""Recurrent neural networks for TensorFlow: readable recurrences, Keras layers and whole sequence tasks."""

import importlib as _importlib
import os as _os
from typing import TYPE_CHECKING
from typing import Any as _Any

from ostinato import registration as _registration

__version__ = "0.1.0"

# The layers are Keras layers on the TensorFlow backend; Keras reads its backend when it is first imported.
_os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# Public names and where they live; loaded on first use, since importing TensorFlow takes seconds.
_PUBLIC = {
    "ClassifierConfig": "ostinato.tasks.classifier",
    "LanguageModelConfig": "ostinato.tasks.language_model",
    "OstinatoError": "ostinato.errors",
    "TrainingConfig": "ostinato.training.config",
    "TranslatorConfig": "ostinato.tasks.translator",
    "accelerate": "ostinato.acceleration.accelerate",
    "evaluate": "ostinato.training.evaluation",
    "export": "ostinato.exports.export",
    "fast_predict": "ostinato.runtime.predict",
    "load": "ostinato.runs.trained",
    "load_weights": "ostinato.interop.keras.loading",
    "report": "ostinato.acceleration.report",
    "resume": "ostinato.training.run",
    "to_keras": "ostinato.acceleration.accelerate",
    "train": "ostinato.training.run",
}

_ROOMS = (
    "data",
    "decoding",
    "engines",
    "exports",
    "heads",
    "interop",
    "layers",
    "optimizers",
    "runs",
    "runtime",
    "scratch",
    "tasks",
    "training",
)

_RENAMED = {"explain": "report", "restore": "to_keras"}
"""Former public names, for one more version, and the present ones."""

if TYPE_CHECKING:
    from ostinato.acceleration.accelerate import accelerate as accelerate
    from ostinato.acceleration.accelerate import to_keras as to_keras
    from ostinato.acceleration.report import report as report
    from ostinato.errors import OstinatoError as OstinatoError
    from ostinato.exports.export import export as export
    from ostinato.interop.keras.loading import load_weights as load_weights
    from ostinato.runs.trained import load as load
    from ostinato.runtime.predict import fast_predict as fast_predict
    from ostinato.tasks.classifier import ClassifierConfig as ClassifierConfig
    from ostinato.tasks.language_model import LanguageModelConfig as LanguageModelConfig
    from ostinato.tasks.translator import TranslatorConfig as TranslatorConfig
    from ostinato.training.config import TrainingConfig as TrainingConfig
    from ostinato.training.evaluation import evaluate as evaluate
    from ostinato.training.run import resume as resume
    from ostinato.training.run import train as train

__all__ = [
    "ClassifierConfig",
    "LanguageModelConfig",
    "OstinatoError",
    "TrainingConfig",
    "TranslatorConfig",
    "accelerate",
    "evaluate",
    "export",
    "fast_predict",
    "load",
    "load_weights",
    "report",
    "resume",
    "to_keras",
    "train",
]


def __getattr__(name: str) -> _Any:
    if name in _RENAMED:
        from ostinato.errors import warn_renamed

        warn_renamed(f"ostinato.{name}", f"ostinato.{_RENAMED[name]}")
        name = _RENAMED[name]
    if name in _PUBLIC:
        return getattr(_importlib.import_module(_PUBLIC[name]), name)
    if name in _ROOMS:
        return _importlib.import_module(f"ostinato.{name}")
    raise AttributeError(f"module 'ostinato' has no attribute {name!r}")


_registration.install()
