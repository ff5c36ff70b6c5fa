"""Recurrent layers as one loop over time, for converters that have no operator for them.

The outputs are written into one array by dynamic-update-slice. Keras' own loop keeps lists of tensors, which
LiteRT runs more slowly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from ostinato.acceleration.accelerate import recurrent_layers


@contextlib.contextmanager
def one_loop(model: keras.layers.Layer) -> Iterator[None]:
    """A context in which the recurrent layers of a model are traced as such loops."""
    layers = [layer for _, layer in recurrent_layers(model)]
    for layer in layers:
        layer.__dict__["inner_loop"] = _loop_of(layer)
    try:
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("inner_loop", None)


def _loop_of(layer: keras.layers.RNN) -> Any:
    def inner_loop(
        sequences: tf.Tensor, initial_state: Sequence[tf.Tensor], mask: Any, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, Any]:
        mask = next(iter(keras.tree.flatten(mask)), None)
        if layer.go_backwards:
            sequences = tf.reverse(sequences, [1])
            mask = None if mask is None else tf.reverse(mask, [1])
        return _over_time(layer, sequences, initial_state, mask)

    return inner_loop


def _over_time(
    layer: keras.layers.RNN, x: tf.Tensor, state: Any, mask: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor, Any]:
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops as xla

    start = keras.tree.flatten(state)
    width = (
        keras.tree.flatten(layer.cell.output_size)[0] if hasattr(layer.cell, "output_size") else layer.units
    )
    batch, time = (size if size is not None else tf.shape(x)[at] for at, size in enumerate(x.shape[:2]))
    kept = time if layer.return_sequences else 1
    zeros = tf.zeros([batch, 1, width], x.dtype)
    outputs = tf.zeros(tf.stack([batch, kept, width]), x.dtype)

    def step(at: tf.Tensor, last: tf.Tensor, outputs: tf.Tensor, *states: tf.Tensor) -> tuple:
        here = tf.squeeze(tf.slice(x, tf.stack([0, at, 0]), tf.stack([batch, 1, x.shape[2]])), 1)
        packed = keras.tree.pack_sequence_as(state, states)
        y, after = layer.cell(here, packed, training=False)
        after, y = keras.tree.flatten(after), tf.expand_dims(y, 1)
        if mask is not None:
            valid = tf.slice(mask, tf.stack([0, at]), tf.stack([batch, 1]))
            shown = y
            y = tf.where(tf.expand_dims(valid, 2), y, last)
            after = [tf.where(valid, new, old) for new, old in zip(after, states, strict=True)]
            last = y
            if layer.zero_output_for_mask:
                y = tf.where(tf.expand_dims(valid, 2), shown, zeros)
        place = at if layer.return_sequences else tf.constant(0)
        written = xla.xla_dynamic_update_slice(outputs, y, tf.stack([0, place, 0]))
        return at + 1, last if mask is not None else y, tf.ensure_shape(written, outputs.shape), *after

    _, _, outputs, *after = tf.while_loop(
        lambda at, *_: at < time,
        step,
        (tf.constant(0), zeros, outputs, *start),
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([x.shape[0], 1, width]),
            tf.TensorShape([x.shape[0], x.shape[1] if layer.return_sequences else 1, width]),
            *(each.shape for each in start),
        ),
    )
    outputs = tf.ensure_shape(outputs, (x.shape[0], x.shape[1] if layer.return_sequences else 1, width))
    last = tf.squeeze(tf.slice(outputs, tf.stack([0, kept - 1, 0]), tf.stack([batch, 1, width])), 1)
    return last, outputs, keras.tree.pack_sequence_as(state, after)
