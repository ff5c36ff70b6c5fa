"""Texts concatenated in a file of the cache, and where each ends.

The rows of a table are in one such file, the sources and targets of pairs in two.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

_BLOCK = 4096
_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True, eq=False)
class StoredTexts:
    """Memory-mapped texts.

    Attributes:
        data: all texts in UTF-8, uint8 (bytes,).
        ends: where each text ends in `data`, int64 (texts,).
    """

    data: np.ndarray = field(repr=False)
    ends: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.ends)

    def text(self, i: int) -> str:
        """Text number i, from 0 on."""
        start = int(self.ends[i - 1]) if i else 0
        return self.data[start : int(self.ends[i])].tobytes().decode()

    def blocks(self) -> Iterator[tuple[int, list[str]]]:
        """All texts in order, as (bytes so far, texts) of some thousand texts, fewer where they are long."""
        done = at = 0
        while at < len(self):
            ends = np.array(self.ends[at : at + _BLOCK])
            ends = ends[: max(1, int(np.searchsorted(ends, done + _BLOCK_BYTES, "right")))]
            texts = []
            for end in ends.tolist():
                texts.append(self.data[done:end].tobytes().decode())
                done = end
            at += len(texts)
            yield done, texts


def content_of_all(contents: Sequence[str]) -> str:
    """SHA-256 (hex) of what one source or several contain, of which these are the hashes."""
    return contents[0] if len(contents) == 1 else hashlib.sha256("".join(contents).encode()).hexdigest()
