"""Runs the cells of a layer in turn: each over the whole sequence, on the outputs of the one before.

Keras' own loop runs all cells of a stack at one step, and then all at the next. The results are the same, as
a cell's output depends on nothing that a later cell computes. A masked step is skipped by all cells, so what
one gives to the next there has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from ostinato.engines.facts import Part, parts, stacked

if TYPE_CHECKING:
    import keras

Run = Callable[..., tuple[tf.Tensor, tf.Tensor, Sequence[tf.Tensor]]]
"""`run` of an engine."""
Obstacle = Callable[..., str | None]
"""`obstacle` of an engine."""


def obstacle(layer: keras.layers.RNN, of_engine: Obstacle, *, mask: bool = False) -> str | None:
    """Why an engine cannot run the layer; None when it can.

    Args:
        layer: the layer.
        of_engine: `obstacle` of the engine, which is asked about each cell.
        mask: whether the layer is called with a mask.
    """
    found = parts(layer)
    for part in found:
        why = of_engine(part, mask=mask)
        if why is not None:
            cell = getattr(part.cell, "name", type(part.cell).__name__) if len(found) > 1 else ""
            return f"{why} (in its cell '{cell}')" if cell else why
    return _obstacle_of_the_whole(layer, found, mask)


def _obstacle_of_the_whole(
    layer: keras.layers.RNN, found: Sequence[keras.layers.RNN | Part], mask: bool
) -> str | None:
    """What no cell tells: how Keras' loop over time differs from one cell after the other."""
    # Keras' unrolled loop zeroes outputs by the mask in the order of the inputs, not of the outputs.
    if mask and layer.unroll and layer.go_backwards and layer.zero_output_for_mask and layer.return_sequences:
        return (
            "with unroll=True, go_backwards=True and zero_output_for_mask=True Keras' loop zeroes outputs "
            "other than those of the masked steps"
        )
    if found == [layer]:
        return None
    if len(stacked(layer)) == 1 and (mask or layer.unroll):
        return "a stack of one cell has its state in another list, with a mask or unroll=True, in Keras' loop"
    inside = [layer.cell, *(part.cell for part in found)]
    if any(getattr(cell, "activity_regularizer", None) is not None for cell in inside):
        return "Keras' loop applies the activity_regularizer of a cell at every step"
    names = {each.dtype_policy.name for each in (layer, *inside)}
    if len(names) > 1:
        return f"a layer and its cells must have one dtype, and it has {' and '.join(sorted(names))}"
    return None


def run(
    layer: keras.layers.RNN,
    run: Run,
    x: tf.Tensor,
    state: Sequence[Any],
    mask: tf.Tensor | None,
    training: bool,
) -> tuple[tf.Tensor, tf.Tensor, Any]:
    """Runs a layer over a batch of sequences.

    Args:
        layer: the layer, built, to which there is no `obstacle`.
        run: `run` of the engine.
        x: shape (batch, time, features).
        state: what Keras has as the layer's state: tensors (batch, units); for a stack, a tensor or a list of
            tensors for each cell.
        mask: shape (batch, time), False at steps to skip; or None.
        training: whether dropout acts.

    Returns:
        The last output (batch, units), all outputs (batch, time, units), or one of them without
        `return_sequences`, and the final state in the structure of `state`.
    """
    import keras

    found = parts(layer)
    if found == [layer]:
        return run(layer, x, state, mask, training)
    last, outputs, states = x, x, []
    for part, start in zip(found, state if stacked(layer) else [state], strict=True):
        last, outputs, after = run(part, outputs, keras.tree.flatten(start), mask, training)
        states += after
        if part.go_backwards and mask is not None:
            mask = tf.reverse(mask, [1])
    return last, outputs, keras.tree.pack_sequence_as(list(state), states)
