"""Cuts and pads texts to one length."""

from __future__ import annotations

import numpy as np

from ostinato.tasks.classifier.config import ClassifierConfig

PADDING = 0
"""The id of padding; the ids of an encoder follow it."""


def padded_texts(
    config: ClassifierConfig, max_tokens: int, rows: list[np.ndarray], longest: int, *, whole: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts and pads texts to one length.

    Padding that is skipped is always at the end, where it costs the engine nothing. Its place does not change
    the final state.

    Args:
        config: the settings of truncation and padding.
        max_tokens: the most tokens of a text that are read.
        rows: the ids of each text.
        longest: the number of tokens that are read of the longest text.
        whole: pad to `max_tokens` if padding is read.

    Returns:
        The ids, int32, shape (rows, time), and the lengths of the texts, int32, shape (rows,).
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


def padded_grams(rows: list[np.ndarray], most: int) -> np.ndarray:
    """The ids of the n-grams of each text, int32, shape (rows, max(1, most)), padded with 0 at the end."""
    grams = np.zeros((len(rows), max(1, most)), np.int32)
    for row, ids in enumerate(rows):
        grams[row, : len(ids)] = ids
    return grams
