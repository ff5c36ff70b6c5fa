"""Texts cut and padded to one length."""

from __future__ import annotations

import numpy as np

from ostinato.tasks.classifier.config import ClassifierConfig

PADDING = 0
"""The id of padding; an encoder's ids come after it."""


def padded_texts(
    config: ClassifierConfig, max_tokens: int, rows: list[np.ndarray], longest: int, *, whole: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Texts cut and padded to one length: ids, shape (rows, time), and their lengths, (rows,).

    Skipped padding is always at the end, where it costs the engine nothing: a recurrence that skips it
    ends in the same state wherever it stands.

    Args:
        config: says what is cut, and where padding stands.
        max_tokens: of a text that are read at most.
        rows: the ids of each text.
        longest: how many tokens of the longest are read.
        whole: pad to `max_tokens` where padding is read.
    """
    time = max_tokens if whole and not config.masked else max(1, longest)
    tokens = np.full((len(rows), time), PADDING, np.int32)
    lengths = np.zeros(len(rows), np.int32)
    for row, ids in enumerate(rows):
        if len(ids) > max_tokens:
            ids = ids[-max_tokens:] if config.truncation == "pre" else ids[:max_tokens]
        lengths[row] = len(ids)
        place = time - len(ids) if config.padding == "pre" and not config.masked else 0
        tokens[row, place : place + len(ids)] = ids
        tokens[row, place : place + len(ids)] += 1 + PADDING
    return tokens, lengths
