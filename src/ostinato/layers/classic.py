"""SimpleRNN, GRU and LSTM: Keras' layers, with a choice of the engine that runs them over time.

Each is a subclass of the Keras layer of the same name and takes all its arguments, at construction and when
called. The equations are in `ostinato.scratch`.
"""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ostinato.engines import check, choose, may_be_native, warn_without_library
from ostinato.errors import EngineError

try:
    import keras
except ModuleNotFoundError as missing:
    raise EngineError(
        f"Keras does not load ({missing}); ostinato's layers need TensorFlow, `pip install 'ostinato[cpu]'`, "
        "and the environment variable KERAS_BACKEND=tensorflow"
    ) from missing
if keras.backend.backend() != "tensorflow":
    raise EngineError(
        f"Keras' backend must be 'tensorflow' for ostinato's layers, got '{keras.backend.backend()}'; "
        "set the environment variable KERAS_BACKEND=tensorflow before Keras is imported"
    )

import numpy as np
import tensorflow as tf

import ostinato.engines.keras as keras_engine
import ostinato.engines.native as native_engine
import ostinato.engines.scratch as scratch_engine
from ostinato.layers.exporting import refuse_tf2onnx
from ostinato.layers.registry import KerasOption
from ostinato.registration import h5_holds_operations

Lengths = tf.Tensor | keras.KerasTensor | np.ndarray | Sequence[int]


