"""What ostinato's layers add to Keras': a choice of the engine that runs them over time, `lengths`, ragged
sequences, and initial states that are the same for all rows."""

import functools
import inspect
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

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
from ostinato.cells import ragged
from ostinato.cells.base import Cell, KerasOption
from ostinato.cells.initial_weights import that_bfloat16_has
from ostinato.engines import in_turn
from ostinato.engines.exporting import refuse_tf2onnx
from ostinato.engines.facts import has_zero_state, stacked
from ostinato.registration import h5_holds_operations

Lengths = tf.Tensor | keras.KerasTensor | np.ndarray | Sequence[int]


class EngineLayer(keras.layers.RNN if TYPE_CHECKING else object):
    """The part that the layers add to Keras': the arguments `engine` and `lengths`, and a loop over time.

    A call also takes a `tf.RaggedTensor`, see `ostinato.cells.ragged`, and constant initial states.

    Attributes:
        recurrence: the cell that the layer runs; an attribute of each class but `RNN`.
    """

    recurrence: ClassVar[Cell]
    # What runs instead where an option of ostinato's is given: the cell's options, and the cell.
    own_options: ClassVar[dict[str, KerasOption]] = {}
    with_options: ClassVar[Cell | None] = None
    # References to the state that the layer last made by itself; __init__ makes no accelerated layer.
    _zeros: tuple[weakref.ref, ...] = ()

    def __init__(self, *args: KerasOption, engine: str = "auto", **options: KerasOption) -> None:
        check(engine)
        own = {name: options.pop(name) for name in self.own_options if name in options}
        super().__init__(*args, **options)
        self.engine = engine
        if any(value != self.own_options[name] for name, value in own.items()):
            self._take_options(own)
        choose(engine, self)  # raises EngineError when the engine cannot run the layer
        if engine == "auto":
            warn_without_library()
        if may_be_native(engine, self):
            # XLA compiles only its own ops. Keras then runs the model without XLA.
            self.supports_jit = False

    def _take_options(self, own: dict[str, KerasOption]) -> None:
        """Runs the cell that has the options."""
        if self.with_options is None or self.with_options.keras_cell is None:
            return
        self.cell = self.with_options.keras_cell(**{**self.cell.get_config(), **own})
        self.recurrence = self.with_options  # pyright: ignore[reportAttributeAccessIssue]
        sizes = self.cell.state_size
        self.state_size = list(sizes) if isinstance(sizes, list | tuple) else [sizes]
        self.use_cudnn = False  # it has the plain equations alone

    def __call__(self, *args: KerasOption, lengths: Lengths | None = None, **options: KerasOption) -> Any:
        is_ragged = isinstance(args[0] if args else options.get("sequences"), tf.RaggedTensor)
        if lengths is None and not is_ragged:
            return super().__call__(*args, **options)
        names = ("sequences", "initial_state", "mask", "training")
        options = {**dict(zip(names, args, strict=False)), **options}
        sequences = options.pop("sequences", None)
        if is_ragged or lengths is None:
            return self._over_ragged(sequences, {**options, "lengths": lengths})
        if options.get("mask") is not None:
            raise ValueError("only one of `lengths` and `mask` must be given, got both")
        if len(getattr(sequences, "shape", ())) == 3:  # otherwise Keras reports the error
            options["mask"] = _sequence_mask(lengths, sequences)
        return super().__call__(sequences, **options)

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        with that_bfloat16_has(stacked(self) or [self.cell]):
            super().build(sequences_shape, initial_state_shape)

    def _over_ragged(self, sequences: tf.RaggedTensor, options: dict[str, KerasOption]) -> Any:
        """A call over ragged sequences, whose outputs at all steps are as ragged."""
        dense, mask = ragged.padded(sequences, options)
        options = {name: option for name, option in options.items() if name != "lengths"}
        results = super().__call__(dense, **{**options, "mask": mask})
        if not self.return_sequences:
            return results
        outputs, *state = results if self.return_state else (results,)
        outputs = ragged.unpadded(outputs, mask, sequences, backwards=self.go_backwards)
        return (outputs, *state) if self.return_state else outputs

    def call(
        self,
        sequences: tf.Tensor,
        initial_state: KerasOption = None,
        mask: KerasOption = None,
        training: bool = False,
    ) -> Any:
        if initial_state is not None:
            initial_state = self._for_each_row(initial_state, sequences)
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def get_initial_state(self, batch_size: Any) -> Any:
        state = super().get_initial_state(batch_size)
        self._zeros = tuple(map(weakref.ref, keras.tree.flatten(state))) if has_zero_state(self) else ()
        return state

    def _begins_with_zeros(self, state: KerasOption) -> bool:
        """Whether a state is that of `get_initial_state` itself, of which nobody asks for a gradient."""
        given, zeros = keras.tree.flatten(state), self._zeros
        return len(given) == len(zeros) and all(a is b() for a, b in zip(given, zeros, strict=True))

    def _for_each_row(self, state: KerasOption, sequences: Any) -> KerasOption:
        """A state whose constant parts, (units,) or (1, units), are repeated for every row of the batch."""
        sizes, tensors = keras.tree.flatten(self.state_size), keras.tree.flatten(state)
        if len(sizes) != len(tensors):
            return state  # the layer's loop reports the error, or accepts it
        rows = sequences.shape[0]

        def repeated(tensor: Any, size: int) -> Any:
            shape = tuple(getattr(tensor, "shape", ()))
            if shape != (size,) and (shape != (1, size) or rows == 1):
                return tensor
            batch = keras.ops.shape(sequences)[0]  # pyright: ignore[reportOptionalSubscript]
            return keras.ops.broadcast_to(tensor, (batch, size))

        return keras.tree.pack_sequence_as(state, [*map(repeated, tensors, sizes)])

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
        if not self._has_shape_of(sequences, initial_state):
            engine = "keras"  # Keras reports the error, or accepts it
        # For a single step from a state, as in generation, calling the cell is faster than packing weights
        # for the op. From zeros the op does not even read the recurrent weights.
        zeros = self._begins_with_zeros(initial_state)
        single = sequences.shape[1] == 1 and mask is None and not training and not zeros
        zones = self._zones(sequences, training)
        if engine == "native" and not (single and self.engine == "auto"):
            refuse_tf2onnx()
            run = functools.partial(native_engine.run, begins_with_zeros=zeros, zones=zones)
            return in_turn.run(self, run, sequences, initial_state, mask, training)
        if engine == "scratch":
            return in_turn.run(self, scratch_engine.run, sequences, initial_state, mask, training)
        if zones is None:
            return keras_engine.run(self, sequences, initial_state, mask, training)
        with self.cell.zones_in_inputs():
            kept = [tf.cast(each, sequences.dtype) for each in self.cell.zones_of(zones) if each is not None]
            inputs = tf.concat([sequences, *kept], -1)
            return keras_engine.run(self, inputs, initial_state, mask, training)

    def _zones(self, sequences: tf.Tensor, training: bool) -> tf.Tensor | None:
        """Zoneout's random bits in training, for all steps; None where the cell has no zoneout."""
        # Cells of strangers may have anything of that name.
        zoned = training and hasattr(self.cell, "draw_zones") and any(self.cell.zoneout)
        return self.cell.draw_zones(sequences) if zoned else None

    def _has_shape_of(self, sequences: tf.Tensor, state: Sequence[Any]) -> bool:
        """Whether the inputs are sequences of vectors, and the state has the tensors of the cells."""
        counts = [[len(keras.tree.flatten(part)) for part in each] for each in (state, self.state_size)]
        return sequences.shape.rank == 3 and counts[0] == counts[1]

    def keras_loop(
        self,
        sequences: tf.Tensor,
        initial_state: Sequence[tf.Tensor],
        mask: tf.Tensor | None,
        training: bool,
    ) -> Any:
        """Keras' own `inner_loop` of the layer."""
        return super().inner_loop(sequences, initial_state, mask, training)

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
        # A layer without this attribute has the dropout in its cells, and reads vectors.
        native = (
            not getattr(self, "dropout", True) and self.built and choose(self.engine, self).engine == "native"
        )
        if not native or (self.engine == "auto" and ids.shape[1] == 1 and not training):
            one_hot = keras.ops.one_hot(ids, symbols, dtype=self.compute_dtype)
            return self(one_hot, initial_state=initial_state, training=training)
        refuse_tf2onnx()
        zones = self._zones(ids, training)
        _, outputs, state = native_engine.run_ids(self, ids, initial_state, None, training, zones=zones)
        return (outputs, *state)

    def get_config(self) -> dict[str, KerasOption]:
        config = {**super().get_config(), **(getattr(self.cell, "own", {}) if self.own_options else {})}
        return config if self.engine == "auto" else {**config, "engine": self.engine}


