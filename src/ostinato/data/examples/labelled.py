"""A table as ids and classes in memory-mapped files of the cache, so that it may be larger than memory.

    store/rows.py           the rows of a table, read once
    labels.py               their labels as classes
    splits.py               the parts
    store/vocabularies.py   the encoders fitted to the training part
    store/encoded_texts.py  the ids of the texts by an encoder

What is in the cache is found without reading the table again, and made again when it is missing or damaged.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ostinato.data.encoders.ngrams import NGrams
from ostinato.data.encoders.normalize import Normalize
from ostinato.data.encoders.registry import Encoder, encoder_from_json
from ostinato.data.examples.labels import (
    classes_of,
    question_numbers,
    refuse_unseen,
    split_labels,
    targets_of,
    unseen_labels,
)
from ostinato.data.examples.sentences import SAMPLE, lacks_spaces, single_words
from ostinato.data.examples.splits import PARTS, check_fractions, labelled_parts
from ostinato.data.sources.rows import BETWEEN
from ostinato.data.sources.tables import Table
from ostinato.data.store.encoded_texts import (
    EncodedTexts,
    encode_text,
    encoded_texts,
    ngrams_of_texts,
    read_text,
)
from ostinato.data.store.rows import StoredRows, stored_rows
from ostinato.data.store.texts import StoredTexts, content_of_all
from ostinato.data.store.vocabularies import fitted_to_part
from ostinato.errors import ConfigError, SourceError
from ostinato.files.atomic import JsonObject
from ostinato.files.cache import Progress

MOST_NEW = 0.35
"""The share of words that occur once, above which texts are read as subwords."""
MOST_NGRAM_WEIGHTS = 1 << 22
"""Of all labels together; finding them takes memory for a dozen such arrays of 8 bytes each."""
__all__ = ["PARTS", "Examples", "encode_text", "prepare_examples"]


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled texts as ids, made by `prepare_examples`.

    Example i is row i of the table, counted from 0 without bad rows; the rows of a validation table follow.

    Attributes:
        encoder: what made the ids.
        labels: the classes; a target is a place in this order.
        hash: SHA-256 (hex) of all texts and labels.
        source: JSON-able: the description of the table and this hash.
        ids, starts, lengths: see `EncodedTexts`.
        targets: the class of each example, int32 (examples,); for several labels an example, 0 or 1 for every
            label, uint8 (examples, labels).
        ngrams: the known n-grams of the texts; None without.
        grams: the ids of the n-grams of each text; None without.
        unseen: the labels that are none of the classes; their rows count as wrong.
        strange: whether an example has such a label, bool (examples,).
        numbers: the line, row or file of each example, int64 (examples,), from 1 on.
    """

    encoder: Encoder
    labels: tuple[str, ...]
    hash: str
    source: JsonObject
    ids: np.ndarray = field(repr=False)
    starts: np.ndarray = field(repr=False)
    lengths: np.ndarray = field(repr=False)
    numbers: np.ndarray = field(repr=False)
    targets: np.ndarray = field(repr=False)
    unseen: tuple[str, ...]
    strange: np.ndarray = field(repr=False)
    _parts: dict[str, np.ndarray] = field(repr=False)
    _rows: tuple[StoredRows, ...] = field(repr=False)
    ngrams: NGrams | None = field(default=None, repr=False)
    grams: EncodedTexts | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def tokens(self, i: int) -> np.ndarray:
        """The ids of example i, int32 (ids,), memory-mapped; may be empty."""
        return self.ids[self.starts[i] : self.starts[i + 1]]

    def grams_of(self, i: int) -> np.ndarray:
        """The ids of the n-grams of example i, int32, rising; empty without n-grams."""
        if self.grams is None:
            return np.zeros(0, np.int32)
        return self.grams.ids[self.grams.starts[i] : self.grams.starts[i + 1]]

    def part(self, name: str) -> np.ndarray:
        """The numbers of the examples in "train", "validation" or "test", int64, rising; may be empty.

        Raises:
            ConfigError: there is no such part.
        """
        if name not in PARTS:
            raise ConfigError(f"part must be one of {', '.join(PARTS)}, got {name!r}")
        return self._parts[name]

    def text(self, i: int) -> str:
        """The text of example i, as the table has it."""
        rows, place = self._row(i)
        return rows.texts.text(place)

    def label(self, i: int) -> str:
        """The label of example i, or its labels, as the table has them."""
        rows, place = self._row(i)
        return rows.labels[rows.places[place]]

    def _row(self, i: int) -> tuple[StoredRows, int]:
        """The table of example i, and its place there."""
        first = len(self._rows[0])
        return (self._rows[0], i) if i < first else (self._rows[1], i - first)


