"""Recurrent Keras layers with a choice of engine, and the registry of cells.

The layer classes are loaded on first use, so the names of the cells are known without TensorFlow.
"""

from typing import TYPE_CHECKING

from ostinato.cells.registry import cells, check, has_reset_gate, name_of, recurrent

if TYPE_CHECKING:
    from ostinato.cells.gated_delta import GatedDelta
    from ostinato.cells.gru import GRU
    from ostinato.cells.indrnn import IndRNN
    from ostinato.cells.keras_rnn import RNN
    from ostinato.cells.lru import LRU
    from ostinato.cells.lstm import LSTM
    from ostinato.cells.mingru import MinGRU
    from ostinato.cells.minlstm import MinLSTM
    from ostinato.cells.mlstm import MLSTM
    from ostinato.cells.rg_lru import RGLRU
    from ostinato.cells.rnn import SimpleRNN
    from ostinato.cells.slstm import SLSTM
    from ostinato.cells.sru import SRU

__all__ = [
    "GRU",
    "LRU",
    "LSTM",
    "MLSTM",
    "RGLRU",
    "RNN",
    "SLSTM",
    "SRU",
    "GatedDelta",
    "IndRNN",
    "MinGRU",
    "MinLSTM",
    "SimpleRNN",
    "cells",
    "check",
    "has_reset_gate",
    "name_of",
    "recurrent",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        from ostinato.cells.keras_rnn import RNN
        from ostinato.registration import own_cells

        return next(layer for layer in (RNN, *(cell.layer for cell in own_cells())) if layer.__name__ == name)
    raise AttributeError(f"module 'ostinato.layers' has no attribute '{name}'")
