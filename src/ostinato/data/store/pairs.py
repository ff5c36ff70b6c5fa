"""Sentence pairs in the cache, so that they are read once and may be larger than memory.

The folder `pairs` holds the sentences of each side (.sources, .targets); the ends, number and draw of each
pair (.rows); and the counts of all that (.json).
"""

import hashlib
import unicodedata
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from ostinato.data.sources.pairs import Pair, Pairs, PairsDigest
from ostinato.data.store.texts import StoredTexts
from ostinato.files import cache
from ostinato.files.cache import Progress

FORMAT = 1
"""Increased when equal pairs give other files than before, so that old files are not used."""
SIDES = ("sources", "targets")
_ROW = np.dtype([("source_end", "<i8"), ("target_end", "<i8"), ("number", "<i8"), ("draw", "<u8")])
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class StoredPairs:
    """Sentence pairs, memory-mapped.

    Attributes:
        sides: the sources and the targets.
        numbers: the line or place of each pair, int64 (pairs,).
        draws: a number below 2**64 for each pair, uint64 (pairs,): a hash of its source, the same on every
            machine.
        content: SHA-256 (hex) of all pairs.
    """

    sides: tuple[StoredTexts, StoredTexts]
    numbers: np.ndarray
    draws: np.ndarray
    content: str


def stored_pairs(pairs: Pairs, on_progress: Progress | None = None) -> StoredPairs:
    """Sentence pairs, from the cache where it has them.

    Raises:
        SourceError: as `Pairs.rows` does; the pairs change meanwhile; the cache cannot be written.
    """
    identity = pairs.identity()
    base = cache.folder() / "pairs" / f"{identity}-{FORMAT}"
    return cache.found_or_made(
        base, lambda: _find(base, pairs), lambda: _write(base, pairs, identity, on_progress)
    )


def _find(base: Path, pairs: Pairs) -> StoredPairs | None:
    """The pairs in files of the cache; None when there are none or they are damaged."""
    known = cache.read_json(cache.with_ending(base, "json"))
    if known is None:
        return None
    try:
        rows = cache.map_array(cache.with_ending(base, "rows"), _ROW, known["pairs"])
        sources, targets = (
            cache.map_array(cache.with_ending(base, side), np.dtype(np.uint8), known[side]) for side in SIDES
        )
        content = str(known["content"])
        skipped = {str(reason): int(count) for reason, count in known["skipped"].items()}
    except (KeyError, TypeError, ValueError, OSError, AttributeError):
        return None
    pairs.skipped.clear()
    pairs.skipped.update(skipped)
    sides = StoredTexts(sources, rows["source_end"]), StoredTexts(targets, rows["target_end"])
    return StoredPairs(sides, rows["number"], rows["draw"], content)


def _write(base: Path, pairs: Pairs, identity: str, on_progress: Progress | None) -> None:
    digest, ends, count = PairsDigest(), [0, 0], 0
    read = pairs.rows(None if on_progress is None else lambda at: on_progress(at, pairs.size))
    with (
        cache.writing(cache.with_ending(base, "sources")) as sources,
        cache.writing(cache.with_ending(base, "targets")) as targets,
        cache.writing(cache.with_ending(base, "rows")) as rows,
    ):
        while some := list(islice(read, _BLOCK)):
            waiting = []
            for pair in some:
                digest.add(pair.source, pair.target)
                ends[0] += sources.write(pair.source.encode())
                ends[1] += targets.write(pair.target.encode())
                waiting.append((*ends, pair.number, _draw(pair)))
            rows.write(np.array(waiting, _ROW).tobytes())
            count += len(some)
    pairs.refuse_change(identity)
    known = {"pairs": count, "sources": ends[0], "targets": ends[1], "content": digest.hex()}
    cache.write_json(cache.with_ending(base, "json"), known | {"skipped": pairs.skipped})


def _draw(pair: Pair) -> int:
    """A number below 2**64 that looks random and depends on the source only."""
    source = unicodedata.normalize("NFKC", pair.source).strip()
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big")