def prepare_examples(
    table: Table,
    encoder: str | Encoder,
    *,
    validation_fraction: float = 0.0,
    test_fraction: float = 0.0,
    seed: int = 0,
    validation: Table | None = None,
    vocabulary: JsonObject | None = None,
    labels: Iterable[str] | None = None,
    label_separator: str | None = None,
    several: bool = False,
    take_unseen: bool = False,
    questions_numbers: bool = False,
    normalize: Normalize = "none",
    min_count: int = 1,
    vocabulary_size: int | None = None,
    ngrams: NGrams | int = 0,
    on_progress: Progress | None = None,
) -> Examples:
    """The examples of a table, from the cache where it has them, in parts drawn by `labelled_parts`.

    Args:
        table: the texts and labels.
        encoder: the name of an encoder, to be fitted to the training part, or "auto" (see `encoder_for`); or
            an encoder.
        validation_fraction: the share for validation of all that is not for testing; 0 with `validation`.
        test_fraction: the share for testing, of the whole.
        seed: decides the parts.
        validation: a table that is the validation part.
        vocabulary: an encoder's `to_json`, instead of fitting one.
        labels: the classes of a classifier trained before, in their order; None to take them from training,
            in alphabetical or, if all are numbers, numerical order.
        label_separator: the separator of several labels in one field; None for one label, or labels apart.
        several: whether a text may have several labels, or none, though neither of these says so.
        take_unseen: keep rows with labels that are none of the classes; else they are refused.
        questions_numbers, normalize, min_count: see `question_numbers` and `fit_encoder`.
        vocabulary_size: see `fitted_to_part`.
        ngrams: those that are known, or the most of the training part that are to be; fewer with many labels.
        on_progress: called with the bytes read so far and in all (None while unknown); starts again with each
            pass: over the table, for the vocabulary, for the ids.

    Raises:
        SourceError: a table cannot be read or has bad rows; there is only one class, or a label that is not
            in training or `labels`; a table has several labels in a row, and training had one; the cache
            cannot be written.
        ConfigError: an option does not exist, is out of range, or contradicts the table.
        RunError: the vocabulary is damaged.
    """
    tables = (table,) if validation is None else (table, validation)
    check_fractions(validation_fraction, test_fraction, None if validation is None else validation.name)
    several = several or label_separator is not None or (table.several and labels is None)
    separators = [_separator(one, label_separator, several) for one in tables]
    rows = tuple(stored_rows(one, on_progress) for one in tables)
    sets = [_sets(*each) for each in zip(rows, separators, strict=True)]
    fractions = validation_fraction, test_fraction
    parts = labelled_parts(rows[0].places, sets[0], *fractions, seed, several=several) | _of_other(rows)
    if labels is None:
        labels = classes_of(table, rows[0], sets[0], parts["train"], several=several)
        if questions_numbers:
            question_numbers(table, labels)
    classes = tuple(labels)
    if not take_unseen:
        for one, stored, own in zip(tables, rows, sets, strict=True):
            refuse_unseen(one, stored, own, classes)
    content = content_of_all([stored.content for stored in rows])
    if vocabulary is not None:
        encoder = encoder_from_json(vocabulary)
    if isinstance(encoder, str):
        encoder = fitted_to_part(
            rows[0].texts,
            parts["train"],
            _named(encoder, rows[0].texts, parts["train"]),
            drawn_from=[content, [*fractions, seed, label_separator]],
            source=table.name,
            normalize=normalize,
            min_count=min_count,
            vocabulary_size=vocabulary_size,
            on_progress=on_progress,
        )
    texts = tuple(stored.texts for stored in rows)
    encoded = encoded_texts(texts, content, encoder, on_progress)
    numbers = rows[0].numbers if len(rows) == 1 else np.concatenate([stored.numbers for stored in rows])
    known = _known_ngrams(ngrams, texts[0], parts["train"], encoder, len(classes))
    grams = None if known is None else ngrams_of_texts(texts, content, known, encoder, on_progress)
    answers = _answers(rows, sets, classes, several=several)
    source = _described(table, validation, content)
    return Examples(encoder, classes, content, source, *encoded, numbers, *answers, parts, rows, known, grams)


