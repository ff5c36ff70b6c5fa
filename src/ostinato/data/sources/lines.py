"""The lines of a corpus, for lists in which every line is a text of its own."""

import io
from collections.abc import Iterable, Iterator

_BYTE_ORDER_MARK = "\ufeff"


def lines_in(pieces: Iterable[str]) -> Iterator[str]:
    r"""The lines of some files, without their ends.

    A line ends with \n, \r\n or \r, or with its file. A byte order mark at the beginning of a file is left
    out. No other character ends a line.

    Args:
        pieces: the text of the files, with "" after each, as from `Corpus.pieces`.
    """
    ends, rest, first = io.IncrementalNewlineDecoder(None, translate=True), "", True
    for piece in pieces:
        text = ends.decode(piece, final=not piece)
        if first and (text or rest):
            text, first = text.removeprefix(_BYTE_ORDER_MARK), False
        *whole, last = text.split("\n")
        if whole:
            whole[0] = rest + whole[0]
            yield from whole
            rest = last
        else:
            rest += last
        if not piece:
            if rest:
                yield rest
            rest, first = "", True
            ends.reset()
