"""The rule for the default settings of a translator; see `ostinato.tasks.fitting` and docs/recipes.md.

Few pairs are soon known by heart: they need dropout more than width. Single words need another network than
sentences, that of the recipe `strings`.
"""

from __future__ import annotations

from ostinato.tasks.fitting import Facts, Fitted, between
from ostinato.tasks.translator.config import MOST_NGRAM_ROWS, TranslatorConfig
from ostinato.tasks.translator.data import TranslatorData

DROPOUT = {50_000: 0.5, 200_000: 0.3, 1_000_000: 0.2, 5_000_000: 0.1}
"""Dropout between layers and of outputs by the pairs of the training part."""
WORD_DROPOUT = {50_000: 0.1, 1_000_000: 0.0}
UNITS = {50_000: 256, 200_000: 384, 1_000_000: 512}
"""The width of the recurrent layers by the pairs of the training part."""
SEEDS, A_PAIR, MOST_OF_SEVERAL = 2, 0.04, 50_000
"""So many networks, if there are so many seconds for each pair and few pairs. They need less word dropout."""
BOTH_WAYS = {"units", "decoder_units", "bidirectional"}
"""If these are free, the encoder reads both ways, half as wide in each: as many weights, and a lower loss."""
LEXICAL = 200_000
"""Up to so many pairs the output also sees the embeddings of the source; more pairs show rare words, too."""
STRINGS = {
    "units": 192,
    "bidirectional": True,
    "embedding": 64,
    "word_dropout": 0.0,
    "embedding_dropout": 0.1,
    "label_smoothing": 0.05,
}
"""The network of the recipe `strings`, for pairs of single words."""
STRINGS_DROPOUT = {4: 0.05, 7: 0.3}
"""Its dropout by the epochs."""
SOURCE_NGRAMS = {10_000: 3, 50_000: 5}
"""Its longest n-grams by the pairs of the training part: of few pairs, long ones are soon known by heart."""
NGRAM_DROPOUT = {4: 0.2, 7: 0.3}
"""The fraction of its n-grams that is left out by the epochs."""
NGRAM_DROPOUT_OF_FEW = {5_000: 0.6, 100_000: 0.2}
"""The least of that fraction by the pairs of the training part."""
NGRAM_ROWS = {5_000: 8_191, 100_000: MOST_NGRAM_ROWS}
"""The rows of their table by the pairs of the training part."""
PAIRS_A_SECOND = 3_500
"""So many pairs of words and their sounds are learned in a second (two cores of an AMD EPYC with Zen 4)."""
STRINGS_EPOCHS = 6
"""Where one network would read the pairs so often in a budget of time, two share it."""
STRINGS_BATCH = {50_000: 128, 100_000: 256}
"""The batch by the pairs of the training part."""
STRINGS_EVALUATIONS = 10
AVERAGING = 0.05
_SIXTEEN = 16


def fit(config: TranslatorConfig, data: TranslatorData, facts: Facts) -> Fitted:
    """The settings for pairs and a budget."""
    pairs, layers = len(data.examples.part("train")), len(config.units)
    if data.examples.single_words:
        epochs = _epochs(pairs, facts)
        several = facts.seconds is not None and epochs >= STRINGS_EPOCHS and "seeds" in facts.free
        seeds = SEEDS if several else 1
        task = STRINGS | {
            "units": (STRINGS["units"],) * layers,
            "seeds": seeds,
            "dropout": round(between(STRINGS_DROPOUT, epochs / seeds), 2),
            "source_ngrams": round(between(SOURCE_NGRAMS, pairs)),
            "ngram_dropout": round(
                max(between(NGRAM_DROPOUT, epochs / seeds), between(NGRAM_DROPOUT_OF_FEW, pairs)), 2
            ),
            "ngram_rows": round(between(NGRAM_ROWS, pairs)),
            "batch": round(between(STRINGS_BATCH, pairs)),
        }
        training = {"learning_rate": 5e-3, "averaging": AVERAGING, "evaluations": STRINGS_EVALUATIONS}
        because = f"for {pairs:,} pairs of single words"
    else:
        units = round(between(UNITS, pairs) / _SIXTEEN) * _SIXTEEN
        task = {
            "units": (units,) * layers,
            "dropout": round(between(DROPOUT, pairs), 2),
            "word_dropout": round(between(WORD_DROPOUT, pairs), 2),
        }
        long = facts.seconds is not None and facts.seconds >= A_PAIR * pairs
        if long and pairs <= MOST_OF_SEVERAL and "seeds" in facts.free:
            task |= {"seeds": SEEDS, "word_dropout": round(task["word_dropout"] / SEEDS, 2)}
        if set(facts.free) >= BOTH_WAYS:
            both = (units // 2,) * layers
            task |= {"units": both, "decoder_units": task["units"], "bidirectional": True}
        training, because = {"averaging": AVERAGING}, f"for {pairs:,} pairs"
    if config.attention != "none" and pairs <= LEXICAL:
        task["lexical"] = True
    return Fitted(facts.only_free(task), facts.only_free(training), because)


def _epochs(pairs: int, facts: Facts) -> float:
    """How often pairs of words are read, about."""
    if facts.epochs is not None:
        return facts.epochs
    return (facts.seconds or 0.0) * PAIRS_A_SECOND / max(pairs, 1)
