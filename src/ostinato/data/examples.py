"""A table as ids and classes in memory-mapped files of the cache, so that one larger than memory trains.

    tables/        the rows of a table: their texts in UTF-8, one after another (.texts), where each ends, its
                   line and its label (.rows), and what the labels are (.json)
    vocabularies/  what encoders were fitted to the training part
    examples/      the ids of the texts by an encoder (.ids), where each begins (.starts), and how long it is
                   (.lengths)

All are found without reading the table again, and made again when they are missing or damaged.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ostinato.data import cache
from ostinato.data.char import CharEncoder
from ostinato.data.corpora import Corpus
from ostinato.data.encoders import Encoder, encoder_digest, encoder_from_json, fit_encoder
from ostinato.data.normalize import SEGMENT, Normalize, normalize_text, segments
from ostinato.data.tables import Row, Table
from ostinato.data.word import WordEncoder
from ostinato.errors import ConfigError, EncodingError, RunError, SourceError

Progress = Callable[[int, int | None], None]
FORMAT = 1
"""Counts up when equal rows and encoders give other files than before, so that old ones are not used."""
PARTS = ("train", "validation", "test")
LARGEST_LABEL_COUNT = 100_000
"""Different labels in a column; with more it is taken for another column."""
RARE = 20
"""Sets of labels that occur less often are divided between the parts together, not each for itself."""
_ROW = np.dtype([("end", "<i8"), ("number", "<i8"), ("label", "<i4")])
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_BLOCK = 4096
_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled texts as ids, made by `prepare_examples`.

    Example i is row i of the table, counted from 0 without those left out; a validation table's rows follow.

    Attributes:
        encoder: what made the ids.
        labels: the classes; a target is a place in this order.
        hash: SHA-256 (hex) of all texts and labels.
        source: JSON-able: the description of the table and this hash.
        ids: the ids of all texts, int32 (ids,), memory-mapped and read-only.
        starts: where each text begins in `ids`, and their end: int64 (examples + 1,), memory-mapped.
        lengths: ids of each text, int32 (examples,), memory-mapped; 0 for one without known symbols.
        targets: the class of each, int32 (examples,); with several labels each, 0 or 1 for every label, uint8
            (examples, labels).
        numbers: the line, row or file of each, int64 (examples,), from 1 on.
    """

    encoder: Encoder
    labels: tuple[str, ...]
    hash: str
    source: dict[str, Any]
    ids: np.ndarray = field(repr=False)
    starts: np.ndarray = field(repr=False)
    lengths: np.ndarray = field(repr=False)
    targets: np.ndarray = field(repr=False)
    numbers: np.ndarray = field(repr=False)
    _parts: dict[str, np.ndarray] = field(repr=False)
    _rows: tuple["StoredRows", ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def tokens(self, i: int) -> np.ndarray:
        """The ids of example i, int32 (ids,), memory-mapped; empty where its text has none."""
        return self.ids[self.starts[i] : self.starts[i + 1]]

    def part(self, name: str) -> np.ndarray:
        """The numbers of the examples in "train", "validation" or "test", int64, rising; perhaps none.

        Raises:
            ConfigError: there is no such part.
        """
        if name not in PARTS:
            raise ConfigError(f"there is no part {name!r}, only {', '.join(PARTS)}")
        return self._parts[name]

    def text(self, i: int) -> str:
        """The text of example i, as it stood in the table."""
        first = len(self._rows[0])
        return self._rows[0].text(i) if i < first else self._rows[1].text(i - first)


def prepare_examples(
    table: Table,
    encoder: str | Encoder,
    *,
    validation_fraction: float = 0.0,
    test_fraction: float = 0.0,
    seed: int = 0,
    validation: Table | None = None,
    vocabulary: dict[str, Any] | None = None,
    labels: Iterable[str] | None = None,
    label_separator: str | None = None,
    normalize: Normalize = "none",
    min_count: int = 1,
    vocabulary_size: int | None = None,
    on_progress: Progress | None = None,
) -> Examples:
    """The examples of a table, from the cache where it has them.

    The parts are drawn at random, with the same share of every class in each as far as whole numbers allow; a
    class with few examples always keeps one in training. The test part is drawn first, so that it does not
    depend on how much is kept for validation.

    Args:
        table: the texts and labels.
        encoder: the name of an encoder, to be fitted to the training part; or an encoder.
        validation_fraction: what to keep for validation of all that is not for testing; 0 with `validation`.
        test_fraction: what to keep for testing, of the whole.
        seed: what the parts are drawn from.
        validation: a table that is the validation part.
        vocabulary: an encoder's `to_json`, instead of fitting one.
        labels: the classes in their order, of a classifier trained before; None to find them in training, in
            alphabetical or, if all are numbers, numerical order.
        label_separator: what separates several labels in one field; None when every text has one label.
        normalize: see `fit_encoder`.
        min_count: see `fit_encoder`.
        vocabulary_size: how many ids to have at most: for words the most frequent and one for the unknown
            (None for all), for bpe its pieces (None for 2048).
        on_progress: called with the bytes read so far and in all (None while unknown); starts again at each
            pass: over the table, for the vocabulary, for the ids.

    Raises:
        SourceError: a table cannot be read or has bad rows; there is one class only, or a label which
            training, or `labels`, does not have; the cache cannot be written.
        ConfigError: an option does not exist or is out of range.
        RunError: the vocabulary is damaged.
    """
    _check_fractions(validation_fraction, test_fraction, validation)
    if label_separator is not None and not label_separator.strip():
        raise ConfigError("the separator of labels is blank; use a mark such as , ; or |")
    rows = tuple(_stored(t, on_progress) for t in ((table,) if validation is None else (table, validation)))
    sets = [[_split_labels(raw, label_separator) for raw in stored.labels] for stored in rows]
    parts = _parts(rows, sets, validation_fraction, test_fraction, seed, several=label_separator is not None)
    classes = _classes(table, rows[0], sets[0], parts["train"]) if labels is None else tuple(labels)
    tables = (table,) if validation is None else (table, validation)
    for one, stored, own in zip(tables, rows, sets, strict=True):
        _refuse_unseen(one, stored, own, classes)
    contents = [stored.content for stored in rows]
    content = contents[0] if len(contents) == 1 else hashlib.sha256("".join(contents).encode()).hexdigest()
    if vocabulary is not None:
        encoder = encoder_from_json(vocabulary)
    if isinstance(encoder, str):
        texts = _TrainingTexts(table.name, "text", rows=rows[0], part=parts["train"], on_progress=on_progress)
        drawn = [validation_fraction, test_fraction, seed, label_separator]
        encoder = _fitted(texts, content, drawn, encoder, normalize, min_count, vocabulary_size)
    ids, starts, lengths = _encoded(rows, content, encoder, on_progress)
    source: dict[str, Any] = {"description": table.description, "sha256": content}
    if validation is not None:
        source["validation"] = validation.description
    targets = [
        _targets(stored, own, classes, label_separator) for stored, own in zip(rows, sets, strict=True)
    ]
    numbers = [stored.rows["number"] for stored in rows]
    return Examples(
        encoder,
        classes,
        content,
        source,
        ids,
        starts,
        lengths,
        np.concatenate(targets),
        numbers[0] if len(rows) == 1 else np.concatenate(numbers),
        parts,
        rows,
    )


def encode_text(encoder: Encoder, text: str) -> np.ndarray:
    """The ids of a text the way examples have them, int32 (ids,).

    For words and bpe, white space around it is left out, and the first word is the same as one after a space.
    A character that a char encoder does not know is left out; a word becomes <unk>.
    """
    text = normalize_text(text, encoder.normalize)
    if encoder.name in ("word", "bpe"):
        text = _spaced(text)
    if not text:
        return np.empty(0, np.int32)
    pieces = (text,) if len(text) <= SEGMENT else segments((text,))
    ids = [_encode_known(encoder, piece) for piece in pieces]
    return (ids[0] if len(ids) == 1 else np.concatenate(ids)).astype(np.int32)


def _spaced(text: str) -> str:
    text = text.strip()
    return " " + text if text else ""


def _encode_known(encoder: Encoder, text: str) -> np.ndarray:
    try:
        return encoder.encode(text)
    except EncodingError:
        if not isinstance(encoder, CharEncoder):
            raise
        known = set(encoder.alphabet)
        return encoder.encode("".join(symbol for symbol in text if symbol in known))


# The rows of a table in the cache.


@dataclass(frozen=True, eq=False)
class StoredRows:
    """The rows of a table in files of the cache.

    Attributes:
        texts: all texts in UTF-8, uint8 (bytes,), memory-mapped.
        rows: for each where its text ends in `texts`, its number, and the place of its label in `labels`.
        labels: the different labels as they stand in the table, in the order in which they first occur.
        content: SHA-256 (hex) of all texts and labels.
    """

    texts: np.ndarray
    rows: np.ndarray
    labels: tuple[str, ...]
    content: str

    def __len__(self) -> int:
        return len(self.rows)

    def text(self, i: int) -> str:
        """The text of row i."""
        start = int(self.rows["end"][i - 1]) if i else 0
        return self.texts[start : int(self.rows["end"][i])].tobytes().decode()

    def blocks(self) -> Iterator[tuple[int, list[str]]]:
        """(bytes so far, texts) of some thousand rows after another, fewer where they are long."""
        done = at = 0
        while at < len(self):
            ends = np.array(self.rows["end"][at : at + _BLOCK])
            ends = ends[: max(1, int(np.searchsorted(ends, done + _BLOCK_BYTES, "right")))]
            texts = []
            for end in ends.tolist():
                texts.append(self.texts[done:end].tobytes().decode())
                done = end
            at += len(texts)
            yield done, texts


def _stored(table: Table, on_progress: Progress | None) -> StoredRows:
    """The rows of a table, read once and kept in the cache."""
    identity = table.identity()
    base = cache.folder() / "tables" / f"{identity}-{FORMAT}"
    found = _open_rows(base, table)
    if found is None:
        _write_rows(base, table, on_progress)
        if table.identity() != identity:
            base.with_name(f"{base.name}.json").unlink(missing_ok=True)
            raise SourceError(f"{table.name} changed while it was read; try again when nothing writes to it")
        found = _open_rows(base, table)
    if found is None:
        raise _lost(base)
    return found


def _open_rows(base: Path, table: Table) -> StoredRows | None:
    """The rows in files of the cache; None when there are none or they are damaged."""
    known = cache.read_json(base.with_name(f"{base.name}.json"))
    if known is None:
        return None
    try:
        rows = _mapped(base.with_name(f"{base.name}.rows"), _ROW, known["rows"])
        texts = _mapped(base.with_name(f"{base.name}.texts"), np.dtype(np.uint8), known["bytes"])
        labels, content = tuple(map(str, known["labels"])), str(known["content"])
        skipped = {str(reason): int(count) for reason, count in known["skipped"].items()}
    except (KeyError, TypeError, ValueError, OSError, AttributeError):
        return None
    table.skipped.clear()
    table.skipped.update(skipped)
    return StoredRows(texts, rows, labels, content)


def _write_rows(base: Path, table: Table, on_progress: Progress | None) -> None:
    labels: dict[str, int] = {}
    digest = hashlib.sha256()
    end = count = 0
    with (
        cache.writing(base.with_name(f"{base.name}.texts")) as texts,
        cache.writing(base.with_name(f"{base.name}.rows")) as rows,
    ):
        waiting: list[tuple[int, int, int]] = []
        for row in table.rows(None if on_progress is None else lambda at: on_progress(at, table.size)):
            text, label = row.text.encode(), labels.setdefault(row.label, len(labels))
            digest.update(b"%d %d %b" % (len(row.label), len(text), row.label.encode()))
            digest.update(text)
            texts.write(text)
            end += len(text)
            waiting.append((end, row.number, label))
            if len(waiting) == _BLOCK:
                _refuse_many(table, labels, row)
                rows.write(np.array(waiting, _ROW).tobytes())
                count += len(waiting)
                waiting.clear()
        rows.write(np.array(waiting, _ROW).tobytes())
        count += len(waiting)
    known = {"rows": count, "bytes": end, "labels": list(labels), "content": digest.hexdigest()}
    cache.write_json(base.with_name(f"{base.name}.json"), known | {"skipped": table.skipped})


def _refuse_many(table: Table, labels: dict[str, int], row: Row) -> None:
    if len(labels) > LARGEST_LABEL_COUNT:
        column = f" in column {table.columns[1]!r}" if table.columns else ""
        raise SourceError(
            f"{table.at(row.number)}: there are more than {LARGEST_LABEL_COUNT:,} different labels{column} "
            "so far; choose the column of the labels with --label"
        )


def _mapped(path: Path, dtype: np.dtype[Any], count: int) -> np.ndarray:
    """An array in a file of the cache, read-only. Raises ValueError when the file has another size."""
    if path.stat().st_size != count * dtype.itemsize:
        raise ValueError(f"{path} does not hold {count} entries")
    if not count:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, "r", shape=(count,)).view(np.ndarray)


