"""The LSTM with coupled input and forget gates (Greff et al. 2017, "LSTM: a search space odyssey", "CIFG").

    f = σ(x W_f + h R_f + b_f)
    c̃ = tanh(x W_c + h R_c + b_c)
    o = σ(x W_o + h R_o + b_o)
    c' = f ⊙ c + (1 − f) ⊙ c̃                   what is forgotten makes room for what is new
    h' = o ⊙ tanh(c')

Three quarters of the LSTM's weights and products. The GRU couples its gates, too, but has no output gate.
ONNX's `input_forget=1` is this with f = 1 − i: its i gate's weights are ours of f, negated.
"""

from __future__ import annotations

from dataclasses import replace

from ostinato.cells.base import KerasOption
from ostinato.cells.lstm import LSTM
from ostinato.cells.options import LSTM_WITH_OPTIONS


def cifg(units: int, **options: KerasOption) -> LSTM:
    """An LSTM layer with coupled gates; its options are those of `LSTM`."""
    return LSTM(units, coupled=True, **options)


CELL = replace(
    LSTM_WITH_OPTIONS,
    name="cifg",
    layer=cifg,
    gates=("f", "c", "o"),
    advice=(
        "Where the LSTM is too slow: three quarters of its weights and products, and mostly its "
        "results. What it writes is tied to what it forgets, so it cannot add to a value that it "
        "keeps."
    ),
)
