"""Dropout whose mask depends on the seed, the step and the row, and on nothing else.

A generator that lives in the program would have to be saved with every checkpoint and would give each worker
of a cluster another stream. Here a mask is a pure function instead: Philox (Salmon et al. 2011, "Parallel
random numbers: as easy as 1, 2, 3") is keyed by (seed, step, site) and its counter runs over the rows of the
global batch, so that resuming and sharding draw what one uninterrupted worker would have drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import tensorflow as tf

from ostinato.layers.registry import state_sizes

_PHILOX = 1
_DRAWS_PER_COUNT = 4
_SITES = 1 << 20
"""More than there are sites in a network."""


class DropoutKey(NamedTuple):
    """What a training step's dropout masks are drawn from; scalars, all int32.

    Attributes:
        seed: the run's seed.
        step: the training step.
        first_row: where this batch's rows begin in the global batch.
        time: the step of a loop over time, where there is one; each draws masks of its own.
    """

    seed: tf.Tensor
    step: tf.Tensor
    first_row: tf.Tensor
    time: tf.Tensor | None = None


def dropout(x: tf.Tensor, rate: float, key: DropoutKey | None, *, site: int) -> tf.Tensor:
    """Zeroes a fraction of the entries and scales the rest up (Srivastava et al. 2014).

    Args:
        x: shape (batch, ...), float.
        rate: the fraction to drop, in [0, 1).
        key: where the mask is drawn from; None (evaluation, generation) leaves x as it is.
        site: which dropout of the network this is; each site has masks of its own.

    Returns:
        A tensor of x's shape and dtype.
    """
    if key is None or rate == 0.0:
        return x
    return tf.where(uniform(tf.shape(x), key, site=site) >= rate, x / (1.0 - rate), tf.zeros_like(x))


def uniform(shape: tf.Tensor, key: DropoutKey, *, site: int) -> tf.Tensor:
    """Numbers in [0, 1), float32, of which row r is a pure function of (key, site, first_row + r).

    Args:
        shape: int32, (batch, ...).
        key: where they are drawn from.
        site: as for `dropout`.
    """
    place = site if key.time is None else site + _SITES * (1 + tf.cast(key.time, tf.int64))
    per_row = tf.reduce_prod(shape[1:])
    counts_per_row = (per_row + _DRAWS_PER_COUNT - 1) // _DRAWS_PER_COUNT
    philox_key = tf.bitcast(tf.stack([tf.cast(key.seed, tf.int32), tf.cast(key.step, tf.int32)]), tf.uint64)
    first_count = tf.cast(tf.cast(key.first_row, tf.int64) * tf.cast(counts_per_row, tf.int64), tf.uint64)
    numbers = tf.raw_ops.StatelessRandomUniformV2(
        shape=tf.stack([shape[0], counts_per_row * _DRAWS_PER_COUNT]),
        key=tf.reshape(philox_key, [1]),
        counter=tf.stack([first_count, tf.cast(place, tf.uint64)]),
        alg=_PHILOX,
        dtype=tf.float32,
    )
    return tf.reshape(numbers[:, :per_row], shape)


@contextmanager
def recurrent_masks(layer: Any, x: tf.Tensor, key: DropoutKey | None, *, site: int) -> Iterator[None]:
    """While it lasts, a recurrent layer with `recurrent_dropout` drops what is drawn here.

    Such a layer drops entries of its own past state, for each gate others, the same at all time steps (Gal &
    Ghahramani 2016, arXiv:1512.05287). Keras and the native engine both ask the cell for its masks, which it
    draws from a generator of its own. Here it answers with ours instead, and the generator rests, in
    evaluation too.

    Args:
        layer: from `ostinato.layers.recurrent`; without recurrent dropout nothing happens.
        x: what the layer is about to read, shape (batch, ...).
        key: where the masks are drawn from; None (evaluation, generation) draws none.
        site: as for `dropout`; a layer that reads from the end has one of its own.
    """
    if not getattr(layer, "recurrent_dropout", 0.0):
        yield
        return
    cell, masks = layer.cell, None
    if key is not None:
        count = getattr(cell, "dropout_mask_count", None)  # None: the cell has no gates, and takes one tensor
        ones = tf.ones((tf.shape(x)[0], (count or 1) * state_sizes(layer)[0]), layer.compute_dtype)
        together = dropout(ones, layer.recurrent_dropout, key._replace(time=None), site=site)
        masks = together if count is None else tf.split(together, count, axis=1)
    cell.get_recurrent_dropout_mask = lambda state: masks
    try:
        yield
    finally:
        del cell.get_recurrent_dropout_mask  # the class's own is back