def _lost(path: Path) -> SourceError:
    return SourceError(f"cannot read {path} back from the cache; set OSTINATO_CACHE to another folder")


# Labels and parts.


def _split_labels(raw: str, separator: str | None) -> tuple[str, ...]:
    """The labels of one field, each once."""
    if separator is None:
        return (raw,)
    return tuple(dict.fromkeys(label for piece in raw.split(separator) if (label := piece.strip())))


def _check_fractions(validation_fraction: float, test_fraction: float, validation: Table | None) -> None:
    for name, value in (("validation", validation_fraction), ("test", test_fraction)):
        if not 0 <= value < 1:
            raise ConfigError(f"the {name} fraction is {value}; it must be 0 or more, and less than 1")
    if validation is not None and validation_fraction:
        raise ConfigError(
            f"there is a validation file, {validation.name}, and a validation fraction of "
            f"{validation_fraction}; give one of the two"
        )


def _parts(
    rows: tuple[StoredRows, ...],
    sets: list[list[tuple[str, ...]]],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    *,
    several: bool,
) -> dict[str, np.ndarray]:
    """The numbers of the examples in every part, each int64 and rising."""
    raw = np.asarray(rows[0].rows["label"])
    strata = raw
    if several:
        counts = np.bincount(raw, minlength=len(rows[0].labels))
        strata = np.where(counts < RARE, len(counts), np.arange(len(counts)))[raw]
    parts = _stratified(strata, validation_fraction, test_fraction, seed)
    if several:
        _keep_every_label(parts, raw, sets[0])
    if len(rows) > 1:
        parts["validation"] = np.arange(len(rows[0]), len(rows[0]) + len(rows[1]), dtype=np.int64)
    return parts


