"""The lines of a corpus as ids in the cache: each is a text of its own.

The folder `lines` has, for each corpus and encoder, three files: the ids of all lines, where each begins, and
how many there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Literal, Unpack

import numpy as np

from ostinato.data.encoders.normalize import Normalize, normalize_text
from ostinato.data.encoders.registry import Encoder, encoder_class, encoder_digest, fit_encoder
from ostinato.data.sources.corpora import Corpus
from ostinato.data.sources.lines import lines_in
from ostinato.data.store.tokens import FitOptions, content_and_size, digest_of, watched
from ostinato.data.store.vocabularies import fitted_once
from ostinato.errors import SourceError
from ostinato.files import cache
from ostinato.files.cache import Progress

FORMAT = 1
"""Increased when equal texts and encoders give other files than before, so that old files are not used."""
LONGEST = 10_000
"""Tokens of a line; the memory of a training step grows with its longest line."""
LINE_ENDS = "\n\r"
_TOGETHER = 4096


@dataclass(frozen=True, eq=False)
class Lines:
    """The lines of a corpus as ids.

    Attributes:
        ids: the ids of all lines, memory-mapped and read-only, shape (ids,), of the encoder's dtype.
        starts: where each line begins in `ids`, and where the last one ends, int64 (lines + 1,).
        encoder: what made the ids.
        content: SHA-256 (hex) of the bytes of the corpus.
        blank: how many lines were left out because they have no symbols, or only white space.
    """

    ids: np.ndarray = field(repr=False)
    starts: np.ndarray = field(repr=False)
    encoder: Encoder
    content: str
    blank: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """The number of ids of each line, int64 (lines,)."""
        return np.diff(self.starts)

    def line(self, number: int) -> np.ndarray:
        """The ids of a line."""
        return self.ids[int(self.starts[number]) : int(self.starts[number + 1])]

    def texts(self) -> Iterator[str]:
        """The lines as text, in their order; unknown symbols as the encoder prints them."""
        return (decode_line(self.encoder, self.line(number)) for number in range(len(self)))


def encode_line(encoder: Encoder, line: str, *, strict: bool = False) -> np.ndarray:
    """The ids of a line, shape (ids,); `decode_line` gives back the line.

    A `spaced` encoder reads it with one space more at its beginning, so that a word has the same id
    everywhere.

    Raises:
        EncodingError: the line has unknown symbols; with `strict` also unknown words.
    """
    text = _normalized(line, encoder.normalize)
    if not text:
        return np.empty(0, encoder.dtype)
    return encoder.encode(" " + text if encoder.spaced else text, strict)


def decode_line(encoder: Encoder, ids: np.ndarray) -> str:
    """The line of some ids."""
    text = encoder.decode(ids)
    return text.removeprefix(" ") if encoder.spaced else text


def prepare_lines(
    corpus: Corpus,
    *,
    encoder: Encoder | None = None,
    on_progress: Progress | None = None,
    **fit_options: Unpack[FitOptions],
) -> Lines:
    """The lines of a corpus as ids, from the cache where it has them. Blank lines are left out.

    Args:
        corpus: the text.
        encoder: what encodes it; None to fit one to the lines, which has no line ends.
        on_progress: called with the bytes read so far, and in all (None while unknown).
        **fit_options: `name` ("char" if not given) and the options of `fit_encoder`.

    Raises:
        SourceError: the corpus cannot be read, or has no lines but blank ones, or one that is longer than
            `LONGEST` tokens.
        EncodingError: it has symbols unknown to the given encoder.
    """
    content, total = content_and_size(corpus, corpus.stamps(), on_progress)
    seen = watched(corpus, total, on_progress)
    if encoder is None:
        encoder = _fitted(seen, content, fit_options)
    base = cache.folder() / "lines" / f"{content}-{encoder_digest(encoder)[:16]}-{FORMAT}"
    return cache.found_or_made(
        base, lambda: _find(base, encoder, content), lambda: _write(base, encoder, seen)
    )


def _normalized(line: str, normalize: Normalize) -> str:
    text = normalize_text(line, normalize)
    return text if normalize == "none" else text.strip()


@dataclass(frozen=True)
class _Joined(Corpus):
    """The lines of a corpus without their ends, each after a space where `spaced`, to fit an encoder to."""

    spaced: bool = False

    def pieces(self, errors: Literal["strict", "surrogateescape"] = "strict") -> Iterator[str]:
        lines = lines_in(super().pieces(errors))
        while some := list(islice(lines, _TOGETHER)):
            yield "".join(f" {line}" if self.spaced else line for line in some)
        yield ""


def _fitted(corpus: Corpus, content: str, options: FitOptions) -> Encoder:
    """The encoder fitted to the lines of a corpus, from the cache where it has it."""
    name = options.get("name", "char")
    rest = {option: value for option, value in options.items() if option != "name"}
    key = digest_of([name, sorted(rest.items()), "lines", FORMAT])[:16]
    same = {each.name: getattr(corpus, each.name) for each in fields(corpus)}
    joined = _Joined(**same, spaced=encoder_class(name).spaced)
    return fitted_once(f"{content}-{key}", lambda: fit_encoder(name, joined, **rest))  # pyright: ignore[reportArgumentType]


def _find(base: Path, encoder: Encoder, content: str) -> Lines | None:
    about = cache.read_json(cache.with_ending(base, "json")) or {}
    lines, ids, blank = (about.get(name) for name in ("lines", "ids", "blank"))
    if not (isinstance(lines, int) and isinstance(ids, int) and isinstance(blank, int)):
        return None
    try:
        return Lines(
            cache.map_array(cache.with_ending(base, "ids"), encoder.dtype, ids),
            cache.map_array(cache.with_ending(base, "starts"), np.dtype(np.int64), lines + 1),
            encoder,
            content,
            blank,
        )
    except (OSError, ValueError):
        return None


def _write(base: Path, encoder: Encoder, corpus: Corpus) -> None:
    # The encoder of bytes reads every file, also one that is not UTF-8.
    errors = "strict" if encoder.name != "byte" else "surrogateescape"
    end = lines = blank = 0
    with (
        cache.writing(cache.with_ending(base, "ids")) as ids,
        cache.writing(cache.with_ending(base, "starts")) as starts,
    ):
        starts.write(np.int64(0).tobytes())
        for number, line in enumerate(lines_in(corpus.pieces(errors)), 1):
            found = encode_line(encoder, line) if line.strip() else ()
            if not len(found):
                blank += 1
                continue
            if len(found) > LONGEST:
                raise SourceError(
                    f"line {number:,} of {corpus.name} has {len(found):,} tokens; where every line is a text "
                    f"of its own, it must have at most {LONGEST:,}; leave out --lines, or split it"
                )
            end, lines = end + len(found), lines + 1
            ids.write(found.astype(encoder.dtype).tobytes())
            starts.write(np.int64(end).tobytes())
        if not lines:
            raise SourceError(f"{corpus.name} has no lines but blank ones; give it some text")
    cache.write_json(cache.with_ending(base, "json"), {"lines": lines, "ids": end, "blank": blank})
