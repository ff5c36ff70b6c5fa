"""The rule for the default settings of a classifier; see `ostinato.tasks.fitting` and docs/recipes.md.

The recipe's network is made for tables of some hundred to some ten thousand texts. Larger tables get wider
layers and larger batches. Who gives a table more time than one network needs gets several, whose errors
partly cancel.
"""

from __future__ import annotations

from ostinato.data.sources.vectors import width_of
from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.data import ClassifierData
from ostinato.tasks.fitting import Facts, Fitted, between

BATCH = {50_000: 32, 200_000: 64, 1_000_000: 128}
"""Texts in a batch by the texts of the training part."""
UNITS = {50_000: 64, 1_000_000: 128}
"""The width of the recurrent layers by the texts of the training part."""
SEVERAL, SECONDS_A_TEXT, FEWEST = 3, 0.025, 300.0
"""So many networks with seeds of their own where the budget has so many seconds for each text, and no fewer
than these in all."""
_SIXTEEN = 16


def fit(config: ClassifierConfig, data: ClassifierData, facts: Facts) -> Fitted:
    """The settings for a table and a budget.

    Raises:
        SourceError: when the file of vectors is none.
    """
    texts = len(data.examples.part("train"))
    task, training = {}, {}
    because = f"for {texts:,} texts"
    if config.vectors is not None:
        task["embedding"] = width_of(config.vectors)
    if texts > min(BATCH):
        batch = round(between(BATCH, texts))
        task["batch"] = 1 << (batch.bit_length() - 1)  # a power of two
        task["units"] = (round(between(UNITS, texts) / _SIXTEEN) * _SIXTEEN,) * len(config.units)
    if facts.seconds is not None and facts.seconds >= max(FEWEST, SECONDS_A_TEXT * texts):
        task |= {"seeds": SEVERAL, "pooling": "max_mean"}
        training["averaging"] = 0.1
        because += f" and {facts.seconds / 60:g} minutes"
    return Fitted(facts.only_free(task), facts.only_free(training), because)