def _stratified(
    strata: np.ndarray, validation_fraction: float, test_fraction: float, seed: int
) -> dict[str, np.ndarray]:
    """The numbers 0, 1, 2 … of the examples of strata (examples,), divided at random."""
    counts = np.bincount(strata)
    order = np.arange(len(strata), dtype=np.int64)
    np.random.default_rng([seed, 0]).shuffle(order)
    order = order[np.argsort(strata[order], kind="stable")]
    test = _shares(counts, test_fraction)
    validation = _shares(counts - test, validation_fraction)
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in PARTS}
    for start, count, first, second in zip(
        np.cumsum(counts) - counts, counts, test, test + validation, strict=True
    ):
        pieces["test"].append(order[start : start + first])
        pieces["validation"].append(order[start + first : start + second])
        pieces["train"].append(order[start + second : start + count])
    return {name: np.sort(np.concatenate(some)) for name, some in pieces.items()}


def _shares(counts: np.ndarray, fraction: float) -> np.ndarray:
    """How many of each class make this fraction of all of them, when every class keeps one at least.

    The largest remainders are rounded up, so that the shares add up to the fraction of the whole.
    """
    most = np.maximum(counts - 1, 0)
    exact = counts * fraction
    shares = np.minimum(np.floor(exact).astype(np.int64), most)
    missing = round(int(counts.sum()) * fraction) - int(shares.sum())
    for at in np.argsort(shares - exact, kind="stable"):
        if missing > 0 and shares[at] < most[at]:
            shares[at] += 1
            missing -= 1
    return shares


