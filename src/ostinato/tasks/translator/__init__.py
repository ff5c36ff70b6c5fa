"""Translation: a network that reads a sentence and writes another one.

    config.py        the settings
    network.py       the keras.Model: encoder, bridge, decoder
    decoder.py       the decoder: recurrent layers, attention, the scores of the next token
    task.py          data, loss and metrics
    translations.py  its use: translations of sentences, and what the decoder looked at
    judgement.py     what an evaluation found: BLEU, chrF, by length, samples
    pictures.py      the same, and alignments, drawn

Sources: Zhang et al., Dive into Deep Learning, chapter 10; Bahdanau, Cho and Bengio 2014, arXiv:1409.0473;
Luong, Pham and Manning 2015, arXiv:1508.04025.
"""

from typing import TYPE_CHECKING, Any

from ostinato.tasks.translator.config import TranslatorConfig

if TYPE_CHECKING:
    from ostinato.tasks.translator.network import RecurrentTranslator
    from ostinato.tasks.translator.task import Translator

__all__ = ["RecurrentTranslator", "Translator", "TranslatorConfig"]


def __getattr__(name: str) -> Any:
    # Settings are checked before TensorFlow, which takes seconds to import, is needed.
    if name == "Translator":
        from ostinato.tasks.translator.task import Translator

        return Translator
    if name == "RecurrentTranslator":
        from ostinato.tasks.translator.network import RecurrentTranslator

        return RecurrentTranslator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
