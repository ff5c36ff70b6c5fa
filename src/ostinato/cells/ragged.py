"""Ragged sequences: a layer pads them, skips the padding, and gives back outputs as ragged as they were.

Keras 3 hands a `tf.RaggedTensor` to a layer as it is, and its recurrent layers fail at the first step. Here a
layer reads the dense tensor with the mask of the rows' lengths, which the engines skip.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf


def padded(sequences: tf.RaggedTensor, options: Mapping[str, object]) -> tuple[tf.Tensor, tf.Tensor]:
    """The sequences padded with zeros, and the mask of their steps.

    Args:
        sequences: shape (batch, None, features), with one ragged axis.
        options: what the layer is called with besides; a mask or lengths have no place beside ragged rows.

    Returns:
        A tensor (batch, time, features), where time is that of the longest row but at least 1, and the mask,
        (batch, time).

    Raises:
        ValueError: the tensor has another shape or more ragged axes, or there are a mask or lengths, too.
    """
    given = [name for name in ("mask", "lengths") if options.get(name) is not None]
    if given:
        raise ValueError(
            f"a RaggedTensor has lengths of its own, got `{given[0]}` as well; leave it out, or pad the rows "
            "with `.to_tensor()`"
        )
    if sequences.ragged_rank != 1 or sequences.values.shape.rank != 2:
        raise ValueError(
            "ragged sequences must have the shape (batch, None, features) and ragged_rank 1, got the shape "
            f"{tuple(sequences.shape)} and ragged_rank {sequences.ragged_rank}; `tf.ragged.constant` makes "
            "them with `ragged_rank=1`"
        )
    lengths = sequences.row_lengths()
    time = tf.maximum(sequences.bounding_shape(axis=1), 1)  # Keras reads the first step of a layer's inputs
    dense = sequences.to_tensor(shape=tf.stack([sequences.nrows(), time, -1]))
    dense.set_shape((sequences.shape[0], None, sequences.values.shape[1]))
    return dense, tf.sequence_mask(lengths, time)


def unpadded(
    outputs: tf.Tensor, mask: tf.Tensor, sequences: tf.RaggedTensor, *, backwards: bool
) -> tf.RaggedTensor:
    """The outputs of the steps that there are, in rows of the same lengths as the sequences'.

    Args:
        outputs: shape (batch, time, units), in the order in which the layer read the steps.
        mask: that of the sequences, (batch, time).
        sequences: what was padded.
        backwards: whether the layer read from the last step to the first; so are the outputs then, and those
            of a row begin with that of its own last step.
    """
    at = tf.where(tf.reverse(mask, [1]) if backwards else mask)
    return sequences.with_values(tf.gather_nd(outputs, at))
