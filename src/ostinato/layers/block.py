"""What a residual block adds to a recurrent layer: a norm before it, a gated MLP behind it, and two skips.

    x ← x + cell(n(x))
    x ← x + (silu(n(x) W_gate) ⊙ (n(x) W_up)) W_down

n is the root-mean-square norm with a gain for each unit (Zhang & Sennrich 2019, arXiv:1910.07467). The
gated MLP is that of Shazeer 2020, arXiv:2002.05202, of twice the width. Griffin (De et al. 2024,
arXiv:2402.19427) and the minimal RNNs (Feng et al. 2024, arXiv:2410.01201) have blocks like it, the former
with a short convolution, too.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from ostinato.cells.base import KerasOption
from ostinato.engines.gate import gated
from ostinato.engines.product import product
from ostinato.layers.dropout import DropoutKey, dropout

_EPSILON = 1e-6
_WIDER = 2


def normalised(x: tf.Tensor, gain: keras.Variable) -> tf.Tensor:
    """x over its root mean square, times a gain, over the last axis."""
    return x * tf.math.rsqrt(tf.reduce_mean(x * x, axis=-1, keepdims=True) + _EPSILON) * gain


@keras.saving.register_keras_serializable(package="ostinato")
class BlockParts(keras.layers.Layer):
    """The weights of a residual block around a recurrent layer of as many outputs as inputs.

    Args:
        units: width of x.
        seed: seed of the initial weights.
    """

    def __init__(self, units: int, *, seed: int = 0, **options: KerasOption):
        super().__init__(**options)
        self.units, self.seed = units, seed

    def build(self, input_shape: object = None) -> None:
        units, inner = self.units, _WIDER * self.units

        def matrix(name: str, rows: int, columns: int, seed: int) -> keras.Variable:
            start = keras.initializers.GlorotUniform(seed=self.seed + seed)
            return self.add_weight(shape=(rows, columns), initializer=start, name=name)

        self.before_cell = self.add_weight(shape=(units,), initializer="ones", name="gain_cell")
        self.before_mlp = self.add_weight(shape=(units,), initializer="ones", name="gain_mlp")
        self.gate, self.up = matrix("W_gate", units, inner, 0), matrix("W_up", units, inner, 1)
        self.down = matrix("W_down", inner, units, 2)
        self.built = True

    def read(self, x: tf.Tensor) -> tf.Tensor:
        """What the recurrent layer reads, of x (batch, time, units)."""
        return normalised(x, self.before_cell)

    def mlp(self, x: tf.Tensor, rate: float, key: DropoutKey | None, *, site: str) -> tf.Tensor:
        """x behind the gated MLP and its skip, (batch, time, units); dropout acts on what is added."""
        read = normalised(x, self.before_mlp)
        gate, up = (product(read, tf.convert_to_tensor(matrix)) for matrix in (self.gate, self.up))
        inner = gated(up, gate, "silu")
        return x + dropout(product(inner, tf.convert_to_tensor(self.down)), rate, key, site=site)

    def get_config(self) -> dict[str, KerasOption]:
        return super().get_config() | {"units": self.units, "seed": self.seed}
