"""What a trained model computes, as plain stages of numbers: nothing here needs Keras or TensorFlow.

A program is a chain of stages. The first reads an array of the user's; each reads what the one before it
gives, with the mask (batch, time) that says which steps are given. Weights are float32 arrays in Keras'
layouts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Embedding:
    """Token ids (batch, time) to their rows of `table`, (symbols, width).

    Attributes:
        table: a row for each id.
        mask_zero: whether the id 0 is padding, which later stages skip.
    """

    table: np.ndarray
    mask_zero: bool = False


@dataclass(frozen=True)
class OneHot:
    """Token ids (batch, time) to one-hot vectors, (batch, time, symbols)."""

    symbols: int


@dataclass(frozen=True)
class Masking:
    """Steps whose numbers all equal `value` are padding, which later stages skip."""

    value: float = 0.0


@dataclass(frozen=True, eq=False)
class Recurrent:
    """A recurrence over (batch, time, features), in one direction.

    Attributes:
        cell: "rnn", "gru" or "lstm".
        states: arrays (batch, units) of its state: h, and for the LSTM c.
        kernel: (features, gates × units), gates in Keras' order.
        recurrent: (units, gates × units).
        bias: (gates × units,), (2, 3 × units) for a GRU with `reset_after`; None without bias.
        activation: a name from `ostinato.engines.activations.FUNCTIONS`.
        recurrent_activation: the same, of the gates.
        reset_after: of the GRU: whether the reset gate acts after the recurrent product.
        go_backwards: whether it reads from the last step to the first; outputs are in the order of reading.
        return_sequences: whether it gives its outputs at all steps, else after the last.
        zero_output_for_mask: whether its outputs at skipped steps are zeros, else those of the step before.
        name: of the layer.
    """

    cell: str
    states: int
    kernel: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray | None
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    reset_after: bool = True
    go_backwards: bool = False
    return_sequences: bool = False
    zero_output_for_mask: bool = False
    name: str = ""

    @property
    def units(self) -> int:
        """Width of the hidden state."""
        return len(self.recurrent)


@dataclass(frozen=True)
class Bidirectional:
    """Chains of recurrences that read in both directions; `merge` is "concat", "sum", "mul" or "ave".

    The outputs of `backward` at all steps are turned round before they are merged.
    """

    forward: tuple[Recurrent, ...]
    backward: tuple[Recurrent, ...]
    merge: str


@dataclass(frozen=True, eq=False)
class Dense:
    """x · kernel + bias over the last axis; `kernel` is (features, units), `bias` (units,) or None."""

    kernel: np.ndarray
    bias: np.ndarray | None


@dataclass(frozen=True)
class Activation:
    """A function of every number, or for "softmax" and "log_softmax" of the last axis.

    Attributes:
        name: as in `keras.activations`; "linear" is left out by the reader.
        options: its options there, for example the `negative_slope` of "leaky_relu".
    """

    name: str
    options: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class GlobalPooling:
    """The mean of the given steps, or the largest number of all steps: `kind` is "average" or "max"."""

    kind: str
    keepdims: bool = False


@dataclass(frozen=True)
class Pooling:
    """The means, or the largest numbers, of whole windows of `size` steps, every `stride` steps."""

    kind: str
    size: int
    stride: int


Stage = (
    Embedding | OneHot | Masking | Recurrent | Bidirectional | Dense | Activation | GlobalPooling | Pooling
)


@dataclass(frozen=True)
class Program:
    """A chain of stages.

    Attributes:
        stages: what the model computes, one after the other.
        shape: of the input, with None where any size goes.
    """

    stages: tuple[Stage, ...]
    shape: tuple[int | None, ...]

    def recurrent(self) -> Iterator[Recurrent]:
        """The recurrences that have a state to go on from, in order: those outside of `Bidirectional`."""
        return (stage for stage in self.stages if isinstance(stage, Recurrent))
