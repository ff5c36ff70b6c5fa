"""Files of piano rolls: arrays of keys by step, in MATLAB's format or NumPy's.

The four sets that papers compare on (JSB Chorales, Nottingham, MuseData, Piano-midi.de;
Boulanger-Lewandowski et al. 2012, arXiv:1206.6392) come as `.mat` with the parts `traindata`, `validdata` and
`testdata`, each a list of arrays (steps, 88), of which the first column is the key 21, the lowest of a piano.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterable

import numpy as np

from ostinato.data.events.midi import KEYS, MOST_STEPS, as_roll
from ostinato.data.sources.named import MUSIC
from ostinato.errors import SourceError
from ostinato.files.plain import read_plain

PIANO = 88
LOWEST = 21
"""The lowest of a piano's 88 keys."""
LARGEST = 1 << 26
"""Bytes of a file of rolls."""
_UNPACKED = 1 << 29
_GRIDS = {entry.sha256: 1 if entry.name == "jsb" else 2 for entry in MUSIC.values()}
_PARTS = {"train": "train", "valid": "validation", "test": "test"}

Parts = dict[str, list[np.ndarray]]
"""The rolls of `train`, `validation` and `test`, each uint8 (steps, 128), see `ostinato.data.events.midi`."""


def read_mat(path: str | os.PathLike[str]) -> Parts:
    """The rolls of a `.mat` file with `traindata`, `validdata` and `testdata`.

    Raises:
        SourceError: it is not such a file.
    """
    from scipy.io import loadmat

    name = os.fspath(path)
    try:
        content = loadmat(io.BytesIO(_bytes(path)))
    except SourceError:
        raise
    except Exception as error:  # damaged bytes reach every line of the parser
        reason = str(error) or type(error).__name__
        raise SourceError(f"{name}: it is not a .mat file of MATLAB 5 to 7: {reason}") from error
    wanted = [f"{part}data" for part in _PARTS]
    missing = [each for each in wanted if each not in content]
    if missing:
        found = ", ".join(each for each in content if not each.startswith("__")) or "nothing"
        raise SourceError(f"{name}: piano rolls must be in {', '.join(wanted)}, got {found}")
    return {
        part: [_roll(piece, f"{name}: {key}data") for piece in np.asarray(content[f"{key}data"]).ravel()]
        for key, part in _PARTS.items()
    }


def read_npz(path: str | os.PathLike[str]) -> Parts:
    """The rolls of an `.npz` file: an array of keys by step for each piece.

    Pieces whose names begin with `train`, `valid` and `test` are in these parts, others in `train`.

    Raises:
        SourceError: it is not such a file.
    """
    name, parts = os.fspath(path), Parts(train=[], validation=[], test=[])
    raw = _bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > _UNPACKED:
            raise ValueError(f"its arrays must have at most {_UNPACKED:,} bytes, got {unpacked:,}")
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            arrays = {each: archive[each] for each in archive.files}
    except Exception as error:  # damaged bytes reach every line of the parser
        reason = str(error) or type(error).__name__
        raise SourceError(f"{name}: it is not an .npz file of plain arrays: {reason}") from error
    for key, array in arrays.items():
        part = next((part for start, part in _PARTS.items() if key.lower().startswith(start)), "train")
        parts[part].append(_roll(array, f"{name}: {key}"))
    return parts


def known_grid(path: str | os.PathLike[str]) -> int | None:
    """Steps of a quarter note of one of the four sets, which say it nowhere; None for any other file.

    Raises:
        SourceError: the file cannot be read.
    """
    return _GRIDS.get(hashlib.sha256(_bytes(path)).hexdigest())


def _bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        return read_plain(path, LARGEST)
    except OSError as error:
        raise SourceError(f"{os.fspath(path)}: {error.strerror or error}") from error


def _roll(piece: object, name: str) -> np.ndarray:
    """A roll of 88 or 128 keys, checked."""
    array = np.asarray(piece)
    if array.ndim != 2 or array.shape[1] not in (PIANO, KEYS) or array.dtype.kind not in "buif":
        raise SourceError(
            f"{name}: a piece must be numbers of the shape (steps, {PIANO}) or (steps, {KEYS}), got "
            f"{array.dtype} {array.shape}"
        )
    if len(array) > MOST_STEPS:
        raise SourceError(f"{name}: a piece must have at most {MOST_STEPS:,} steps, got {len(array):,}")
    keys = np.zeros((len(array), KEYS), bool)
    first = LOWEST if array.shape[1] == PIANO else 0
    keys[:, first : first + array.shape[1]] = array > 0
    return as_roll(keys)


def content_hash(rolls: Iterable[np.ndarray]) -> str:
    """The SHA-256 of rolls, in their order."""
    digest = hashlib.sha256()
    for roll in rolls:
        digest.update(np.int64(len(roll)).tobytes())
        digest.update(np.ascontiguousarray(roll).tobytes())
    return digest.hexdigest()
