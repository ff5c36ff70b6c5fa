"""Texts in a file of the cache, one after another, and where each ends.

Whatever has texts keeps them so: the rows of a table in one such file, sources and targets in two.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

_BLOCK = 4096
_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True, eq=False)
class StoredTexts:
    """Texts that are memory-mapped.

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
        """(bytes so far, texts) of some thousand texts after another, fewer where they are long."""
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