class EngineLayer(keras.layers.RNN if TYPE_CHECKING else object):
    """The part that the layers add to Keras': the arguments `engine` and `lengths`, and a loop over time."""

    def __init__(self, *args: KerasOption, engine: str = "auto", **options: KerasOption) -> None:
        check(engine)
        super().__init__(*args, **options)
        self.engine = engine
        choose(engine, self)  # raises EngineError when the engine cannot run the layer
        if engine == "auto":
            warn_without_library()
        if may_be_native(engine, self):
            # XLA compiles only its own ops. Keras then runs the model without XLA.
            self.supports_jit = False

    def __call__(self, *args: KerasOption, lengths: Lengths | None = None, **options: KerasOption) -> Any:
        if lengths is None:
            return super().__call__(*args, **options)
        names = ("sequences", "initial_state", "mask", "training")
        options = {**dict(zip(names, args, strict=False)), **options}
        if options.get("mask") is not None:
            raise ValueError("only one of `lengths` and `mask` must be given, got both")
        sequences = options.pop("sequences", None)
        if len(getattr(sequences, "shape", ())) == 3:  # otherwise Keras reports the error
            options["mask"] = _sequence_mask(lengths, sequences)
        return super().__call__(sequences, **options)

    def inner_loop(
        self,
        sequences: tf.Tensor,
        initial_state: Sequence[tf.Tensor],
        mask: tf.Tensor | Sequence[tf.Tensor | None] | None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor, Sequence[tf.Tensor]]:
        mask = next(iter(keras.tree.flatten(mask)), None)
        if self.engine == "auto":
            warn_without_library()
        engine = choose(self.engine, self, masked=mask is not None).engine
        if len(initial_state) != len(self.state_size):
            engine = "keras"  # Keras reports the error, or accepts it
        # For a single step, as in generation, calling the cell is faster than packing weights for the op.
        single = self.engine == "auto" and sequences.shape[1] == 1 and mask is None and not training
        if engine == "native" and not single:
            refuse_tf2onnx()
            return native_engine.run(self, sequences, initial_state, mask, training)
        if engine == "scratch":
            return scratch_engine.run(self, sequences, initial_state)
        return keras_engine.run(self, super().inner_loop, sequences, initial_state, mask, training)

    def over_ids(
        self, ids: tf.Tensor, symbols: int, *, initial_state: Sequence[tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, ...]:
        """Runs the layer over the one-hot vectors of token ids. The native engine does not make the vectors.

        Args:
            ids: shape (batch, time), integers from 0 to symbols - 1.
            symbols: number of ids, the width of the one-hot vectors.
            initial_state: each tensor (batch, units).
            training: as for a call.

        Returns:
            The results of a call; the layer must have `return_sequences` and `return_state`.
        """
        native = self.built and choose(self.engine, self).engine == "native" and not self.dropout
        if not native or (self.engine == "auto" and ids.shape[1] == 1 and not training):
            one_hot = keras.ops.one_hot(ids, symbols, dtype=self.compute_dtype)
            return self(one_hot, initial_state=initial_state, training=training)
        refuse_tf2onnx()
        _, outputs, state = native_engine.run_ids(self, ids, initial_state, None, training)
        return (outputs, *state)

    def get_config(self) -> dict[str, KerasOption]:
        config = super().get_config()
        return config if self.engine == "auto" else {**config, "engine": self.engine}


def _sequence_mask(lengths: Lengths, sequences: tf.Tensor) -> object:
    """The mask, (batch, time), that is True at the first `lengths` steps of each sequence.

    In a functional model it is built from Keras' own operations, so `ostinato.to_keras` leaves nothing of
    ostinato's in the model.
    """
    lengths = _checked_lengths(lengths)
    if keras.utils.is_keras_tensor(lengths) or keras.utils.is_keras_tensor(sequences):
        if not h5_holds_operations():
            return SequenceMask()(lengths, sequences)
        first_feature = keras.ops.take(sequences, 0, axis=-1)
        steps = keras.ops.cumsum(keras.ops.ones_like(first_feature, dtype="int32"), axis=1)
        return keras.ops.less_equal(steps, keras.ops.expand_dims(lengths, 1))
    time = sequences.shape[1]
    return tf.sequence_mask(lengths, tf.shape(sequences)[1] if time is None else time)


def _checked_lengths(lengths: Lengths) -> tf.Tensor | keras.KerasTensor:
    if not isinstance(lengths, keras.KerasTensor):
        lengths = tf.convert_to_tensor(lengths)
    dtype, shape = keras.backend.standardize_dtype(lengths.dtype), tuple(lengths.shape)
    if "int" not in dtype or len(shape) != 1:
        raise ValueError(
            f"`lengths` must be integers of shape (batch,), got the dtype {dtype} and the shape {shape}"
        )
    return lengths


@keras.saving.register_keras_serializable(package="ostinato")
class SequenceMask(keras.Operation):
    """The mask from `lengths` in functional models of Keras 3.8, and in files of older versions."""

    def call(self, lengths: Lengths, sequences: tf.Tensor) -> object:
        return _sequence_mask(lengths, sequences)

    def compute_output_spec(self, lengths: Lengths, sequences: tf.Tensor) -> keras.KerasTensor:
        _checked_lengths(lengths)
        return keras.KerasTensor(sequences.shape[:2], "bool")


_Class = TypeVar("_Class", bound=type)


def _with_signature(layer: _Class) -> _Class:
    """Gives a layer's constructor Keras' signature with `engine` in it, for `help` and `inspect`."""

    def __init__(self: object, *args: KerasOption, **options: KerasOption) -> None:  # noqa: N807
        super(layer, self).__init__(*args, **options)

    signature = inspect.signature(layer.__mro__[2].__init__)
    *parameters, options = signature.parameters.values()
    engine = inspect.Parameter("engine", inspect.Parameter.KEYWORD_ONLY, default="auto", annotation=str)
    __init__.__signature__ = signature.replace(parameters=[*parameters, engine, options])
    __init__.__qualname__ = f"{layer.__qualname__}.__init__"
    layer.__init__ = __init__
    return layer


@keras.saving.register_keras_serializable(package="ostinato")
@_with_signature
class SimpleRNN(EngineLayer, keras.layers.SimpleRNN):
    """The plain recurrent network (Elman 1990): `keras.layers.SimpleRNN` with a choice of engine.

    Args:
        units: width of the hidden state and of the output.
        engine: "auto" (the fastest that can run the layer), "native" (one op in C++), "keras" (Keras' own
            loop) or "scratch" (the textbook's equations on this layer's weights); see
            `ostinato.engines.choose`.
        *args, **options: as for `keras.layers.SimpleRNN`.

    Call arguments:
        sequences: shape (batch, time, features).
        initial_state: [h], shape (batch, units). Zeros unless given.
        mask: shape (batch, time), False at steps to skip.
        training: whether dropout acts.
        lengths: shape (batch,), the number of steps of each sequence before its padding: a list or tensor of
            integers, or an input of a functional model. Short for `mask=tf.sequence_mask(lengths, time)`.

    Returns:
        The last output, (batch, units), or with `return_sequences=True` all outputs, (batch, time, units);
        with `return_state=True` followed by the final h.

    Raises:
        EngineError: there is no such engine, or it cannot run the layer with these options or with a mask.
        ValueError: `lengths` is given together with `mask`, or is not integers of shape (batch,); or Keras
            raises it.

    Example:
        >>> import numpy as np
        >>> SimpleRNN(4, engine="scratch")(np.zeros((2, 7, 3))).shape
        TensorShape([2, 4])
        >>> SimpleRNN(4)(np.zeros((2, 7, 3)), lengths=[7, 4]).shape
        TensorShape([2, 4])
    """


@keras.saving.register_keras_serializable(package="ostinato")
@_with_signature
class GRU(EngineLayer, keras.layers.GRU):
    """The gated recurrent unit (Cho et al. 2014): `keras.layers.GRU` with a choice of engine.

    It resets after the recurrent product, as in cuDNN; `reset_after=False` gives the textbook's form.

    Args:
        units: width of the hidden state and of the output.
        engine: "auto" (the fastest that can run the layer), "native" (one op in C++), "keras" (Keras' own
            loop) or "scratch" (the textbook's equations on this layer's weights); see
            `ostinato.engines.choose`.
        *args, **options: as for `keras.layers.GRU`.

    Call arguments, results and errors are those of `SimpleRNN`.

    Example:
        >>> import numpy as np
        >>> layer = GRU(4, reset_after=False, return_sequences=True, return_state=True)
        >>> outputs, h = layer(np.zeros((2, 7, 3)))
        >>> outputs.shape, h.shape
        (TensorShape([2, 7, 4]), TensorShape([2, 4]))
    """


@keras.saving.register_keras_serializable(package="ostinato")
@_with_signature
class LSTM(EngineLayer, keras.layers.LSTM):
    """The long short-term memory (Hochreiter & Schmidhuber 1997): `keras.layers.LSTM` with an engine.

    The bias of its forget gate starts at one (`unit_forget_bias`), where the textbook's starts at zero.

    Args:
        units: width of the hidden state, of the cell state and of the output.
        engine: "auto" (the fastest that can run the layer), "native" (one op in C++), "keras" (Keras' own
            loop) or "scratch" (the textbook's equations on this layer's weights); see
            `ostinato.engines.choose`.
        *args, **options: as for `keras.layers.LSTM`.

    Call arguments, results and errors are those of `SimpleRNN`, except that the state is [h, c].

    Example:
        >>> import numpy as np
        >>> output, h, c = LSTM(4, return_state=True)(np.zeros((2, 7, 3)))
        >>> output.shape, h.shape, c.shape
        (TensorShape([2, 4]), TensorShape([2, 4]), TensorShape([2, 4]))
    """