def _keep_every_label(parts: dict[str, np.ndarray], raw: np.ndarray, sets: list[tuple[str, ...]]) -> None:
    """Moves an example of every label that training lacks into training."""
    seen = {label for place in np.unique(raw[parts["train"]]) for label in sets[place]}
    for name in ("validation", "test"):
        for place in np.unique(raw[parts[name]]):
            if not seen.issuperset(sets[place]):
                moved = parts[name][np.argmax(raw[parts[name]] == place)]
                parts[name] = parts[name][parts[name] != moved]
                parts["train"] = np.sort(np.append(parts["train"], moved))
                seen.update(sets[place])


def _classes(
    table: Table, stored: StoredRows, sets: list[tuple[str, ...]], train: np.ndarray
) -> tuple[str, ...]:
    """The labels of the training part, in order. Raises SourceError when there is only one."""
    found = set(chain.from_iterable(sets[place] for place in np.unique(stored.rows["label"][train])))
    if len(found) < 2:
        which = f"one label only, {min(found)!r}" if found else "no labels"
        raise SourceError(
            f"{table.name} has {which}, so there is nothing to tell apart; "
            "give it texts with two labels or more"
        )
    if all(map(_NUMBER.fullmatch, found)):
        return tuple(sorted(found, key=lambda label: (float(label), label)))
    return tuple(sorted(found))


