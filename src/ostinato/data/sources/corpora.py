"""Sources of text: files, folders, globs, standard input, Python strings, and corpora by name.

A `Corpus` is a text somewhere, not read yet. It gives its text a few MiB at a time, as often as asked, and
has a JSON-able description with which a later process finds it again.
"""

import codecs
import glob
import hashlib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Literal

from ostinato.data.sources.named import DEFAULT, NAMED, Named, fetch, pydoc_text
from ostinato.errors import RunError, SourceError
from ostinato.files import cache
from ostinato.files.atomic import JsonObject
from ostinato.files.encodings import UTF8, Recognised, checked, recognise_blocks
from ostinato.files.lines import MARK, file_stamps, mode_of, reading, undecodable_at, unreadable
from ostinato.files.plain import open_plain, unpacked
from ostinato.wording import did_you_mean, shown

__all__ = ["NAMED", "Corpus", "Named", "open_corpus", "open_text", "reopen"]

Kind = Literal["file", "folder", "glob", "named", "text", "stdin"]
TEXT_ENDINGS = (".txt", ".text", ".md", ".rst", ".abc")
CHUNK_BYTES = 4 << 20
IN_MEMORY_BYTES = 16 << 20
"""Strings and standard input of more bytes are kept in a temporary file of the cache."""
_NOTED = 10
"""The files of a folder whose encodings are said."""


