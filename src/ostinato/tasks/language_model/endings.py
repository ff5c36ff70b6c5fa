"""Where a text that is being written ends: at the end of its line, or before a text to stop at."""

from __future__ import annotations

import numpy as np

from ostinato.tasks.language_model.vocabulary import LanguageVocabulary


class Endings:
    """The texts of written tokens, cut where they end.

    Args:
        words: the vocabulary.
        prompt: the ids that every text begins with, shape (ids,).
        stop: a text ends before this, if it occurs after the prompt; None for no such end.
    """

    def __init__(self, words: LanguageVocabulary, prompt: np.ndarray, stop: str | None):
        self._words, self._prompt, self._stop = words, prompt, stop
        self._begins = len(words.text(prompt))

    def text(self, written: np.ndarray) -> tuple[str, bool]:
        """The text of the prompt and the tokens written after it, and whether it has ended.

        Args:
            written: ids, shape (ids,).
        """
        written, ended = self._line(written)
        text = self._words.text(np.concatenate([self._prompt, written]))
        if self._stop is not None:
            place = text.find(self._stop, self._begins)
            if place >= 0:
                return text[:place], True
        return text, ended

    def all_ended(self, rows: np.ndarray) -> bool:
        """Whether every text has ended, of ids of shape (rows, ids)."""
        if self._words.end is None and self._stop is None:
            return False
        return all(self.text(row)[1] for row in rows)

    def sure(self, text: str, ended: bool) -> str:
        """The beginning of a text that no further token changes.

        Args:
            text, ended: as from `text`.
        """
        if ended:
            return text
        # A character of several bytes, or the text to stop at, may still be incomplete.
        text = text.rstrip("\ufffd")
        held = 0 if self._stop is None else len(self._stop) - 1
        return text[: max(self._begins, len(text) - held)]

    def _line(self, written: np.ndarray) -> tuple[np.ndarray, bool]:
        """The ids before the end symbol, and whether there is one."""
        end = self._words.end
        if end is None or end not in written:
            return written, False
        return written[: int(np.argmax(written == end))], True