def _refuse_unseen(
    table: Table, stored: StoredRows, sets: list[tuple[str, ...]], classes: tuple[str, ...]
) -> None:
    """Raises SourceError at the first row with a label that is not among the classes."""
    strange = [place for place, own in enumerate(sets) if not set(own) <= set(classes)]
    if not strange:
        return
    at = int(np.argmax(np.isin(stored.rows["label"], strange)))
    unseen = next(label for label in sets[stored.rows["label"][at]] if label not in classes)
    known = ", ".join(map(repr, classes[:20])) + (", …" if len(classes) > 20 else "")
    raise SourceError(
        f"{table.at(int(stored.rows['number'][at]))} has the label {unseen!r}, which training has never "
        f"seen; the labels there are {known}; correct it, or train with it"
    )


def _targets(
    stored: StoredRows, sets: list[tuple[str, ...]], classes: tuple[str, ...], separator: str | None
) -> np.ndarray:
    """int32 (rows,), or uint8 (rows, classes) when a text has several labels."""
    place = {label: at for at, label in enumerate(classes)}
    if separator is None:
        return np.array([place[own[0]] for own in sets], np.int32)[stored.rows["label"]]
    hot = np.zeros((len(sets), len(classes)), np.uint8)
    for row, own in enumerate(sets):
        hot[row, [place[label] for label in own]] = 1
    return hot[stored.rows["label"]]


# Vocabulary and ids.


