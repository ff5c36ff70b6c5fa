"""Language modelling: a network that predicts the next character, byte, word or subword of a text.

    config.py    the settings
    source.py    the texts that it reads
    vocabulary.py  the tokens: those of the encoder, and the start and end of lines
    data.py      a text in parts and windows
    lines.py     a list of lines in parts and batches
    network.py   the keras.Model
    task.py      loss and metrics
    fitting.py   the rule for default settings
    writing.py   how a text is to be written: settings that go together
    answers.py   the use of a trained network: texts
    dynamic.py   an evaluation with weights that adapt to the text
    output.py    what the command line prints

Source: Dive into Deep Learning, chapters 9 (recurrent neural networks) and 10 (modern recurrent neural
networks); truncated back-propagation through time with a carried state as in section 9.7. The recipe `d2l`
is its network.
"""

import importlib
from typing import TYPE_CHECKING

from ostinato.tasks.base import TaskSpec
from ostinato.tasks.language_model import output
from ostinato.tasks.language_model.config import LanguageModelConfig
from ostinato.tasks.language_model.source import open_source

if TYPE_CHECKING:
    from ostinato.tasks.language_model.network import RecurrentLanguageModel
    from ostinato.tasks.language_model.task import LanguageModel

__all__ = ["SPEC", "LanguageModel", "LanguageModelConfig", "RecurrentLanguageModel"]

SPEC = TaskSpec(
    command="lm",
    config=LanguageModelConfig,
    task="ostinato.tasks.language_model.task:LanguageModel",
    source=open_source,
    rule="ostinato.tasks.language_model.fitting:fit",
    output={"generate": output.generate, "evaluate": output.evaluate},
)


def __getattr__(name: str) -> object:
    # Settings are checked before TensorFlow, which takes seconds to import, is needed.
    modules = {"LanguageModel": "task", "RecurrentLanguageModel": "network"}
    if name in modules:
        return getattr(importlib.import_module(f"ostinato.tasks.language_model.{modules[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
