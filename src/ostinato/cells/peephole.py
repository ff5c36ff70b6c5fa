"""The LSTM with peepholes (Gers & Schmidhuber 2000; Gers et al. 2002), in the form of Graves 2013.

    i = σ(x W_i + h R_i + p_i ⊙ c + b_i)       each unit's gates read its own cell state
    f = σ(x W_f + h R_f + p_f ⊙ c + b_f)
    c̃ = tanh(x W_c + h R_c + b_c)
    c' = f ⊙ c + i ⊙ c̃
    o = σ(x W_o + h R_o + p_o ⊙ c' + b_o)      the output gate reads the new one
    h' = o ⊙ tanh(c')

The peepholes p begin at zero, that is, as the plain LSTM. It can count and time events more exactly than an
LSTM. Not to be confused with full matrices from c to the gates, which some texts draw.
"""

from __future__ import annotations

from dataclasses import replace

from ostinato.cells.base import KerasOption
from ostinato.cells.lstm import LSTM
from ostinato.cells.options import LSTM_WITH_OPTIONS


def peephole(units: int, **options: KerasOption) -> LSTM:
    """An LSTM layer with peepholes; its options are those of `LSTM`."""
    return LSTM(units, peephole=True, **options)


CELL = replace(
    LSTM_WITH_OPTIONS,
    name="peephole",
    layer=peephole,
    gates=("i", "f", "c", "o"),
    advice=(
        "Where exact timing or counting matters. Elsewhere it learns about as the LSTM does, for "
        "a tenth more time."
    ),
)
