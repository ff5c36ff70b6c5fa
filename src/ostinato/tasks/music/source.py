"""What a music model reads: MIDI files, tunes in ABC, a file of piano rolls, or chorales."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ostinato.data.events import scores
from ostinato.data.sources.named import MUSIC, fetch
from ostinato.errors import RunError, SourceError
from ostinato.tasks.base import Json
from ostinato.tasks.config import COMMON_DATA, DATA
from ostinato.wording import hint_after, shown

MIDI = (".mid", ".midi", ".kar", ".rmi")
ABC = (".abc",)
ROLLS = (".mat", ".npz")
CHORALES = "chorales"


@dataclass(frozen=True)
class Music:
    """Files of music, not read yet.

    Attributes:
        given: what the user gave: the name of a set or, absolute, a file, a folder or a glob.
        files: the files, in their order.
        kind: `midi`, `abc`, `rolls` for one file of piano rolls, or `chorales`, which have no file.
        drums: whether percussion counts as notes.
        skip_bad: whether pieces that cannot be read are left out.
    """

    given: str
    files: tuple[Path, ...]
    kind: Literal["midi", "abc", "rolls", "chorales"]
    drums: bool = False
    skip_bad: bool = False

    @property
    def name(self) -> str:
        """The name in messages."""
        return shown(self.given)

    def describe(self) -> Json:
        """JSON that `open_source` opens again."""
        return {"music": self.given, "drums": self.drums, "skip_bad": self.skip_bad}


def open_source(
    source: Annotated[
        str | os.PathLike[str] | Music | Json | None,
        "A folder of MIDI files or of tunes in ABC, a 'glob*' of them, one such file, piano rolls in a .mat "
        "or .npz file, or the name of a set: chorales (the default, of J. S. Bach, in the package music21), "
        "jsb, nottingham, musedata or pianomidi.",
    ] = None,
    *,
    drums: Annotated[bool, DATA, "Take percussion (channel 10) for notes, too."] = False,
    skip_bad: Annotated[bool, COMMON_DATA, "Leave out pieces that cannot be read, and name them."] = False,
) -> Music:
    """Finds the files of a source, without reading them.

    Args:
        source: see above; in Python also the description of one.
        drums, skip_bad: see above.

    Raises:
        SourceError: the path does not exist or has no music, has both MIDI and ABC, or a set cannot be
            downloaded.
    """
    if isinstance(source, Music):
        return source
    if isinstance(source, dict):
        if not isinstance(source.get("music"), str):
            raise RunError(f"the description of the source is damaged: {shown(repr(source))}")
        return open_source(
            source["music"], drums=bool(source.get("drums")), skip_bad=bool(source.get("skip_bad"))
        )
    named = CHORALES if source is None else os.fspath(source)
    if named == CHORALES and not os.path.exists(named):
        try:
            scores.check_installed()
        except SourceError as error:
            raise SourceError(f"{error}, or give a folder of MIDI files") from None
        return Music(named, (), "chorales", drums, skip_bad)
    if named in MUSIC and not os.path.exists(named):
        return Music(named, (fetch(MUSIC[named]),), "rolls", drums, skip_bad)
    given = os.path.abspath(named)
    if glob.has_magic(given) and not os.path.exists(given):
        files = [Path(found) for found in sorted(glob.glob(given, recursive=True))]
        found = [file for file in files if file.suffix.lower() in MIDI + ABC]
        where = f"no file that matches {shown(given)}"
    elif os.path.isdir(given):
        found = sorted(file for file in Path(given).rglob("*") if _is_music(file, Path(given)))
        where = f"no file in the folder {shown(given)}"
    elif os.path.exists(given):
        ending = Path(given).suffix.lower()
        if ending in ROLLS:
            return Music(given, (Path(given),), "rolls", drums, skip_bad)
        found, where = [Path(given)], ""
    else:
        raise SourceError(f"there is no file or folder {shown(given)}{hint_after(named, (*MUSIC, CHORALES))}")
    if not found:
        raise SourceError(f"{where} has an ending of MIDI or ABC, {', '.join(MIDI + ABC)}")
    tunes = [file for file in found if file.suffix.lower() in ABC]
    if tunes and len(tunes) < len(found):
        raise SourceError(
            f"the files must be all MIDI or all ABC, got {len(found) - len(tunes):,} of MIDI and "
            f"{len(tunes):,} of ABC in {shown(given)}; give a 'glob*' of one kind"
        )
    return Music(given, tuple(found), "abc" if tunes else "midi", drums, skip_bad)


def _is_music(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix.lower() in MIDI + ABC and not hidden and file.is_file()