def _of_other(rows: tuple[StoredRows, ...]) -> dict[str, np.ndarray]:
    """The validation part, where a table of its own gives it."""
    if len(rows) == 1:
        return {}
    return {"validation": np.arange(len(rows[0]), len(rows[0]) + len(rows[1]), dtype=np.int64)}


def _described(table: Table, validation: Table | None, content: str) -> JsonObject:
    source: JsonObject = {"description": table.description, "sha256": content}
    return source if validation is None else source | {"validation": validation.description}


def _known_ngrams(
    ngrams: NGrams | int, texts: StoredTexts, train: np.ndarray, encoder: Encoder, classes: int
) -> NGrams | None:
    """The n-grams that are known already, or those of the training part; None for none."""
    if isinstance(ngrams, NGrams):
        return ngrams
    if not ngrams:
        return None
    of_training = (read_text(encoder, texts.text(number)) for number in train.tolist())
    return NGrams.fit(of_training, min(ngrams, MOST_NGRAM_WEIGHTS // classes), spaced=encoder.spaced)


def _named(encoder: str, texts: StoredTexts, train: np.ndarray) -> str:
    """The name of an encoder; instead of "auto" what suits the training part."""
    return encoder if encoder != "auto" else encoder_for([texts.text(i) for i in train[:SAMPLE].tolist()])


def encoder_for(texts: list[str]) -> str:
    """The encoder that suits some texts: "char" where spaces do not separate words, and for single words.

    Else it is "word", or "bpe" where a text is expected to have many words that the others lack: the share
    of the words that occur once estimates it (Good 1953, "The population frequencies of species").
    """
    if lacks_spaces(texts) or single_words(texts):
        return "char"
    counts = Counter(word for text in texts for word in text.lower().split())
    once = sum(count == 1 for count in counts.values())
    return "bpe" if once > MOST_NEW * counts.total() else "word"


def _sets(stored: StoredRows, separator: str | None) -> list[tuple[str, ...]]:
    """For each of `stored.labels` its labels."""
    return [split_labels(raw, separator) for raw in stored.labels]


def _answers(
    rows: tuple[StoredRows, ...],
    sets: list[list[tuple[str, ...]]],
    classes: tuple[str, ...],
    *,
    several: bool,
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """`targets`, `unseen` and `strange` of `Examples`."""
    each = list(zip(rows, sets, strict=True))
    targets = np.concatenate([targets_of(stored, own, classes, several=several) for stored, own in each])
    unseen = unseen_labels([labels for own in sets for labels in own], classes)
    return targets, unseen, np.concatenate([_any_of(stored, own, unseen) for stored, own in each])


def _separator(table: Table, label_separator: str | None, several: bool) -> str | None:
    """The separator of the labels in `Row.label`; None when every row has one label.

    Raises:
        ConfigError: the separator is blank, or given for a table that has its labels apart.
        SourceError: the table has several labels in a row, and training had one.
    """
    if label_separator is not None and not label_separator.strip():
        raise ConfigError("the separator of labels must not be blank; use a mark such as , ; or |")
    if not table.several:
        return label_separator or (BETWEEN if several else None)
    if label_separator is not None:
        raise ConfigError(
            f"{table.name} has the labels of a row apart, so there is no separator between them; leave out "
            "label_separator"
        )
    if not several:
        raise SourceError(f"{table.name} has several labels in a row, but the texts of training have one")
    return BETWEEN


def _any_of(stored: StoredRows, sets: list[tuple[str, ...]], labels: tuple[str, ...]) -> np.ndarray:
    """Whether each row has any of some labels, bool (rows,)."""
    return np.array([not set(labels).isdisjoint(own) for own in sets], bool)[stored.places]
