"""What a language model reads: a text, and perhaps another one for validation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, cast, get_args

from ostinato.data.encoders.base import Lenient
from ostinato.data.sources.corpora import Corpus, open_corpus, reopen
from ostinato.errors import ConfigError, RunError
from ostinato.tasks.base import Json
from ostinato.tasks.config import COMMON_DATA, DATA, ENCODING_HELP, Flag
from ostinato.wording import hint_after, shown

LENIENT: tuple[str, ...] = get_args(Lenient)


@dataclass(frozen=True)
class Texts:
    """The texts of a language model, not read yet.

    Attributes:
        text: what to train on, or to evaluate on.
        validation: the text of the validation part; None takes that part from `text`.
        unknown: what becomes of symbols that a given vocabulary lacks.
    """

    text: Corpus
    validation: Corpus | None = None
    unknown: Lenient = "error"

    @property
    def name(self) -> str:
        """The name in messages."""
        return self.text.name

    def encoding_notes(self) -> tuple[str, ...]:
        """Sentences about files whose encoding was recognised and is not UTF-8."""
        other = () if self.validation is None else self.validation.encoding_notes()
        return (*self.text.encoding_notes(), *other)

    def describe(self) -> Json:
        """JSON that `open_source` opens again."""
        text = self.text.describe()
        if self.validation is None and self.unknown == "error":
            return text
        validation = None if self.validation is None else self.validation.describe()
        return {"text": text, "validation": validation, "unknown": self.unknown}


def open_source(
    source: Annotated[
        str | os.PathLike[str] | Iterable[str] | Corpus | Texts | Json | None,
        "A text file, a .gz, a folder, a 'glob*' of files, - for standard input, or the name of a corpus: "
        "pydoc (the default, Python's own language reference), timemachine or tinyshakespeare.",
    ] = None,
    *,
    encoding: Annotated[str | None, COMMON_DATA, ENCODING_HELP] = None,
    validation: Annotated[
        object, Flag("Data", common=True, training=True), "A separate text for validation."
    ] = None,
    unknown: Annotated[
        str,
        DATA,
        "What becomes of characters that the model lacks, with --init-from or another text to evaluate on: "
        "an `error` names them, `drop` leaves them out, `replace` puts � or, if the model lacks that, ?, _, "
        "* or a space in their place.",
    ] = "error",
) -> Texts:
    """Opens a text without reading it.

    Args:
        source: see above; in Python also an iterable of texts, a `Corpus`, or the description of one.
        encoding: of the files; None recognises it.
        validation: another such source, for validation.
        unknown: `error`, `drop` or `replace`.

    Raises:
        SourceError: if the source does not exist.
        ConfigError: if `unknown` is another word.
    """
    if isinstance(source, Texts):
        return source
    if isinstance(source, dict) and "text" in source:
        if source.get("unknown") not in LENIENT:
            raise RunError(f"the description of the source is damaged: {shown(repr(source))}")
        other = source.get("validation")
        return Texts(reopen(source["text"]), None if other is None else reopen(other), source["unknown"])
    how = lenient(unknown)
    other = None if validation is None else _corpus(validation, encoding)
    return Texts(_corpus(source, encoding), other, how)


def lenient(unknown: str) -> Lenient:
    """`error`, `drop` or `replace`. Raises ConfigError for another word."""
    if unknown not in LENIENT:
        raise ConfigError(
            f"unknown must be {', '.join(LENIENT[:-1])} or {LENIENT[-1]}, got {unknown}"
            f"{hint_after(unknown, LENIENT)}"
        )
    return cast(Lenient, unknown)


def _corpus(source: object, encoding: str | None) -> Corpus:
    if isinstance(source, dict):
        return reopen(source)
    if isinstance(source, Corpus):
        return source
    return open_corpus(source, encoding=encoding)  # pyright: ignore[reportArgumentType]


def joint_hash(content: str, validation: str | None) -> str:
    """The hash of a text and of the one for validation."""
    if validation is None:
        return content
    return hashlib.sha256(f"{content} {validation}".encode()).hexdigest()
