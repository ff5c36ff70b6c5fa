"""The LSTM with a recurrent projection (Sak et al. 2014, arXiv:1402.1128, "LSTMP").

    i, f, c̃, o and c' as in the LSTM, from x and the projected h
    h' = (o ⊙ tanh(c')) W_proj                 narrower than c

The recurrent matrix has as many rows as h is wide, so a wide cell state costs less. The default width of h
is half the units; it is the width of the output, and of the recurrent state. PyTorch's `LSTM(proj_size=…)`
computes this. The paper's second, non-recurrent projection is left out.
"""

from __future__ import annotations

from dataclasses import replace

from ostinato.cells.base import KerasOption
from ostinato.cells.lstm import LSTM
from ostinato.cells.options import LSTM_WITH_OPTIONS


def lstmp(units: int, *, projection: int | None = None, **options: KerasOption) -> LSTM:
    """An LSTM layer with a projection; its options are those of `LSTM`.

    Args:
        units: width of the cell state.
        projection: width of h and of the output; half the units unless given.
        **options: as for `LSTM`.
    """
    return LSTM(units, projection=projection or max(1, units // 2), **options)


CELL = replace(
    LSTM_WITH_OPTIONS,
    name="lstmp",
    layer=lstmp,
    gates=("i", "f", "c", "o"),
    advice=(
        "Where the cell state must be wide, and the outputs need not be, as in speech "
        "recognition. The projection is one more product at each step."
    ),
)
