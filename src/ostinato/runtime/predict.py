"""Predictions of small batches without TensorFlow's overhead: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ostinato.errors import ConfigError
from ostinato.interop.keras.loading import Path, Source, load_source
from ostinato.runtime import program, reading
from ostinato.runtime.execution import compiled
from ostinato.runtime.program import Program
from ostinato.runtime.state import Sizes, State

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def fast_predict(
    model: Source,
    *,
    weights: Path | None = None,
    custom_objects: Mapping[str, object] | None = None,
    safe_mode: bool = True,
) -> FastPredict:
    """A function that predicts as the model does, without TensorFlow's cost of each call.

    The model is a chain: embedding or one-hot, SimpleRNN, GRU and LSTM (of Keras or of ostinato, also in
    `Bidirectional` and as cells of `RNN`), dense, pooling, activations, masking, and layers that only act in
    training, such as dropout. Sequential, functional and nested models are read, and the language models of
    ostinato. The weights are copied, see `FastPredict.reload`.

    Args:
        model: a built Keras model, or a file with a model, as for `ostinato.accelerate`.
        weights: a file with the model's weights; needed with a `.json`.
        custom_objects: classes and functions of your own that the file names.
        safe_mode: False runs the Python code of the file's Lambda layers. Only for files that you trust.

    Raises:
        ConfigError: the model has a layer that cannot be read, which the sentence names; more than one input
            or output; or another dtype than float32.
        EngineError: the native engine is not available.

    Example:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4), keras.layers.Dense(2)])
        >>> predict = fast_predict(model)
        >>> predict(np.zeros((1, 5, 3))).shape
        (1, 2)
        >>> y, state = predict(np.zeros((1, 5, 3)), predict.initial_state(1))
        >>> [each.shape for each in state]
        [(1, 4), (1, 4)]
    """
    return FastPredict(
        load_source(model, weights=weights, custom_objects=custom_objects, safe_mode=safe_mode, compile=False)
    )


class FastPredict:
    """Predicts as a model does; made by `fast_predict`. Any number of threads may call it."""

    def __init__(self, model: Any):
        self._model = model
        self.reload()

    @property
    def program(self) -> Program:
        """What it computes, with its copy of the weights."""
        return self._ready.program

    def reload(self) -> None:
        """Takes the weights that the model has now. Calls that have begun elsewhere end with the old ones.

        Raises:
            ConfigError: a layer of the model was changed into one that cannot be read.
        """
        self._ready = _Ready(reading.read(self._model))

    def initial_state(self, batch: int) -> State:
        """The state before the first step: zeros (batch, units) for each tensor of the layers' states."""
        return self._ready.sizes.zeros(batch)

    @overload
    def __call__(self, x: ArrayLike) -> np.ndarray: ...
    @overload
    def __call__(self, x: ArrayLike, state: Sequence[np.ndarray]) -> tuple[np.ndarray, State]: ...
    def __call__(
        self, x: ArrayLike, state: Sequence[np.ndarray] | None = None
    ) -> np.ndarray | tuple[np.ndarray, State]:
        """Predicts a batch.

        Args:
            x: what the model reads: (batch, time, features), or token ids (batch, time).
            state: where the sequences go on, from `initial_state` or an earlier call; it is not changed.
                None begins anew.

        Returns:
            The model's output, a new array of float32; with `state` also the state after the last step.

        Raises:
            ConfigError: x or the state has another shape than the model reads; an id is out of range; or a
                state is given, and the model reads sequences from their end.
        """
        ready = self._ready
        value, mask = ready.array(x), None
        if state is None:
            for stage in ready.stages:
                value, mask = stage(value, mask, None)
            return value
        after, addresses = ready.copied(state, len(value))
        for stage in ready.stages:
            value, mask = stage(value, mask, addresses)
        return value, after


class _Ready:
    """A program that is ready to run, and what its arguments must be.

    Attributes:
        stages: what runs, one after the other.
        dtype: of x.
        sizes: units of each array of the state.
    """

    def __init__(self, of: Program):
        self.program, self.stages = of, compiled(of)
        reads_ids = isinstance(of.stages[0], program.Embedding | program.OneHot)
        self.dtype = np.dtype(np.int32 if reads_ids else np.float32)
        self.sizes = Sizes([stage.units for stage in of.recurrent() for _ in range(stage.states)])
        self._backwards = any(
            isinstance(stage, program.Bidirectional)
            or (isinstance(stage, program.Recurrent) and stage.go_backwards)
            for stage in of.stages
        )

    def array(self, x: ArrayLike) -> np.ndarray:
        """x as the first stage reads it.

        Raises:
            ConfigError: it has another shape, or cannot be converted without a loss.
        """
        value, shape = np.asarray(x), self.program.shape
        if value.dtype is not self.dtype:
            value = self._converted(value)
        if (
            len(value.shape) != len(shape)
            or not value.size
            or value.shape[-1] != (shape[-1] or value.shape[-1])
        ):
            raise self._refusal(value)
        if None in shape[1:-1] or value.shape[1:-1] == shape[1:-1]:
            return value
        raise self._refusal(value)

    def _refusal(self, value: np.ndarray) -> ConfigError:
        names = ("batch", "time", "features")
        wanted = [names[axis] if size is None else str(size) for axis, size in enumerate(self.program.shape)]
        return ConfigError(f"x must have the shape ({', '.join(wanted)}), got {value.shape}")

    def _converted(self, value: np.ndarray) -> np.ndarray:
        if value.dtype.kind not in "iubf":
            raise ConfigError(f"x must be an array of numbers, got one of {value.dtype}")
        converted = value.astype(self.dtype)
        if self.dtype.kind == "i" and (converted != value).any():
            raise ConfigError(
                f"x must be token ids, whole numbers below 2^31, got {value[converted != value][0]}"
            )
        return converted

    def copied(self, state: Sequence[np.ndarray], batch: int) -> tuple[State, bytes]:
        """A copy of a state for a call to move on, and the addresses of its arrays.

        Raises:
            ConfigError: sequences cannot go on from a state, or not from this one.
        """
        if self._backwards:
            raise ConfigError(
                "a model that reads sequences from their end cannot go on from a state; call it without one"
            )
        return self.sizes.copied(state, batch)
