"""Language modelling: predict the next character, byte, word or subword, and write text that way.

    config.py    the settings
    network.py   the keras.Model
    task.py      data, loss, metrics and use
    writing.py   how text is to be written: which options go together

Source: Dive into Deep Learning, chapters 9 (recurrent neural networks) and 10 (modern recurrent neural
networks); truncated back-propagation through time with a carried state as in section 9.7.
"""

from typing import TYPE_CHECKING, Any

from ostinato.tasks.language_model.config import LanguageModelConfig

if TYPE_CHECKING:
    from ostinato.tasks.language_model.network import RecurrentLanguageModel
    from ostinato.tasks.language_model.task import LanguageModel

__all__ = ["LanguageModel", "LanguageModelConfig", "RecurrentLanguageModel"]


def __getattr__(name: str) -> Any:
    # Settings are checked before TensorFlow, which takes seconds to import, is needed.
    if name == "LanguageModel":
        from ostinato.tasks.language_model.task import LanguageModel

        return LanguageModel
    if name == "RecurrentLanguageModel":
        from ostinato.tasks.language_model.network import RecurrentLanguageModel

        return RecurrentLanguageModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