@dataclass(frozen=True)
class _TrainingTexts(Corpus):
    """The texts of the training part, one after another as they are encoded, to fit an encoder to."""

    rows: StoredRows | None = field(default=None, repr=False)
    part: np.ndarray | None = field(default=None, repr=False)
    on_progress: Progress | None = field(default=None, repr=False)
    spaced: Normalize | None = None

    def chunks(self) -> Iterator[str]:
        assert self.rows is not None
        assert self.part is not None
        at = 0
        for done, texts in self.rows.blocks():
            chosen = self.part[slice(*np.searchsorted(self.part, (at, at + len(texts))))] - at
            some = [texts[i] for i in chosen.tolist()]
            if self.spaced is not None:
                some = [_spaced(normalize_text(text, self.spaced)) for text in some]
            at += len(texts)
            if self.on_progress is not None:
                self.on_progress(done, len(self.rows.texts))
            if chunk := "".join(some):
                yield chunk

    def byte_chunks(self) -> Iterator[bytes]:
        return (chunk.encode() for chunk in self.chunks())


def _fitted(
    texts: _TrainingTexts,
    content: str,
    drawn: list[Any],
    name: str,
    normalize: Normalize,
    min_count: int,
    vocabulary_size: int | None,
) -> Encoder:
    """The encoder fitted to the training part, from the cache where it has it."""
    if name == "word" and vocabulary_size is not None and vocabulary_size < 2:
        raise ConfigError(
            f"the vocabulary size is {vocabulary_size}; it must be 2 or more: <unk> and a word at least"
        )
    key = json.dumps([FORMAT, content, drawn, name, normalize, min_count, vocabulary_size])
    path = cache.folder() / "vocabularies" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    known = cache.read_json(path)
    if known is not None:
        try:
            return encoder_from_json(known)
        except RunError:
            pass  # damaged: fit it again
    if name in ("word", "bpe"):
        texts = replace(texts, spaced=normalize)
    sized = {"vocabulary_size": vocabulary_size} if name == "bpe" and vocabulary_size is not None else {}
    encoder = fit_encoder(name, texts, normalize=normalize, min_count=min_count, **sized)
    if isinstance(encoder, WordEncoder) and vocabulary_size is not None:
        encoder = replace(encoder, words=encoder.words[: vocabulary_size - 1])
    cache.write_json(path, encoder.to_json())
    return encoder


def _encoded(
    rows: tuple[StoredRows, ...], content: str, encoder: Encoder, on_progress: Progress | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, starts and lengths of all examples, from the cache where it has them."""
    base = cache.folder() / "examples" / f"{content}-{encoder_digest(encoder)[:16]}-{FORMAT}"
    count = sum(map(len, rows))
    found = _open_ids(base, count)
    if found is None:
        _write_ids(base, rows, encoder, on_progress)
        found = _open_ids(base, count)
    if found is None:
        raise _lost(base)
    return found


def _open_ids(base: Path, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    try:
        starts = _mapped(base.with_name(f"{base.name}.starts"), np.dtype(np.int64), count + 1)
        lengths = _mapped(base.with_name(f"{base.name}.lengths"), np.dtype(np.int32), count)
        return (
            _mapped(base.with_name(f"{base.name}.ids"), np.dtype(np.int32), int(starts[-1])),
            starts,
            lengths,
        )
    except (OSError, ValueError):
        return None


def _write_ids(
    base: Path, rows: tuple[StoredRows, ...], encoder: Encoder, on_progress: Progress | None
) -> None:
    total, before, end = sum(len(stored.texts) for stored in rows), 0, 0
    with (
        cache.writing(base.with_name(f"{base.name}.ids")) as ids,
        cache.writing(base.with_name(f"{base.name}.lengths")) as lengths,
        cache.writing(base.with_name(f"{base.name}.starts")) as starts,
    ):
        _put(starts, np.zeros(1, np.int64))
        for stored in rows:
            for done, texts in stored.blocks():
                sizes = np.empty(len(texts), np.int32)
                for at, text in enumerate(texts):
                    some = encode_text(encoder, text)
                    sizes[at] = len(some)
                    _put(ids, some)
                _put(lengths, sizes)
                _put(starts, end + np.cumsum(sizes, dtype=np.int64))
                end += int(sizes.sum(dtype=np.int64))
                if on_progress is not None:
                    on_progress(before + done, total)
            before += len(stored.texts)


def _put(file: BinaryIO, values: np.ndarray) -> None:
    file.write(values.data)
