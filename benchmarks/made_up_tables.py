"""Tables of labelled texts that nobody wrote, in the shapes that people have: for `benchmarks/tables.py`.

Texts are drawn from a seed, so that everybody measures the same. A label is told by words, by pairs of words,
by their order, or by the characters of a word. A part of the texts has no cue, so nobody can be always right.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

Rows = list[tuple[str, str]]


class Shape(NamedTuple):
    """A kind of table.

    Attributes:
        name: its name.
        rows: (random numbers, number of rows) → texts and labels.
        size: the number of rows.
        write: (rows, path without ending) → the file or folder, as its owner has it.
    """

    name: str
    rows: Callable[[random.Random, int], Rows]
    size: int
    write: Callable[[Rows, Path], Path]


# Words.

_ONSETS, _VOWELS, _CODAS = "bdfgklmnprstvz", "aeiou", ("", "n", "r", "s", "l", "x")


def word(chance: random.Random, syllables: int = 2) -> str:
    pieces = (
        chance.choice(_ONSETS) + chance.choice(_VOWELS) + chance.choice(_CODAS) for _ in range(syllables)
    )
    return "".join(pieces)


def lexicon(seed: str, size: int, syllables: int = 2) -> list[str]:
    chance = random.Random(seed)
    found = dict.fromkeys(word(chance, syllables) for _ in range(3 * size))
    return list(found)[:size]


def filler(chance: random.Random, words: Sequence[str], length: int) -> list[str]:
    """Words of which few are frequent, as in language."""
    return [words[min(int(chance.paretovariate(0.7)) - 1, len(words) - 1)] for _ in range(length)]


def topics(labels: int, *, cues: int, length: tuple[int, int], told: float = 0.85) -> Callable:
    """Texts with words of their topic among words that all have."""

    def rows(chance: random.Random, size: int) -> Rows:
        common = lexicon("common", 3000)
        own = [lexicon(f"topic {label}", 60, 3) for label in range(labels)]
        found = []
        for _ in range(size):
            label = (
                min(int(chance.paretovariate(0.9)) - 1, labels - 1)
                if labels > 10
                else chance.randrange(labels)
            )
            text = filler(chance, common, chance.randint(*length))
            if chance.random() < told:
                for cue in filler(chance, own[label], cues):
                    text.insert(chance.randrange(len(text) + 1), cue)
            found.append((" ".join(text), f"label {label}"))
        return found

    return rows


def negation(chance: random.Random, size: int) -> Rows:
    """Praise and blame, which a word before them turns round."""
    common, good, bad = lexicon("common", 800), lexicon("good", 40, 3), lexicon("bad", 40, 3)
    found = []
    for _ in range(size):
        positive, turned = chance.random() < 0.5, chance.random() < 0.4
        cue = chance.choice(good if positive != turned else bad)
        text = filler(chance, common, chance.randint(5, 25))
        at = chance.randrange(len(text) + 1)
        text[at:at] = ["not", cue] if turned else [cue]
        found.append((" ".join(text), "positive" if positive else "negative"))
    return found


def order(chance: random.Random, size: int) -> Rows:
    """Journeys between places: the label is the country of the place after "to"."""
    places = {country: lexicon(country, 30, 3) for country in ("north", "south", "east", "west")}
    common, found = lexicon("common", 300), []
    for _ in range(size):
        start, goal = (chance.choice(list(places)) for _ in range(2))
        text = [*filler(chance, common, chance.randint(2, 6)), "from", chance.choice(places[start])]
        text += ["to", chance.choice(places[goal]), *filler(chance, common, chance.randint(0, 4))]
        found.append((" ".join(text), goal))
    return found


def endings(chance: random.Random, size: int) -> Rows:
    """Single words, whose label their last letters tell."""
    kinds = {"verb": ("are", "ire", "ere"), "noun": ("ione", "tore", "ezza"), "name": ("ini", "etti", "oni")}
    found = []
    for _ in range(size):
        label = chance.choice(list(kinds))
        tail = chance.choice(kinds[label] if chance.random() < 0.92 else kinds[chance.choice(list(kinds))])
        found.append((word(chance, chance.randint(1, 3)) + tail, label))
    return found


def unspaced(chance: random.Random, size: int) -> Rows:
    """Headlines of a script without spaces: pairs of characters tell the label."""
    characters = [chr(code) for code in range(0x4E00, 0x4E00 + 900)]
    own = {
        f"栏目{label}": [*zip(*[iter(random.Random(label).sample(characters, 40))] * 2, strict=True)]
        for label in range(6)
    }
    found = []
    for _ in range(size):
        label = chance.choice(list(own))
        text = filler(chance, characters, chance.randint(8, 18))
        for _ in range(2 if chance.random() < 0.9 else 0):
            at = chance.randrange(len(text))
            text[at:at] = chance.choice(own[label])
        found.append(("".join(text), label))
    return found


def inflected(chance: random.Random, size: int) -> Rows:
    """Stems with many endings each, so that most words of a text are rare."""
    stems = {label: lexicon(f"stems {label}", 80, 2) for label in ("sports", "money", "health")}
    common, tails, found = lexicon("stems", 500, 2), lexicon("tails", 60, 1), []
    for _ in range(size):
        label = chance.choice(list(stems))
        text = [stem + chance.choice(tails) for stem in filler(chance, common, chance.randint(6, 14))]
        for _ in range(2):
            text.insert(chance.randrange(len(text)), chance.choice(stems[label]) + chance.choice(tails))
        found.append((" ".join(text), label))
    return found


def rare(chance: random.Random, size: int) -> Rows:
    """One text in a hundred is of the other kind."""
    several = topics(2, cues=3, length=(6, 20), told=0.97)
    kinds = {
        label: [text for text, own in several(chance, 3 * size) if own == label]
        for label in ("label 0", "label 1")
    }
    few = max(10, size // 100)
    return [(text, "usual") for text in kinds["label 0"][: size - few]] + [
        (text, "rare") for text in kinds["label 1"][:few]
    ]


# Files.


def _csv(
    header: Sequence[str], *, encoding: str = "utf-8", delimiter: str = ",", first: str = "text"
) -> Callable:
    def write(rows: Rows, path: Path) -> Path:
        path = path.with_suffix(".csv" if delimiter != "\t" else ".tsv")
        with open(path, "w", encoding=encoding, newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            if header:
                writer.writerow(header)
            empty = [""] * (len(header) - 2)
            for text, label in rows:
                writer.writerow([*([text, label] if first == "text" else [label, text]), *empty])
        return path

    return write


def _json_lines(rows: Rows, path: Path) -> Path:
    path = path.with_suffix(".jsonl")
    lines = (json.dumps({"body": text, "queue": label}, ensure_ascii=False) for text, label in rows)
    path.write_text("\n".join(lines) + "\n")
    return path


def _fast_text(rows: Rows, path: Path) -> Path:
    path = path.with_suffix(".txt")
    path.write_text("".join(f"__label__{label.replace(' ', '_')} {text}\n" for text, label in rows))
    return path


def _names(rows: Rows, path: Path) -> Path:
    path.mkdir()
    for label in sorted({label for _, label in rows}):
        (path / f"{label}.txt").write_text("".join(f"{text}\n" for text, own in rows if own == label))
    return path


def _accented(rows: Rows, path: Path) -> Path:
    """Latin-1 with unnamed, empty columns, as spreadsheets leave them."""
    return _csv(("v1", "v2", "", "", ""), encoding="cp1252", first="label")(
        [(f"{text} – café n° {place % 9}", label) for place, (text, label) in enumerate(rows)], path
    )


SHAPES = (
    Shape("spam", topics(2, cues=2, length=(5, 25)), 500, _accented),
    Shape("titles", topics(2, cues=2, length=(4, 9)), 300, _csv(("title", "label"))),
    Shape(
        "intents",
        topics(25, cues=2, length=(4, 10), told=0.97),
        4000,
        _csv(("text", "intent"), delimiter="\t"),
    ),
    Shape("opinions", negation, 6000, _csv(("review", "sentiment"))),
    Shape("journeys", order, 700, _json_lines),
    Shape("words", endings, 3000, _names),
    Shape("headlines", unspaced, 4000, _csv((), delimiter="\t")),
    Shape("inflected", inflected, 1500, _csv(("text", "topic"))),
    Shape("articles", topics(5, cues=8, length=(80, 300), told=0.95), 800, _csv(("text", "category"))),
    Shape("rare", rare, 3000, _csv(("label", "text"), first="label")),
    Shape("queues", topics(200, cues=3, length=(5, 15), told=0.97), 12000, _json_lines),
    Shape("tagged", topics(4, cues=1, length=(3, 8), told=0.8), 2500, _fast_text),
)
