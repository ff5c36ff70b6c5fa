"""Sentences for the user about the texts that a classifier has read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ostinato.data.examples.labelled import Examples
from ostinato.tasks.base import PARTS
from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.vocabulary import ClassifierVocabulary
from ostinato.wording import option, shown

if TYPE_CHECKING:
    from ostinato.tasks.classifier.data import Tables

_RARE = 1 / 20
"""A label with a smaller share of the training texts is rare."""
_LOOKED_AT = 1000  # texts


def notes_of_rows(tables: Tables, examples: Examples) -> tuple[str, ...]:
    """Notes about the rows that were left out, and those with labels that were not in training."""
    count, names = int(examples.strange.sum()), examples.unseen
    if not count:
        return tables.left_out
    named = ", ".join(map(repr, map(shown, names[:6]))) + (", …" if len(names) > 6 else "")
    rows, count_as = ("rows", "count") if count > 1 else ("row", "counts")
    what = f"{count:,} {rows} with labels that training did not have ({named})"
    return (*tables.left_out, f"{tables.name}: {what} {count_as} as wrong")


def reading_notes(
    config: ClassifierConfig, tables: Tables, examples: Examples, words: ClassifierVocabulary
) -> tuple[str, ...]:
    """What the user should know: the labels, the columns that were taken, what is cut."""
    names = words.labels.names
    named = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    counts = {part: len(examples.part(part)) for part in PARTS}
    sizes = [f"{count:,} for {part}" for part, count in counts.items() if count]
    notes = [f"{len(names)} labels ({named}); texts: {', '.join(sizes)}"]
    for table in (tables.table, tables.validation):
        if table is not None:
            notes += table.notes
    notes += tables.left_out
    if words.labels.several:
        none = int((examples.targets[examples.part("train")].sum(axis=1) == 0).sum())
        notes.append(f"a text may have several labels, or none, as {none:,} of the training texts")
    elif config.class_weights == "none":
        notes += _rare_label(words)
    lengths = examples.lengths[examples.part("train")]
    cut = int((lengths > words.max_tokens).sum())
    longest = f"; {cut:,} longer texts are cut, the longest has {lengths.max():,}" if cut else ""
    notes += _unknown(examples)
    notes.append(f"reading up to {words.max_tokens:,} tokens of a text{longest}")
    return tuple(notes)


def _unknown(examples: Examples) -> list[str]:
    """A sentence if most tokens of the texts that were not trained on are unknown."""
    unknown = examples.encoder.unknown
    others = np.concatenate([examples.part("validation"), examples.part("test")])[:_LOOKED_AT]
    ids = [examples.tokens(int(number)) for number in others]
    tokens = sum(map(len, ids))
    missed = 0 if unknown is None else sum(int((some == unknown).sum()) for some in ids)
    if 2 * missed <= tokens:
        return []
    return [
        f"{missed / tokens:.0%} of the tokens outside the training part are unknown to its vocabulary; "
        f"train with {option('encoder', 'char')}, or with more texts"
    ]


def _rare_label(words: ClassifierVocabulary) -> list[str]:
    """Advice about a label with few of the training texts; of many labels each has few, and none is rare."""
    names, rarest = words.labels.names, int(words.prior.argmin())
    share = float(words.prior[rarest])
    if share >= min(_RARE, 1 / (2 * len(names))):
        return []
    return [
        f"the rarest label, {shown(names[rarest])!r}, has {100 * share:.2g} % of the training texts; "
        f"{option('class_weights', 'balanced')} gives every label the same weight"
    ]
