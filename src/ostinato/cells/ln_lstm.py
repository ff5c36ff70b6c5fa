"""The LSTM with layer normalisation (Ba et al. 2016, arXiv:1607.06450).

    a = γ_x ⊙ n(x W) + γ_h ⊙ n(h R) + b        over all four gates together
    i, f, o = σ(a_i), σ(a_f), σ(a_o)           c̃ = tanh(a_c)
    c' = f ⊙ c + i ⊙ c̃
    h' = o ⊙ tanh(γ_c ⊙ n(c') + β_c)           c' itself is carried on as it is

n(v) = (v − mean) / √(variance + 1e-5), over a row. See `ostinato.cells.rowwise` for other forms in use. It
learns in fewer steps, and does not depend on the scale of its weights.
"""

from __future__ import annotations

from dataclasses import replace

from ostinato.cells.base import KerasOption
from ostinato.cells.lstm import LSTM
from ostinato.cells.options import LSTM_WITH_OPTIONS


def ln_lstm(units: int, **options: KerasOption) -> LSTM:
    """An LSTM layer with layer normalisation; its options are those of `LSTM`."""
    return LSTM(units, layer_norm=True, **options)


CELL = replace(
    LSTM_WITH_OPTIONS,
    name="ln-lstm",
    layer=ln_lstm,
    gates=("i", "f", "c", "o"),
    advice=(
        "Where learning is unstable or slow in steps: high learning rates, deep stacks, long "
        "sequences. Each step takes longer, and the scale of a whole row's inputs is lost."
    ),
)
