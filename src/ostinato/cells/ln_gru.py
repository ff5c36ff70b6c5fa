"""The GRU with layer normalisation (Ba et al. 2016, arXiv:1607.06450), which resets after the product.

    a = γ_x ⊙ n(x W)    u = γ_h ⊙ n(h R)       each over all three gates together
    z = σ(a_z + u_z + b_z)                     r = σ(a_r + u_r + b_r)
    h̃ = tanh(a_h + b_h + r ⊙ (u_h + b'_h))
    h' = z ⊙ h + (1 − z) ⊙ h̃

n(v) = (v − mean) / √(variance + 1e-5), over a row. The paper normalises the gates' products and the
candidate's apart, and resets before the product.
"""

from __future__ import annotations

from dataclasses import replace

from ostinato.cells.base import KerasOption
from ostinato.cells.gru import GRU
from ostinato.cells.options import GRU_WITH_OPTIONS


def ln_gru(units: int, **options: KerasOption) -> GRU:
    """A GRU layer with layer normalisation; its options are those of `GRU`."""
    return GRU(units, layer_norm=True, **options)


CELL = replace(
    GRU_WITH_OPTIONS,
    name="ln-gru",
    layer=ln_gru,
    gates=("z", "r", "h"),
    advice="As `ln-lstm`, for the GRU.",
)
