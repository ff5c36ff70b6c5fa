"""Recurrent Keras layers with a choice of engine, and the registry of cells.

The layer classes are loaded on first use, so the names of the cells are known without TensorFlow.
"""

from typing import TYPE_CHECKING

from ostinato.layers.registry import cells, check, has_reset_gate, recurrent

if TYPE_CHECKING:
    from ostinato.layers.classic import GRU, LSTM, SimpleRNN

__all__ = ["GRU", "LSTM", "SimpleRNN", "cells", "check", "has_reset_gate", "recurrent"]


def __getattr__(name: str) -> object:
    if name in ("GRU", "LSTM", "SimpleRNN"):
        from ostinato.layers import classic

        return getattr(classic, name)
    raise AttributeError(f"module 'ostinato.layers' has no attribute '{name}'")
