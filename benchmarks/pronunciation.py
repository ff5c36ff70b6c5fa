"""How well a translator learns to pronounce words, with the recipe for strings.

    python benchmarks/pronunciation.py                              # made-up words and rules: one minute
    python benchmarks/pronunciation.py cmudict.dict --minutes 5     # the CMU Pronouncing Dictionary

Made-up words are spelled by syllables and pronounced by rules with context (digraphs, soft c and g, doubled
consonants, a silent final e that lengthens the vowel before it, stress on the first vowel), so a perfect
translator exists. The CMU dictionary (https://github.com/cmusphinx/cmudict) is a file of lines `word P H1 …`;
words with several pronunciations are right with any of them, and stay on one side of the split. The figures
are over a tenth of the words, which training does not see.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import ostinato
from ostinato.training.events import Notice, Started
from ostinato.training.recipes import read_recipe

WORDS = 6000
SHORT = {"a": "AE", "e": "EH", "i": "IH", "o": "AA", "u": "AH"}
LONG = {"a": "EY", "e": "IY", "i": "AY", "o": "OW", "u": "UW"}
PAIRS = {"sh": "SH", "ch": "CH", "th": "TH", "ph": "F", "ng": "NG", "ck": "K", "qu": "K W", "x": "K S"}
PAIRS |= {"ee": "IY", "oo": "UW", "ai": "EY", "oa": "OW", "ou": "AW"}
SINGLE = {"b": "B", "d": "D", "f": "F", "h": "HH", "j": "JH", "k": "K", "l": "L", "m": "M", "n": "N"}
SINGLE |= {"p": "P", "r": "R", "s": "S", "t": "T", "v": "V", "w": "W", "y": "Y", "z": "Z"}

ONSETS = [*"bcdfghjklmnprstvwyz", "sh", "ch", "th", "ph", "qu", "br", "st", "pl", "tr", "gr", "sl"]
MIDDLES = [*"aeiou", *"aeiou", "ee", "oo", "ai", "oa", "ou"]
CODAS = ["", "", "", *"bdglmnprst", "ck", "ng", "sh", "x", "ll", "tt", "nd"]


def made_up(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Different words with their pronunciations by `pronounced`."""
    draw, words = random.Random(seed), set[str]()
    while len(words) < count:
        syllables = range(draw.choice((1, 2, 2, 3)))
        word = "".join(draw.choice(ONSETS) + draw.choice(MIDDLES) + draw.choice(CODAS) for _ in syllables)
        words.add(word + draw.choice(("", "", "e")) * (word[-1] not in "aeiou"))
    return [(word, pronounced(word)) for word in sorted(words)]


def pronounced(word: str) -> str:
    """The symbols of a made-up word, with spaces between; the first vowel has a 1, the others a 0."""
    lengthened = len(word) - 3 if re.search("[^aeiou][aeiou][^aeioux]e$", f" {word}") else None
    sounds, at = list[str](), 0
    while at < len(word):
        letter, nexts = word[at], word[at + 1 : at + 2]
        if word[at : at + 2] in PAIRS or letter in PAIRS:
            size = 2 if word[at : at + 2] in PAIRS else 1
            sounds += PAIRS[word[at : at + size]].split()
            at += size
            continue
        if letter in SHORT:
            last = at == len(word) - 1
            if letter != "e" or not last or len(word) < 4:
                sounds.append((LONG if at == lengthened else SHORT)[letter])
        elif letter in "cg":
            soft = nexts != "" and nexts in "ei"
            sounds.append({"c": ("K", "S"), "g": ("G", "JH")}[letter][soft])
        elif letter != nexts:
            sounds.append(SINGLE[letter])
        at += 1
    vowels = {*SHORT.values(), *LONG.values(), "AW"}
    first = next((n for n, sound in enumerate(sounds) if sound in vowels), None)
    return " ".join(
        f"{sound}{int(n == first)}" if sound in vowels else sound for n, sound in enumerate(sounds)
    )


def of_dictionary(path: Path) -> list[tuple[str, str]]:
    """The words of a file of the CMU dictionary; the numbers of further pronunciations are left out."""
    lines = path.read_text(encoding="utf-8").splitlines()
    words = (line.partition(" #")[0].split(maxsplit=1) for line in lines if not line.startswith(";;;"))
    return [(re.sub(r"\(\d+\)$", "", word), " ".join(said.split())) for word, said in words]


def split(pairs: Iterable[tuple[str, str]]) -> tuple[list[tuple[str, str]], dict[str, set[str]]]:
    """Pairs to train on, and what may be said for each word of a tenth, which is not among them."""
    said: dict[str, set[str]] = {}
    for word, sounds in pairs:
        said.setdefault(word, set()).add(sounds)
    words = sorted(said)
    random.Random(1).shuffle(words)
    kept, others = words[: len(words) // 10], words[len(words) // 10 :]
    return [(word, sounds) for word in others for sounds in sorted(said[word])], {w: said[w] for w in kept}


def measured(pairs: list[tuple[str, str]], minutes: float, most: int, name: str) -> dict[str, object]:
    """Trains with a recipe, and pronounces at most so many words of the tenth that was kept."""
    train, kept = split(pairs)
    recipe = read_recipe("translator", name)
    training = {name: value for name, value in recipe.training.items() if name != "epochs"}
    began = time.perf_counter()

    def told(event: object) -> None:
        if isinstance(event, Started):
            print(*event.notes, sep="\n")
        elif isinstance(event, Notice):
            print(event.sentence)

    with tempfile.TemporaryDirectory() as folder:
        run = ostinato.train(
            ostinato.TranslatorConfig(**recipe.task),
            train,
            training=ostinato.TrainingConfig(**training, minutes=minutes),
            out=Path(folder) / "run",
            on_event=told,
        )
        seconds = time.perf_counter() - began
        words = list(kept)[:most]
        answers = [answer.text for answer in run.predict(words)]
    right = [answer in kept[word] for word, answer in zip(words, answers, strict=True)]
    for word, answer, good in list(zip(words, answers, right, strict=True))[:500]:
        if not good:
            print(f"  {word:<20}{answer:<40}{' | '.join(kept[word])}")
    return {
        "pairs": len(train),
        "steps": run.step,
        "seconds with the evaluation at the end": round(seconds, 1),
        "words": len(words),
        "exact match": sum(right) / len(right),
        "load before": LOAD[0],
        "load after": os.getloadavg()[0],
    }


LOAD = os.getloadavg()

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dictionary", nargs="?", type=Path, help="a file of the CMU dictionary")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--recipe", default="strings")
    parser.add_argument("--words", type=int, default=2000, help="the most words to pronounce")
    parser.add_argument("--out", type=Path, help="where to save the figures as JSON")
    given = parser.parse_args()
    found = made_up(WORDS) if given.dictionary is None else of_dictionary(given.dictionary)
    figures = measured(found, given.minutes, given.words, given.recipe)
    print(json.dumps(figures, indent=2))
    if given.out is not None:
        given.out.write_text(json.dumps(figures, indent=2) + "\n")
