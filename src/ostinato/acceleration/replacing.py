"""Which layer of Keras is replaced by which of ostinato's, to and fro.

The two differ only in their loop over time, so a layer is replaced by changing its class: it keeps its cells,
weights, states and options.
"""

from __future__ import annotations

from ostinato.cells import registry
from ostinato.cells.engine_layer import EngineLayer
from ostinato.cells.keras_rnn import RNN
from ostinato.engines import may_be_native
from ostinato.engines.facts import has_known_cell

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load

# Only these classes: a subclass may have changed anything and is left as it is.
_OURS = {**registry.accelerated(), keras.layers.RNN: RNN}
_STOCK = {ours: stock for stock, ours in _OURS.items()}
# The options of a Keras layer by which it decides whether XLA can compile it.
_OPTIONS = ("activation", "recurrent_activation", "unroll", "use_bias", "use_cudnn")


def replacement(layer: keras.layers.Layer) -> type[EngineLayer] | None:
    """ostinato's class for a layer of Keras; None where the layer stays as it is.

    A `keras.layers.RNN` is replaced if ostinato knows all of its cells.
    """
    kind = _OURS.get(type(layer))
    return None if kind is RNN and not has_known_cell(layer) else kind


def original(layer: keras.layers.Layer) -> type[keras.layers.RNN] | None:
    """Keras' class for a layer of ostinato's; None for any other, and with options that Keras lacks."""
    own = getattr(layer, "recurrence", None)
    return None if own is not None and own.keras is None else _STOCK.get(type(layer))


def replace(layer: keras.layers.RNN, engine: str) -> None:
    """Gives a layer of Keras its `replacement`, with an engine."""
    kind = replacement(layer)
    if kind is not None:
        layer.__class__, layer.engine = kind, engine
        layer.supports_jit = layer.supports_jit and not may_be_native(engine, layer)


def restore(layer: keras.layers.RNN) -> None:
    """Gives a layer of ostinato's its `original`."""
    kind = original(layer)
    if kind is not None:
        layer.__class__ = kind
        vars(layer).pop("engine", None)
        layer.supports_jit = _like(layer).supports_jit


def _like(layer: keras.layers.RNN) -> keras.layers.RNN:
    """A new Keras layer with these options, which is made without drawing random numbers."""
    kind = type(layer)
    if kind is keras.layers.RNN:
        return kind(layer.cell, name=layer.name)
    initializers = {f"{name}_initializer": "zeros" for name in ("kernel", "recurrent", "bias")}
    options = {name: getattr(layer, name) for name in _OPTIONS if hasattr(layer, name)}
    return kind(1, seed=0, name=layer.name, **initializers, **options)
