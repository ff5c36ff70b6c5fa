"""Dropout with masks that depend only on the seed, the step and the row.

A stateful generator would have to be saved in every checkpoint, and would give each worker of a cluster
another stream. Here a mask is a pure function: Philox (Salmon et al. 2011, "Parallel random numbers: as easy
as 1, 2, 3") is keyed by (seed, step, site), and its counter runs over the rows of the global batch. Resumed
and sharded runs therefore draw the masks of one uninterrupted worker. A site is named by the path of its
layer in the network, so that no two of them share masks and a new one changes no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from ostinato.cells.registry import states

if TYPE_CHECKING:
    import keras

_PHILOX = 1
_DRAWS_PER_COUNT = 4


class DropoutKey(NamedTuple):
    """Determines the dropout masks of a training step; scalars, all int32.

    Attributes:
        seed: the run's seed.
        step: the training step.
        first_row: index in the global batch of this batch's first row.
        time: the time step, where a loop over time draws new masks at each; else None.
    """

    seed: tf.Tensor
    step: tf.Tensor
    first_row: tf.Tensor
    time: tf.Tensor | None = None


def of_network(key: DropoutKey | None, number: int) -> DropoutKey | None:
    """The key of one of several networks that learn side by side: each draws masks of its own."""
    return key if key is None or not number else key._replace(seed=key.seed + number)


def dropout(
    x: tf.Tensor, rate: float, key: DropoutKey | None, *, site: str, variational: bool = False
) -> tf.Tensor:
    """Zeroes a fraction of the entries and scales the rest up (Srivastava et al. 2014).

    Args:
        x: shape (batch, ...), float; of variational dropout (batch, time, ...).
        rate: fraction to drop, in [0, 1).
        key: determines the mask; None (evaluation, generation) returns x unchanged.
        site: names this dropout in the network, for example `encoder/layer_0/recurrent`; each site draws its
            own masks.
        variational: draw one mask for all time steps (Gal & Ghahramani 2016, arXiv:1512.05287).

    Returns:
        A tensor of x's shape and dtype.
    """
    if key is None or rate == 0.0:
        return x
    shape = tf.shape(x)
    if variational:
        shape = tf.concat([shape[:1], [1], shape[2:]], axis=0)
    return tf.where(uniform(shape, key, site=site) >= rate, x / (1.0 - rate), tf.zeros_like(x))


def token_dropout(x: tf.Tensor, rate: float, key: DropoutKey | None, *, site: str) -> tf.Tensor:
    """Zeroes the whole vectors of a fraction of the tokens (batch, time, size), and scales the rest up.

    Arguments are those of `dropout`.
    """
    if key is None or rate == 0.0:
        return x
    return x * dropout(tf.ones_like(x[:, :, :1]), rate, key, site=site)


def uniform(shape: tf.Tensor, key: DropoutKey, *, site: str) -> tf.Tensor:
    """Uniform numbers in [0, 1), float32. Row r is a pure function of (key, site, first_row + r).

    Args:
        shape: int32, (batch, ...).
        key: determines the numbers.
        site: as for `dropout`.
    """
    return _drawn(tf.raw_ops.StatelessRandomUniformV2, tf.float32, shape, key, site)


def random_bits(shape: tf.Tensor, key: DropoutKey, *, site: str) -> tf.Tensor:
    """Random bits, int32; arguments as for `uniform`."""
    return _drawn(tf.raw_ops.StatelessRandomUniformFullIntV2, tf.int32, shape, key, site)


def _drawn(
    draw: Callable[..., tf.Tensor], dtype: tf.DType, shape: tf.Tensor, key: DropoutKey, site: str
) -> tf.Tensor:
    place = tf.constant(site_number(site) << 32, tf.int64)  # behind it there is room for every time step
    if key.time is not None:
        place += 1 + tf.cast(key.time, tf.int64)
    per_row = tf.reduce_prod(shape[1:])
    counts_per_row = (per_row + _DRAWS_PER_COUNT - 1) // _DRAWS_PER_COUNT
    philox_key = tf.bitcast(tf.stack([tf.cast(key.seed, tf.int32), tf.cast(key.step, tf.int32)]), tf.uint64)
    first_count = tf.cast(tf.cast(key.first_row, tf.int64) * tf.cast(counts_per_row, tf.int64), tf.uint64)
    numbers = draw(
        shape=tf.stack([shape[0], counts_per_row * _DRAWS_PER_COUNT]),
        key=tf.reshape(philox_key, [1]),
        counter=tf.stack([first_count, tf.cast(place, tf.uint64)]),
        alg=_PHILOX,
        dtype=dtype,
    )
    return tf.reshape(numbers[:, :per_row], shape)


def site_number(site: str) -> int:
    """A number below 2**31 that follows from the name of a site: from its SHA-256."""
    return int.from_bytes(hashlib.sha256(site.encode()).digest()[:4], "big") >> 1


@contextmanager
def weight_drop(layer: keras.layers.RNN, rate: float, key: DropoutKey | None, *, site: str) -> Iterator[None]:
    """A context in which a layer lacks a fraction of its recurrent weights, the same ones for all rows and
    time steps (weight drop: Merity et al. 2017, arXiv:1708.02182, section 2; Wan et al. 2013).

    Args:
        layer: from `ostinato.layers.recurrent`, built, of a cell with a `recurrent_kernel`.
        rate: fraction to drop.
        key: determines the mask; None (evaluation, generation) drops nothing.
        site: as for `dropout`.
    """
    if key is None or rate == 0.0:
        yield
        return
    cell: dict[str, Any] = layer.cell.__dict__
    whole, of_all = cell["recurrent_kernel"], key._replace(first_row=tf.constant(0))
    cell["recurrent_kernel"] = dropout(tf.convert_to_tensor(whole), rate, of_all, site=f"{site}/weights")
    try:
        yield
    finally:
        cell["recurrent_kernel"] = whole


@contextmanager
def recurrent_masks(
    layer: keras.layers.RNN, x: tf.Tensor, key: DropoutKey | None, *, site: str
) -> Iterator[None]:
    """Gives a layer with `recurrent_dropout` or zoneout its masks, for as long as the context lasts.

    Such a layer drops entries of its own past state: different ones per gate, the same at all time steps (Gal
    & Ghahramani 2016, arXiv:1512.05287). Keras and the native engine both ask the cell for its masks, which
    normally come from the cell's own generator. Here they come from the key, and the generator is not used,
    not even in evaluation.

    Args:
        layer: from `ostinato.layers.recurrent`; without recurrent dropout and zoneout nothing happens.
        x: the layer's inputs, shape (batch, ...).
        key: determines the masks; None (evaluation, generation) means none.
        site: as for `dropout`; the backward layer of a pair has its own.
    """
    cell, masks = layer.cell, None
    drops = getattr(layer, "recurrent_dropout", 0.0) > 0.0
    zones = hasattr(cell, "draw_zones") and any(cell.zoneout)
    if drops and key is not None:
        count = getattr(cell, "dropout_mask_count", None)  # None: a cell without gates, one tensor
        ones = tf.ones((tf.shape(x)[0], (count or 1) * states(layer)[0].shape[-1]), layer.compute_dtype)
        joined = dropout(ones, layer.recurrent_dropout, key._replace(time=None), site=site)
        masks = joined if count is None else tf.split(joined, count, axis=1)
    if drops:
        cell.get_recurrent_dropout_mask = lambda state: masks
    if zones and key is not None:
        cell.zone_bits = lambda shape: random_bits(tf.stack(shape), key, site=f"{site}/zoneout")
    try:
        yield
    finally:  # the class's own methods are visible again
        vars(cell).pop("get_recurrent_dropout_mask", None)
        vars(cell).pop("zone_bits", None)
