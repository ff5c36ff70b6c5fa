"""The `keras` engine: Keras' own loop, and a shortcut around it for sequences of one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from ostinato.engines.facts import has_known_cell

if TYPE_CHECKING:
    import keras

    from ostinato.cells.engine_layer import EngineLayer


def obstacle(layer: keras.layers.RNN, *, mask: bool = False, training: bool = False) -> None:
    """Nothing: Keras' own loop runs every layer."""


def run(
    layer: EngineLayer,
    x: tf.Tensor,
    state: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    training: bool,
) -> tuple[tf.Tensor, tf.Tensor, Sequence[tf.Tensor]]:
    """Run a Keras recurrent layer over a batch of sequences.

    A sequence of static length one, as in generation, needs no loop: the cell is called once, which gives the
    same results faster.

    Args:
        layer: the layer, built.
        x: shape (batch, time, features).
        state: each tensor (batch, units); for stacked cells, a tensor or a list of them for each cell.
        mask: shape (batch, time), or None.
        training: whether dropout acts.

    Returns:
        The last output (batch, units), all outputs (batch, time, units) and the final state.
    """
    import keras

    in_cell = not layer.unroll and getattr(layer, "use_cudnn", False) is not True and has_known_cell(layer)
    if x.shape[1] == 1 and mask is None and in_cell:
        output, after = layer.cell(x[:, 0], list(state), training=training)
        return (
            output,
            output[:, tf.newaxis],
            keras.tree.pack_sequence_as(list(state), keras.tree.flatten(after)),
        )
    return layer.keras_loop(x, state, mask, training)
