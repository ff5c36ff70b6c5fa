"""Translation: a network that reads a sentence and writes another one.

    config.py        the settings
    data.py          pairs, parts and batches; what is kept of them
    network.py       the keras.Model: encoder, bridge, decoder
    decoder.py       the decoder: recurrent layers, attention, the scores of the next token
    task.py          loss and metrics
    fitting.py       the rule for default settings
    translations.py  what is made of a sentence
    answers.py       the use of a trained network: translations, evaluations, alignments
    evaluation.py    what an evaluation finds: BLEU, chrF, by length, samples
    pictures.py      the same, and alignments, drawn
    output.py        what the command line prints

Sources: Zhang et al., Dive into Deep Learning, chapter 10; Bahdanau, Cho and Bengio 2014, arXiv:1409.0473;
Luong, Pham and Manning 2015, arXiv:1508.04025.
"""

import importlib
from typing import TYPE_CHECKING

from ostinato.tasks.base import TaskSpec
from ostinato.tasks.translator import output
from ostinato.tasks.translator.config import TranslatorConfig
from ostinato.tasks.translator.data import open_source

if TYPE_CHECKING:
    from ostinato.tasks.translator.network import RecurrentTranslator
    from ostinato.tasks.translator.task import Translator

__all__ = ["SPEC", "RecurrentTranslator", "Translator", "TranslatorConfig"]

SPEC = TaskSpec(
    command="translate",
    config=TranslatorConfig,
    task="ostinato.tasks.translator.task:Translator",
    source=open_source,
    rule="ostinato.tasks.translator.fitting:fit",
    output={"predict": output.predict, "evaluate": output.evaluate},
)


def __getattr__(name: str) -> object:
    # Settings are checked before TensorFlow, which takes seconds to import, is needed.
    modules = {"Translator": "task", "RecurrentTranslator": "network"}
    if name in modules:
        return getattr(importlib.import_module(f"ostinato.tasks.translator.{modules[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
