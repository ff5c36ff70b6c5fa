"""Scores that music21 reads: tunes in ABC notation, and the chorales of its corpus.

music21 takes a tenth of a second for a tune. The cache keeps the notes that it read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ostinato.data.events.abc import tunes
from ostinato.data.events.midi import Notes
from ostinato.errors import SourceError
from ostinato.files import cache
from ostinato.files.lines import read_whole

OnScore = Callable[[int, int], None]
"""Called with (scores read, scores in all)."""
Read = list[Notes | SourceError]
"""The notes of each score, or why it cannot be read."""
QUARTER = 10080
"""Ticks of a quarter note: triplets, quintuplets and septuplets of 32nd notes have whole numbers of them."""
LONGEST = 1 << 16
"""Characters of a tune."""
_FORMAT = 1  # of what is kept in the cache
_LENGTH = re.compile(r"^[LM]:", re.MULTILINE)


class Bar(NamedTuple):
    """A bar of a tune.

    Attributes:
        quarters: how long it is.
        expected: how long its metre says.
        edge: whether a part of the tune begins or ends with it, where bars may be shorter.
    """

    quarters: float
    expected: float
    edge: bool

    @property
    def right(self) -> bool:
        return self.quarters == self.expected or (self.edge and self.quarters < self.expected)


def read_abc(path: Path, name: str, on_score: OnScore | None = None) -> Read:
    """The tunes of an ABC file, without grace notes and the names of chords; repeats are read once.

    Args:
        path: the file.
        name: what messages call it.
        on_score: called after each tune.

    Raises:
        SourceError: the file cannot be read or has no tune, or music21 is missing.
    """
    found = tunes(read_whole(path))
    if not found:
        raise SourceError(f"{name}: a file of ABC must have a line that begins with X:, where a tune begins")
    named = [f"{name}, tune {_number(tune)}" for tune in found]
    digest = hashlib.sha256("".join(found).encode("utf-8", "surrogatepass")).hexdigest()
    return _kept(f"abc-{digest[:32]}", named, lambda: _all(_parsed, found, named, on_score))


def chorales(on_score: OnScore | None = None) -> Read:
    """The 433 works of J. S. Bach in music21's corpus, nearly all of them chorales.

    Args:
        on_score: called after each.

    Raises:
        SourceError: music21 is missing.
    """
    music21 = _music21()
    files = sorted(Path(file) for file in music21.corpus.getComposer("bach"))

    def read(file: Path) -> Any:
        converter = music21.converter.Converter()
        converter.parseFile(file, forceSource=True, storePickle=False)
        return converter.stream

    named = [file.name for file in files]
    return _kept(f"chorales-{len(files)}", named, lambda: _all(read, files, named, on_score))


def read_tune(tune: str) -> Notes:
    """The notes of one tune. Raises SourceError where it cannot be read."""
    (found,) = _all(_parsed, [tune], ["the tune"], None)
    if isinstance(found, SourceError):
        raise found
    return found


def bars(tune: str) -> list[Bar]:
    """The bars of a tune, which has one voice. Raises SourceError where it cannot be read."""
    music21 = _music21()
    handler = music21.abcFormat.ABCHandler()
    with _quiet():
        try:
            handler.process(_with_length(tune))
            found = [*_bars(handler.tokens, music21.abcFormat)]
            return [*found[:-1], *(bar._replace(edge=True) for bar in found[-1:])]
        except Exception as error:  # damaged text reaches every line of the parser
            raise SourceError(f"the tune cannot be read as ABC: {_reason(error)}") from error


def check_installed() -> None:
    """Refuses if the package that knows scores is missing. Raises SourceError."""
    _music21()


def _all(
    read: Callable[[Any], Any], given: Sequence[Any], names: list[str], on_score: OnScore | None
) -> Read:
    found: Read = []
    for number, (each, name) in enumerate(zip(given, names, strict=True), 1):
        with _quiet():
            try:
                found.append(_notes(read(each), name))
            except Exception as error:  # damaged text reaches every line of the parser
                found.append(SourceError(f"{name}: it cannot be read: {_reason(error)}"))
        if on_score is not None:
            on_score(number, len(given))
    return found


def _parsed(tune: str) -> Any:
    if len(tune) > LONGEST:
        raise ValueError(f"it has more than {LONGEST:,} characters")
    return _music21().converter.parse(_with_length(tune), format="abc")


def _notes(score: Any, name: str) -> Notes:
    """The notes of one of music21's scores, those that are tied as one."""
    harmony = _music21().harmony
    found, ends = list[list[int]](), dict[tuple[int, int], list[int]]()  # notes by their end and key
    for each in score.flatten().notes:
        begin, length = _ticks(each.offset), _ticks(each.quarterLength)
        if isinstance(each, harmony.ChordSymbol) or length <= 0:  # a grace note has no length
            continue
        for part in getattr(each, "notes", (each,)):  # a chord has its own
            if not hasattr(part, "pitch"):
                continue
            key, tied = part.pitch.midi, part.tie is not None and part.tie.type in ("stop", "continue")
            note = ends.pop((begin, key), None) if tied else None
            if note is None:
                found.append(note := [begin, begin, key])
            note[1] = begin + length
            ends[note[1], key] = note
    begin, end, key = np.array(sorted(found), np.int64).reshape(-1, 3).T
    return Notes(name, begin, end, key, QUARTER, max(_ticks(score.highestTime), int(end.max(initial=0))))