@dataclass(frozen=True)
class Corpus:
    """A text somewhere, not read yet; made by `open_corpus`, `open_text` or `reopen`.

    Attributes:
        name: what the user gave, for messages: "-", a path, "pydoc", "<text>".
        kind: the kind of source.
        path: an absolute path or glob, or a name, that finds it again; "" for text and standard input.
        files: the files whose concatenation it is.
        data: its bytes, when they are in memory.
        content: SHA-256 of its bytes (hex), where that is known without reading.
        encoding: of its files; "" recognises that of each, and leaves out byte order marks; None is UTF-8
            with the marks kept as characters, as in runs of older versions.
        chunk_bytes: the approximate size of the chunks of `chunks` and `byte_chunks`.
        on_read: called with the size in bytes of every chunk read.
    """

    name: str
    kind: Kind
    path: str = ""
    files: tuple[Path, ...] = ()
    data: bytes | None = field(default=None, repr=False)
    content: str | None = None
    encoding: str | None = ""
    chunk_bytes: int = field(default=CHUNK_BYTES, repr=False, compare=False)
    on_read: Callable[[int], None] | None = field(default=None, repr=False, compare=False)
    _spooled: IO[bytes] | None = field(default=None, repr=False, compare=False)  # lives as long as the corpus

    def chunks(self) -> Iterator[str]:
        """The text, decoded, a few MiB at a time; line ends are kept.

        Raises:
            SourceError: it cannot be read, is empty, or is not in its encoding; the message gives the offset.
        """
        return (text for text in self.pieces() if text)

    def pieces(self, errors: Literal["strict", "surrogateescape"] = "strict") -> Iterator[str]:
        """The same text, with "" after each file.

        Args:
            errors: "surrogateescape" reads it as UTF-8 and makes other bytes into single surrogates.

        Raises:
            SourceError: see `chunks`.
        """
        decoder: codecs.IncrementalDecoder | None = None
        encoding, offset = UTF8, 0  # of the first byte not decoded yet, in the current file
        for label, block in self._blocks():
            first = decoder is None
            if decoder is None:
                encoding = self._encoding_of(block, label).encoding if errors == "strict" else UTF8
                decoder = codecs.getincrementaldecoder(encoding)(errors)
            waiting = len(decoder.getstate()[0])
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeError as error:
                raise undecodable_at(label, offset, encoding, error) from error
            offset += waiting + len(block) - len(decoder.getstate()[0])
            if first and self.encoding is not None:
                text = text.removeprefix(MARK)
            if text:
                yield text
            if not block:
                decoder, offset = None, 0
                yield ""

    def _encoding_of(self, block: bytes, label: str) -> Recognised:
        """The encoding of a file that begins with a block."""
        if self.encoding is None:
            return Recognised(UTF8)
        return Recognised(self.encoding) if self.encoding else recognise_blocks([block], label)

    @property
    def read_as(self) -> str:
        """What, besides its bytes, decides its text: part of the names of what the cache keeps of it."""
        return {None: "-marks", "": "", UTF8: ""}.get(self.encoding, f"-{self.encoding}")

    def encoding_notes(self) -> tuple[str, ...]:
        """Sentences about files whose encoding was recognised and is not UTF-8; of many files about the
        first."""
        if self.encoding != "" or (self.data is None and not self.files):
            return ()
        notes, begins = [], True
        for label, block in replace(self, files=self.files[:_NOTED])._blocks(only_first=True):
            if begins and block and (note := self._encoding_of(block, label).note):
                notes.append(note)
            begins = not block
        return tuple(notes)

    def byte_chunks(self) -> Iterator[bytes]:
        """The same text as it is stored (.gz decompressed), a few MiB at a time.

        Raises:
            SourceError: it cannot be read, or is empty.
        """
        return (block for _, block in self._blocks() if block)

    def describe(self) -> JsonObject:
        """A JSON-able description with which `reopen` finds the corpus again."""
        if self.kind in ("text", "stdin"):
            found: JsonObject = {
                "kind": self.kind,
                "path": self.path,
                "name": self.name,
                "content": self.content,
            }
        else:
            found = {"kind": self.kind, "path": self.path}
        return found if self.encoding is None else found | {"encoding": self.encoding}

    def stamps(self) -> list[tuple[str, int, int]]:
        """The `file_stamps` of its files. Raises SourceError when a file is gone."""
        return file_stamps(self.files, _shown(self.name))

    def _blocks(self, *, only_first: bool = False) -> Iterator[tuple[str, bytes]]:
        """(label, bytes) of every chunk, or of the first one of each file; after its last one (label,
        b"")."""
        if self.data is None and not self.files:
            origin = "standard input" if self.kind == "stdin" else "text given in Python"
            raise SourceError(f"the source was {origin}, which is not kept; give it again, or give a file")
        total = 0
        for label, blocks in self._parts():
            for block in blocks:
                total += len(block)
                if self.on_read is not None:
                    self.on_read(len(block))
                yield label, block
                if only_first:
                    break
            yield label, b""
        if not total:
            raise SourceError(f"{_shown(self.name)} is empty: it has no text")

    def _parts(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        if self.data is not None:
            data, size = self.data, self.chunk_bytes
            yield _shown(self.name), (data[at : at + size] for at in range(0, len(data), size))
        for file in self.files:
            label = _shown(self.name) if self._spooled is not None else str(file)
            yield label, _read(file, label, self.chunk_bytes)


def open_corpus(
    source: str | os.PathLike[str] | Iterable[str] | None = None, *, encoding: str | None = None
) -> Corpus:
    """The corpus that a source names. Only standard input is read already.

    Args:
        encoding: of its files; None recognises it.
        source: None for the default corpus; "-" for standard input; a name in `NAMED` unless a file has that
            name; a file (plain or .gz); a folder (its .txt, .text, .md, .rst files and their .gz,
            recursively, without hidden ones, sorted); a glob (sorted); or Python strings, see `open_text`.

    Raises:
        SourceError: there is no such source, or it contains no text files.
        ConfigError: there is no such encoding.
    """
    corpus = _open(source)
    return corpus if encoding is None else replace(corpus, encoding=checked(encoding))


def _open(source: str | os.PathLike[str] | Iterable[str] | None) -> Corpus:
    if source is None:
        return _open_named(NAMED[DEFAULT])
    if not isinstance(source, str | os.PathLike):
        return open_text(source)
    name = os.fspath(source)
    if name == "-":
        return _open_stdin()
    if name in NAMED and not os.path.isfile(name):
        return _open_named(NAMED[name])
    mode = mode_of(name)
    if mode is None and glob.has_magic(name):
        return _open_glob(name)
    return _open_path(name, mode)


def open_text(text: str | Iterable[str]) -> Corpus:
    """Python strings as a corpus: one string, or several that are concatenated.

    Raises:
        SourceError: something in it is not a string, or contains half of a surrogate pair.
    """

    def encoded() -> Iterator[bytes]:
        if not isinstance(text, Iterable):
            raise SourceError(f"expected a path, a name or texts, got {type(text).__name__}")
        for piece in (text,) if isinstance(text, str) else text:
            if not isinstance(piece, str):
                raise SourceError(f"expected texts (str), got {type(piece).__name__}")
            try:
                yield piece.encode()
            except UnicodeEncodeError as error:
                broken = piece[error.start]
                raise SourceError(
                    f"the text contains {broken!r}, half of a surrogate pair; remove it"
                ) from error

    return _keep("<text>", "text", encoded())


def reopen(description: JsonObject) -> Corpus:
    """The corpus that `Corpus.describe` described, perhaps in another process.

    The corpus of a text or of standard input can no longer be read, but its tokens in the cache are found by
    its content hash.

    Raises:
        SourceError: the source is no longer there.
        RunError: the description is damaged.
    """
    damaged = RunError(f"the description of the source is damaged: {_shown(repr(description))}")
    if not isinstance(description, dict):
        raise damaged
    encoding = description.get("encoding")
    if not isinstance(encoding, str | None):
        raise damaged
    found = _reopened(description, damaged)
    return replace(found, encoding=checked(encoding) if encoding else encoding)


def _reopened(description: JsonObject, damaged: RunError) -> Corpus:
    kind, path = description.get("kind"), description.get("path")
    if kind in ("text", "stdin"):
        name, content = description.get("name"), description.get("content")
        if (
            not isinstance(name, str)
            or not isinstance(content, str)
            or not re.fullmatch("[0-9a-f]{64}", content)
        ):
            raise damaged
        return Corpus(name, kind, content=content)
    if not isinstance(path, str) or not path:
        raise damaged
    if kind == "named" and path in NAMED:
        return _open_named(NAMED[path])
    if kind == "glob":
        return _open_glob(path)
    if kind in ("file", "folder"):
        mode = mode_of(path)
        if mode is not None and not (stat.S_ISREG if kind == "file" else stat.S_ISDIR)(mode):
            raise SourceError(f"{_shown(path)} was a {kind} when training began, and is not one now")
        return _open_path(path, mode)
    raise damaged


def _open_named(entry: Named) -> Corpus:
    if entry.url is None:
        data = pydoc_text().encode()
        return Corpus(entry.name, "named", entry.name, data=data, content=hashlib.sha256(data).hexdigest())
    return Corpus(entry.name, "named", entry.name, files=(fetch(entry),))


def _open_path(name: str, mode: int | None) -> Corpus:
    path = os.path.abspath(name)
    if mode is None:
        names = ", ".join(NAMED)
        hint = did_you_mean(name, NAMED) if not re.search(r"[/\\.]", name) else ""
        hint = f" ({hint})" if hint else ""
        raise SourceError(
            f"there is no file or folder {_shown(name)!r}; the corpora with names are {names}{hint}"
        )
    if stat.S_ISDIR(mode):
        return Corpus(name, "folder", path, files=_text_files(name, path))
    if stat.S_ISFIFO(mode):  # such as the shell's <(command), which can be read only once
        return _keep(name, "stdin", _read(Path(name), name, CHUNK_BYTES, pipe=True))
    if not stat.S_ISREG(mode):
        raise SourceError(f"{name} is neither a file nor a folder")
    return Corpus(name, "file", path, files=(Path(path),))


def _open_glob(pattern: str) -> Corpus:
    found = sorted(
        os.path.abspath(file) for file in glob.glob(pattern, recursive=True) if os.path.isfile(file)
    )
    if not found:
        raise SourceError(f"no file matches {_shown(pattern)!r}")
    return Corpus(pattern, "glob", os.path.abspath(pattern), files=tuple(map(Path, found)))


def _open_stdin() -> Corpus:
    if sys.stdin is None:
        raise SourceError("there is no standard input to read")

    def blocks() -> Iterator[bytes]:
        stream = sys.stdin.buffer
        try:
            while block := stream.read(CHUNK_BYTES):
                yield block
        except OSError as error:
            raise _unreadable("standard input", error) from error

    return _keep("-", "stdin", blocks())


def _keep(name: str, kind: Kind, blocks: Iterable[bytes]) -> Corpus:
    """A corpus of bytes that can be read only once: kept in memory, or in a file when they are many."""
    digest = hashlib.sha256()
    data = bytearray()
    spooled: IO[bytes] | None = None
    for block in blocks:
        digest.update(block)
        data += block
        if len(data) > IN_MEMORY_BYTES:
            spooled = spooled or cache.temporary_file()
            _spool(spooled, data)
            data.clear()
    content, encoding = digest.hexdigest(), UTF8 if kind == "text" else ""
    if spooled is None:
        return Corpus(name, kind, data=bytes(data), content=content, encoding=encoding)
    _spool(spooled, data)
    return Corpus(
        name, kind, files=(Path(spooled.name),), content=content, encoding=encoding, _spooled=spooled
    )


def _spool(file: IO[bytes], data: bytearray) -> None:
    try:
        file.write(data)
        file.flush()
    except OSError as error:
        raise cache.unwritable(error) from error


def _read(file: Path, label: str, size: int, *, pipe: bool = False) -> Iterator[bytes]:
    with reading(label), open(file, "rb") if pipe else open_plain(file) as raw:
        stream = unpacked(raw, file)
        while block := stream.read(size):
            yield block


def _text_files(name: str, folder: str) -> tuple[Path, ...]:
    def stop(error: OSError) -> None:
        raise _unreadable(error.filename or name, error) from error

    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=stop):
        folders[:] = [inner for inner in folders if not inner.startswith(".")]
        found += [
            Path(place, file)
            for file in files
            if not file.startswith(".") and file.lower().removesuffix(".gz").endswith(TEXT_ENDINGS)
        ]
    if not found:
        raise SourceError(
            f"the folder {_shown(name)} contains no {', '.join(TEXT_ENDINGS)} files, also as .gz; "
            f"give a glob such as '{name.rstrip('/')}/**/*.tex' for other files"
        )
    return tuple(sorted(found, key=lambda path: path.relative_to(folder).as_posix()))


def _unreadable(label: str, error: OSError) -> SourceError:
    return unreadable(_shown(label), error)


def _shown(name: str) -> str:
    """The name of a source as messages show it."""
    return shown("standard input" if name == "-" else name)
