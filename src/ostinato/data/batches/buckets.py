"""Batches of examples of about equal length, so that there is little padding."""

from collections.abc import Iterator

import numpy as np

TOGETHER = 100
"""Batches that are sorted together in training: few enough for an order that differs in every epoch."""


def batch_numbers(
    order: np.ndarray,
    lengths: tuple[np.ndarray, ...],
    *,
    batch: int,
    seed: tuple[int, ...] | None,
    together: int = TOGETHER,
) -> Iterator[np.ndarray]:
    """The numbers of the examples in each batch: every example once, a pure function of the arguments.

    Args:
        order: the numbers of the examples, int (examples,).
        lengths: what they are sorted by, each of shape (examples,) beside `order`; the first counts most, the
            others where those before are equal. () for no sorting.
        batch: examples in a batch; one batch has fewer where they do not come out even.
        seed: the numbers that shuffling follows from, such as a seed and an epoch: examples are shuffled,
            sorted within each `together` batches, and the batches shuffled again. None shuffles nothing, and
            sorts over all.
        together: see `seed`.
    """
    random = None if seed is None else np.random.default_rng(list(seed))
    places = np.arange(-(-len(order) // batch))
    block = np.zeros(len(order), np.int64)
    if random is not None:
        shuffled = random.permutation(np.arange(len(order)))
        order, lengths = order[shuffled], tuple(length[shuffled] for length in lengths)
        block = np.arange(len(order)) // (batch * together)
    if lengths:
        order = order[np.lexsort((*reversed(lengths), block))]
        places = places if random is None else random.permutation(places)
    for place in places.tolist():
        yield order[place * batch : (place + 1) * batch]
