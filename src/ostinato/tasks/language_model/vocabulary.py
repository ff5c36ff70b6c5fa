"""The tokens of a language model: those of its encoder and, where every line is a text, two symbols more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ostinato.data.encoders.base import Lenient, damaged
from ostinato.data.encoders.registry import Encoder, encoder_from_json
from ostinato.data.store.lines import LINE_ENDS, decode_line, encode_line
from ostinato.errors import ConfigError
from ostinato.tasks.base import Json


@dataclass(frozen=True)
class LanguageVocabulary:
    """The tokens of a language model.

    With `lines` the start symbol follows the ids of the encoder, and the end symbol follows that. They are no
    characters of any text. The end symbol counts as one character, as a line end does in a long text.

    Attributes:
        encoder: what the other tokens stand for.
        lines: whether every line is a text of its own.
    """

    encoder: Encoder
    lines: bool = False

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """The inverse of `to_json`. Raises RunError when the data is malformed."""
        if not isinstance(data, dict) or "lines" not in data:
            return cls(encoder_from_json(data))
        if data.keys() != {"encoder", "lines"} or data["lines"] is not True:
            raise damaged("one of lines has an encoder, and 'lines' is true")
        return cls(encoder_from_json(data["encoder"]), True)

    def to_json(self) -> Json:
        """The encoder's JSON, with `lines` in an object around it."""
        encoder = self.encoder.to_json()
        return {"encoder": encoder, "lines": True} if self.lines else encoder

    @property
    def size(self) -> int:
        """The number of tokens."""
        return self.encoder.size + 2 * self.lines

    @property
    def start(self) -> int:
        """The token before a text without a prompt; with `lines` before every line."""
        return self.encoder.size if self.lines else self.encoder.start

    @property
    def end(self) -> int | None:
        """The token after a line; None without `lines`."""
        return self.encoder.size + 1 if self.lines else None

    @property
    def characters(self) -> np.ndarray:
        """The number of characters that each token stands for, float32 (size,)."""
        of_encoder = self.encoder.characters
        return np.append(of_encoder, np.array([0, 1], np.float32)) if self.lines else of_encoder

    @property
    def banned(self) -> tuple[int, ...]:
        """The tokens that are never written: the unknown one and, within a line, its start and line ends."""
        unknown = self.encoder.unknown
        banned = () if unknown is None else (unknown,)
        if not self.lines:
            return banned
        texts = (self.encoder.decode([token]) for token in range(self.encoder.size))
        ends = (token for token, text in enumerate(texts) if any(end in text for end in LINE_ENDS))
        return (*banned, *ends, self.start)

    def prompt(self, text: str, how: Lenient = "error") -> np.ndarray:
        """The ids of a prompt, int32 (ids,).

        Args:
            text: what a text begins with.
            how: what becomes of symbols without an id, also of words.

        Raises:
            EncodingError: there are some, and `how` is "error".
            ConfigError: the prompt has a line end in it, which no line has, or symbols cannot be replaced.
        """
        encoder = self.encoder.leniently(how)
        strict = how == "error"
        if not self.lines:
            ids = encoder.encode(text, strict)
        elif any(end in text for end in LINE_ENDS):
            raise ConfigError(f"a prompt of a line must have no line end, got {text!r}")
        else:
            ids = encode_line(encoder, text, strict=strict)
        if how == "drop" and encoder.unknown is not None:
            ids = ids[ids != encoder.unknown]
        return ids.astype(np.int32)

    def text(self, ids: np.ndarray) -> str:
        """The text of ids without start and end symbols, shape (ids,)."""
        return decode_line(self.encoder, ids) if self.lines else self.encoder.decode(ids)

    def extended(self, other: LanguageVocabulary) -> tuple[LanguageVocabulary, np.ndarray]:
        """The vocabulary that also knows the symbols of another one.

        Returns:
            The vocabulary, and the new ids of the old tokens, int64 (size,).

        Raises:
            ConfigError: the encoders are not of one kind, or know every text.
        """
        if other.encoder.name != self.encoder.name:
            raise ConfigError(
                f"--extend-vocabulary needs the encoder of the run, {self.encoder.name}, got "
                f"{other.encoder.name}"
            )
        encoder, places = self.encoder.extended(other.encoder)
        extended = replace(self, encoder=encoder)
        if self.lines:
            places = np.append(places, [encoder.size, encoder.size + 1])
        return extended, places
