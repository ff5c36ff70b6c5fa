"""The rule for the default settings of a translator; see `ostinato.tasks.fitting` and docs/recipes.md.

Few pairs are soon known by heart: they need dropout more than width. Single words need another network than
sentences, that of the recipe `strings`.
"""

from __future__ import annotations

from ostinato.tasks.fitting import Facts, Fitted, between
from ostinato.tasks.translator.config import TranslatorConfig
from ostinato.tasks.translator.data import TranslatorData

DROPOUT = {50_000: 0.5, 200_000: 0.3, 1_000_000: 0.2, 5_000_000: 0.1}
"""Dropout between layers and of outputs by the pairs of the training part."""
WORD_DROPOUT = {50_000: 0.1, 1_000_000: 0.0}
UNITS = {50_000: 256, 200_000: 384, 1_000_000: 512}
"""The width of the recurrent layers by the pairs of the training part."""
STRINGS = {
    "units": 192,
    "bidirectional": True,
    "embedding": 64,
    "word_dropout": 0.0,
    "embedding_dropout": 0.0,
    "dropout": 0.05,
    "label_smoothing": 0.05,
    "batch": 128,
}
"""The network of the recipe `strings`, for pairs of single words."""
AVERAGING = 0.05
_SIXTEEN = 16


def fit(config: TranslatorConfig, data: TranslatorData, facts: Facts) -> Fitted:
    """The settings for pairs and a budget."""
    pairs, layers = len(data.examples.part("train")), len(config.units)
    if data.examples.single_words:
        task = STRINGS | {"units": (STRINGS["units"],) * layers}
        training = {"learning_rate": 5e-3, "averaging": AVERAGING}
        because = f"for {pairs:,} pairs of single words"
    else:
        units = round(between(UNITS, pairs) / _SIXTEEN) * _SIXTEEN
        task = {
            "units": (units,) * layers,
            "dropout": round(between(DROPOUT, pairs), 2),
            "word_dropout": round(between(WORD_DROPOUT, pairs), 2),
        }
        training, because = {"averaging": AVERAGING}, f"for {pairs:,} pairs"
    return Fitted(facts.only_free(task), facts.only_free(training), because)
