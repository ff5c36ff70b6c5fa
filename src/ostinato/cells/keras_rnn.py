"""`keras.layers.RNN`, which runs any cell or stack of cells over time, with a choice of engine."""

from __future__ import annotations

from ostinato.cells.engine_layer import EngineLayer, with_signature

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load


@keras.saving.register_keras_serializable(package="ostinato")
@with_signature
class RNN(EngineLayer, keras.layers.RNN):
    """`keras.layers.RNN` with a choice of engine.

    The native engine runs `SimpleRNNCell`, `GRUCell` and `LSTMCell` of Keras, and stacks of them, each cell
    over the whole sequence before the next. Keras' own loop runs any other cell, and subclasses of these.

    Args:
        cell: a cell, a list of cells, or a `keras.layers.StackedRNNCells`.
        engine: "auto" (the fastest that can run the layer), "native" (an op in C++ for each cell), "keras"
            (Keras' own loop) or "scratch" (the textbook's equations on the cells' weights); see
            `ostinato.engines.choose`.
        *args, **options: as for `keras.layers.RNN`.

    Call arguments, results and errors are those of `SimpleRNN`, except that the state of a stack is a list
    with the state of each cell.

    Attributes:
        runs_any_cell: tells engines that all options but those of the loop are the cells'.

    Example:
        >>> import numpy as np
        >>> layer = RNN([keras.layers.LSTMCell(4), keras.layers.GRUCell(3)], return_state=True)
        >>> output, (h, c), (top,) = layer(np.zeros((2, 7, 3)))
        >>> output.shape, c.shape, top.shape
        (TensorShape([2, 3]), TensorShape([2, 4]), TensorShape([2, 3]))
    """

    runs_any_cell = True