def _ticks(quarters: Any) -> int:
    return round(quarters * QUARTER)


def _bars(tokens: list[Any], abc: Any) -> Iterator[Bar]:
    """The bars between the lines of a tune's tokens."""
    expected, quarters, begins = 4.0, 0.0, True
    for token in tokens:
        if isinstance(token, abc.ABCMetadata) and token.isMeter():
            signature = token.getTimeSignatureObject()
            expected = 4.0 if signature is None else float(signature.barDuration.quarterLength)
        elif isinstance(token, abc.ABCNote) and not token.inGrace:  # a chord is one, too
            tuplet = token.activeTuplet
            quarters += float(token.quarterLength * (1 if tuplet is None else tuplet.tupletMultiplier()))
        elif isinstance(token, abc.ABCBar):
            ends = not token.isRegular()
            if quarters:
                yield Bar(round(quarters, 6), expected, begins or ends)
                quarters, begins = 0.0, ends
            begins |= ends
    if quarters:
        yield Bar(round(quarters, 6), expected, edge=True)


def _with_length(tune: str) -> str:
    """The tune, with a unit length if neither it nor a metre says one: an eighth, as the standard has it."""
    if _LENGTH.search(tune):
        return tune
    first, _, rest = tune.partition("\n")
    return f"{first}\nL:1/8\n{rest}"


def _number(tune: str) -> str:
    return tune.partition("\n")[0][2:].strip()[:20] or "without a number"


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """music21 prints what it finds strange."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _music21() -> Any:
    try:
        with _quiet():
            import music21
    except ImportError as error:
        raise SourceError(
            f"chorales and ABC need music21 ({error}); `pip install 'ostinato[music]'` installs it"
        ) from error
    return music21


def _kept(key: str, names: list[str], read: Callable[[], Read]) -> Read:
    """What `read` gives, from the cache if it was read before with the same music21."""
    file = f"{key}-music21-{_music21().__version__}-{_FORMAT}.npz"
    path = cache.folder() / "scores" / file

    def make() -> None:
        with cache.writing(path) as raw:
            np.savez_compressed(raw, allow_pickle=False, **_packed(read()))

    return cache.found_or_made(path, lambda: _unpacked(path, names), make)


def _packed(found: Read) -> dict[str, np.ndarray]:
    known = [each for each in found if isinstance(each, Notes)]
    arrays = {
        name: np.concatenate([getattr(each, name) for each in known] or [np.zeros(0, np.int64)])
        for name in ("begin", "end", "key")
    }
    errors = [str(each) if isinstance(each, SourceError) else None for each in found]
    return arrays | {
        "sizes": np.array([len(each.begin) for each in known], np.int64),
        "lengths": np.array([each.length for each in known], np.int64),
        "errors": np.frombuffer(json.dumps(errors).encode(), np.uint8),
    }


def _unpacked(path: Path, names: list[str]) -> Read | None:
    """The inverse of `_packed`. None if the file is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            kept = {name: arrays[name] for name in arrays.files}
        errors = json.loads(kept["errors"].tobytes())
        cuts = np.cumsum(kept["sizes"])[:-1]
        begin, end, key = (np.split(kept[name], cuts) for name in ("begin", "end", "key"))
        if len(errors) != len(names):
            return None
        found, number = Read(), 0
        for name, error in zip(names, errors, strict=True):
            if error is not None:
                found.append(SourceError(error))
                continue
            length = int(kept["lengths"][number])
            found.append(Notes(name, begin[number], end[number], key[number], QUARTER, length))
            number += 1
        return found
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile):
        return None
