"""Batches of examples of similar length, so that there is little padding."""

from collections.abc import Iterator

import numpy as np

TOGETHER = 100
"""Batches that are sorted together in training: few, so that the order differs in every epoch."""


def batch_numbers(
    order: np.ndarray,
    lengths: tuple[np.ndarray, ...],
    *,
    batch: int,
    seed: tuple[int, ...] | None,
    together: int = TOGETHER,
) -> Iterator[np.ndarray]:
    """The numbers of the examples in each batch. Every example occurs once.

    The result depends on the arguments only.

    Args:
        order: the numbers of the examples, int (examples,).
        lengths: the sort keys, each of shape (examples,) in the order of `order`; later keys decide between
            equal earlier ones. () for no sorting.
        batch: examples in a batch; one batch may have fewer.
        seed: such as (seed, epoch). Examples are shuffled, sorted within each `together` batches, and the
            batches shuffled again. None sorts all examples and shuffles nothing.
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
