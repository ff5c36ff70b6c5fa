"""Tunes in ABC notation: where a text of them is cut, and whether what a model writes is one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.data.encoders.registry import Encoder
from ostinato.data.events import midi, scores
from ostinato.data.events.abc import tunes
from ostinato.data.sources.corpora import Corpus
from ostinato.errors import ConfigError, RunError, SourceError
from ostinato.files import atomic
from ostinato.tasks.language_model.vocabulary import LanguageVocabulary
from ostinato.wording import shown

BEGINS = "X:"
_ENDS = re.compile(r"\n\s*\n")
LENGTH = 4_000
"""Tokens of a tune, where nobody says another number; few have a quarter of them."""
_SEARCHED = 1 << 16  # tokens after a cut in which a tune must begin
_GRID = 24  # steps of a quarter note: 32nd notes, and triplets of 16th notes
_TEMPO = re.compile(r"^Q:\D*(?:(\d+)/(\d+)\s*=\s*)?(\d+)", re.MULTILINE)
_USUAL_TEMPO = 120.0
_TOLD = 3  # bars


def are_tunes(corpus: Corpus) -> bool:
    """Whether all its files are of ABC."""
    return bool(corpus.files) and all(file.suffix.lower() == ".abc" for file in corpus.files)


def begin_of_tune(ids: np.ndarray, at: int, encoder: Encoder) -> int:
    """The first place from `at` on where a tune begins; `at` itself if none does within 65,536 tokens."""
    near = ids[at : at + _SEARCHED]
    place = encoder.decode(near).find(f"\n{BEGINS}")
    if place < 0:
        return at
    ends = np.cumsum(encoder.characters[near])
    return at + int(np.searchsorted(ends, place + 1)) + 1


def checked(words: LanguageVocabulary, options: Mapping[str, Any], interactive: bool) -> dict[str, Any]:
    """What the options of `Answers.generate` must be instead, to write one tune.

    Raises:
        ConfigError: one of them does not go with --abc.
        SourceError: music21 is missing.
    """
    if words.lines:
        raise ConfigError("--abc writes a tune of several lines, and this is a model of lines")
    if interactive or options["count"] != 1 or options["stop"] is not None or options["prompts"]:
        raise ConfigError("--abc writes one tune; leave out --count, --stop, --prompts and --interactive")
    prompt = options["prompt"]
    if prompt and not prompt.startswith(BEGINS):
        raise ConfigError(f"the --prompt of a tune: it must begin with {BEGINS}, got {shown(prompt)}")
    scores.check_installed()
    return {"prompt": prompt or BEGINS, "stop": f"\n{BEGINS}"}


def tell(text: str, path: Path | None, run: Path | None) -> None:
    """Prints the first tune of a text, says whether its bars are right, and saves it.

    Args:
        text: what a model wrote.
        path: a file of ABC or MIDI, as its ending says.
        run: the run, to print JSON.

    Raises:
        RunError: the text has no tune, or `path` is of MIDI and the tune has no note.
    """
    tune = first_tune(text)
    if not tune:
        raise RunError(f"the model wrote no tune: none of its lines begins with {BEGINS}")
    said = judged(tune)
    if run is not None:
        print(json.dumps({"run": str(run), "tune": tune, "bars": said}, ensure_ascii=False))
    else:
        print(tune, end="", flush=True)
        print(said, file=sys.stderr)
    if path is None:
        return
    if path.suffix.lower() == ".mid":
        write_midi(tune, path)
    else:
        atomic.replace(path, tune.encode("utf-8", "surrogateescape"))
    print(f"wrote {path}", file=sys.stderr)


def first_tune(text: str) -> str:
    """The first tune of a text, up to the blank line that ends it. "" if the text has no tune."""
    found = tunes(text)
    return f"{_ENDS.split(found[0])[0].rstrip()}\n" if found else ""


def judged(tune: str) -> str:
    """A sentence about the bars of a tune: how many are as long as its metre says.

    Raises:
        SourceError: music21 is missing.
    """
    scores.check_installed()
    try:
        bars = scores.bars(tune)
    except SourceError as error:
        return str(error)
    wrong = [
        f"bar {number} has {bar.quarters:g} quarter notes instead of {bar.expected:g}"
        for number, bar in enumerate(bars, 1)
        if not bar.right
    ]
    named = f": {', '.join(wrong[:_TOLD])}{', …' if len(wrong) > _TOLD else ''}" if wrong else ""
    return f"{len(bars) - len(wrong):,} of {len(bars):,} bars are as long as the metre says{named}"


def write_midi(tune: str, path: Path) -> None:
    """Writes a tune as MIDI, with its own tempo.

    Raises:
        RunError: the tune cannot be read, or has no note.
    """
    try:
        found = scores.read_tune(tune)
    except SourceError as error:
        raise RunError(f"no MIDI was written: {error}") from error
    if not len(found.key):
        raise RunError("no MIDI was written: the tune must have a note, got none")
    midi.write(path, found.roll(_GRID), _GRID, tempo_of(tune))


def tempo_of(tune: str) -> float:
    """Quarter notes of a minute, of the field Q: if there is one, within what MIDI can say."""
    found = _TEMPO.search(tune)
    if found is None:
        return _USUAL_TEMPO
    unit = 4 * int(found[1]) / max(1, int(found[2])) if found[1] else 1.0
    return float(min(max(unit * int(found[3]), midi.LOWEST_TEMPO), midi.HIGHEST_TEMPO))