def _sequence_mask(lengths: Lengths, sequences: tf.Tensor) -> object:
    """The mask, (batch, time), that is True at the first `lengths` steps of each sequence.

    In a functional model it is built from Keras' own operations, so `ostinato.to_keras` leaves nothing of
    ostinato's in the model.
    """
    lengths = _checked_lengths(lengths, sequences.shape[1])
    if keras.utils.is_keras_tensor(lengths) or keras.utils.is_keras_tensor(sequences):
        if not h5_holds_operations():
            return SequenceMask()(lengths, sequences)
        first_feature = keras.ops.take(sequences, 0, axis=-1)
        steps = keras.ops.cumsum(keras.ops.ones_like(first_feature, dtype="int32"), axis=1)
        return keras.ops.less_equal(steps, keras.ops.expand_dims(lengths, 1))
    time = sequences.shape[1]
    return tf.sequence_mask(lengths, tf.shape(sequences)[1] if time is None else time)


def _checked_lengths(lengths: Lengths, time: int | None = None) -> tf.Tensor | keras.KerasTensor:
    if not isinstance(lengths, keras.KerasTensor):
        lengths = tf.convert_to_tensor(lengths)
    dtype, shape = keras.backend.standardize_dtype(lengths.dtype), tuple(lengths.shape)
    if "int" not in dtype or len(shape) != 1:
        raise ValueError(
            f"`lengths` must be integers of shape (batch,), got the dtype {dtype} and the shape {shape}"
        )
    known = None if isinstance(lengths, keras.KerasTensor) else tf.get_static_value(lengths)
    if known is not None and time is not None:
        wrong = known[(known < 0) | (known > time)]
        if len(wrong):
            raise ValueError(f"`lengths` must be 0 to {time}, the sequences' steps, got {wrong[0]}")
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


def with_signature(layer: _Class) -> _Class:
    """Gives a layer's constructor Keras' signature with `engine` in it, for `help` and `inspect`."""

    def __init__(self: object, *args: KerasOption, **options: KerasOption) -> None:  # noqa: N807
        super(layer, self).__init__(*args, **options)

    signature = inspect.signature(layer.__mro__[2].__init__)
    *parameters, options = signature.parameters.values()
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in (*getattr(layer, "own_options", {}).items(), ("engine", "auto"))
    ]
    __init__.__signature__ = signature.replace(parameters=[*parameters, *own, options])
    __init__.__qualname__ = f"{layer.__qualname__}.__init__"
    layer.__init__ = __init__
    return layer
