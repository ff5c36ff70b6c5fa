"""What the element-wise recurrences share: their Keras cells and layers, made from a table of weights.

In such a recurrence each unit meets only its own past. The products of x are the same as at every other step,
so the native engine has them computed for all steps at once, and then walks over time without any matrix.

A cell's file has its parameters, a named tuple whose fields are the weights; `step`, one time step by these;
and a subclass of `ElementwiseCell` that says how the weights begin.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from ostinato import scratch
from ostinato.cells.base import KerasOption, State, Step
from ostinato.cells.engine_layer import EngineLayer
from ostinato.engines import choose, native
from ostinato.engines.product import native_product

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load
import tensorflow as tf


class Weight(NamedTuple):
    """A weight that a cell is to have.

    Attributes:
        shape: its shape.
        initializer: what draws it, or its name in Keras.
        constraint: what each update makes it keep; None for nothing.
    """

    shape: tuple[int, ...]
    initializer: Any
    constraint: Any = None


class ElementwiseCell(keras.layers.Layer):
    """One step of an element-wise recurrence, as Keras' loop runs it.

    Args:
        units: width of the state and of the output.
        use_bias: whether the products of x have biases.
        kernel_initializer: draws the matrices; biases and what each unit has of its own begin as published.
        kernel_regularizer: loss of the matrices.
        seed: of what an initializer without a seed draws; None draws anew each time.

    Attributes:
        Params: the parameters of `step`; a field that the cell does not have is None.
        step: one time step in plain TensorFlow.
        state_names: a name for each tensor of the state.
        products: the weights whose products with x the kernel reads, in its order.
        bias_names: their biases, as many; None for products without one.
        reads_x: whether the kernel reads x besides.
        output_reads_x: whether the output depends on x by more than the kernel computes.
    """

    Params: ClassVar[Any]
    step: ClassVar[Step]
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    products: ClassVar[tuple[str, ...]] = ()
    bias_names: ClassVar[tuple[str, ...]] = ()
    reads_x: ClassVar[bool] = False
    output_reads_x: ClassVar[bool] = False

    def __init__(
        self,
        units: int,
        *,
        use_bias: bool = True,
        kernel_initializer: KerasOption = "glorot_uniform",
        kernel_regularizer: KerasOption = None,
        seed: int | None = None,
        **options: KerasOption,
    ):
        if not isinstance(units, int) or units < 1:
            raise ValueError(f"units must be a whole number of at least 1, got {units!r}")
        super().__init__(**options)
        self.units, self.use_bias, self.seed = units, use_bias, seed
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        count = len(self.state_names)
        self.state_size = [units] * count if count > 1 else units
        self.output_size = units

    def weights_for(self, features: int) -> Mapping[str, Weight | None]:
        """All weights by their names, for inputs of so many features; None for one that there is not."""
        raise NotImplementedError

    def build(self, input_shape: Sequence[int | None]) -> None:
        features = input_shape[-1]
        if features is None:
            raise ValueError(
                f"the last axis of the inputs must have a known size, got the shape {input_shape}"
            )
        for name, wanted in self.weights_for(features).items():
            weight = None
            if wanted is not None:
                weight = self.add_weight(
                    shape=wanted.shape,
                    initializer=_apart(keras.initializers.get(wanted.initializer), name, self.seed),
                    regularizer=self.kernel_regularizer if len(wanted.shape) > 1 else None,
                    constraint=wanted.constraint,
                    name=name,
                )
            setattr(self, name, weight)
        super().build(input_shape)

    def matrix(self, rows: int, columns: int) -> Weight:
        """A matrix that the layer's initializer draws."""
        return Weight((rows, columns), self.kernel_initializer)

    def bias(self, start: float = 0.0) -> Weight | None:
        """A bias that begins at a number; None without biases."""
        return Weight((self.units,), keras.initializers.Constant(start)) if self.use_bias else None

    def params(self) -> Any:
        """The parameters of `step`."""
        return self.Params(*(self.value(name) for name in self.Params._fields))

    def value(self, name: str) -> Any:
        """A weight in the compute dtype. A bias that there is not is 0, so that equations stay the same."""
        weight = getattr(self, name)
        if weight is None:
            return scratch.NO_BIAS if name.startswith("b") else None
        return tf.cast(tf.convert_to_tensor(weight), self.compute_dtype)

    def call(
        self, inputs: tf.Tensor, states: State, training: bool = False
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        output, after = type(self).step(inputs, tuple(keras.tree.flatten(states)), self.params())
        return output, list(after)

    # What the native engine asks.

    def given(self, x: tf.Tensor) -> tf.Tensor:
        """x as the products read it; token ids may stay what they are."""
        return x

    def highway(self, given: tf.Tensor) -> tf.Tensor:
        """What the kernel reads of x, (batch, time, units), where it does."""
        return given

    def sums(self, given: tf.Tensor) -> tf.Tensor:
        """The products of what `given` gives, (batch, time, products × units)."""
        return native_product(given, tf.concat([self.value(name) for name in self.products], axis=1))

    def biases(self) -> tf.Tensor | None:
        """The biases of all products; None without."""
        if not self.use_bias or not self.bias_names:
            return None
        zeros = tf.zeros(self.units, self.compute_dtype)
        return tf.concat([zeros if name == "" else self.value(name) for name in self.bias_names], 0)

    def constants(self) -> tf.Tensor | None:
        """What the kernel reads for each unit, (constants × units); None where it reads nothing."""
        return None

    def read(self, y: tf.Tensor, given: tf.Tensor) -> tf.Tensor:
        """The outputs, (batch, time, units), from those of the kernel."""
        return y

    def get_config(self) -> dict[str, KerasOption]:
        return super().get_config() | {
            "units": self.units,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "seed": self.seed,
        }


def _apart(initializer: Any, name: str, seed: int | None) -> Any:
    """An initializer with a seed of its own for each weight; with one for all, equal shapes are equal."""
    config = initializer.get_config() if hasattr(initializer, "get_config") else {}
    given = config.get("seed", seed)
    given = seed if given is None else given
    if "seed" not in config or not isinstance(given, int):
        return initializer
    digest = hashlib.sha256(f"{given}/{name}".encode()).digest()
    return type(initializer).from_config(config | {"seed": int.from_bytes(digest[:4], "big") >> 1})


class ElementwiseLayer(EngineLayer, keras.layers.RNN):
    """An element-wise recurrence over sequences. Each cell's file has the layer of its own.

    Args:
        units: width of the state and of the output.
        engine: "auto" (the fastest that can run the layer), "native" (one op in C++), "keras" (Keras' own
            loop); see `ostinato.engines.choose`.
        **options: those of the cell, and those of `keras.layers.RNN`.
    """

    keras_cell: ClassVar[type[ElementwiseCell]]

    def __init__(self, units: int, *, engine: str = "auto", **options: KerasOption):
        names = cell_options(self.keras_cell)
        of_cell = {name: options.pop(name) for name in sorted(names & options.keys())}
        if "dtype" in options:
            of_cell["dtype"] = options["dtype"]
        super().__init__(self.keras_cell(units, **of_cell), engine=engine, **options)

    @property
    def units(self) -> int:
        return self.cell.units

    def __getattr__(self, option: str) -> Any:
        cell = self.__dict__.get("cell")
        if cell is not None and option in cell_options(type(cell)):
            return getattr(cell, option)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{option}'")

    def over_ids(
        self, ids: tf.Tensor, symbols: int, *, initial_state: Sequence[tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, ...]:
        runs_natively = self.built and choose(self.engine, self).engine == "native"
        # One-hot vectors of `units` entries are read as they are, not by a matrix.
        if (
            not runs_natively
            or symbols == self.units
            or (self.engine == "auto" and ids.shape[1] == 1 and not training)
        ):
            return self(
                keras.ops.one_hot(ids, symbols, dtype=self.compute_dtype),
                initial_state=initial_state,
                training=training,
            )
        _, outputs, state = native.run(self, tf.cast(ids, tf.int32), initial_state, None, training)
        return (outputs, *state)

    def get_config(self) -> dict[str, KerasOption]:
        config = super().get_config()
        of_cell = config.pop("cell")["config"]
        return config | {name: of_cell[name] for name in ("units", *sorted(cell_options(self.keras_cell)))}

    @classmethod
    def from_config(cls, config: dict[str, KerasOption], custom_objects: Any = None) -> ElementwiseLayer:
        return cls(**config)


def cell_options(cell: type[ElementwiseCell]) -> set[str]:
    """The options of a cell beside `units`: those that its classes name."""
    named = {
        name
        for base in cell.__mro__
        if issubclass(base, ElementwiseCell)
        for name, parameter in inspect.signature(base.__init__).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return named


def params_of(layer: ElementwiseLayer) -> Any:
    """The parameters of `step`, from a built layer; gradients flow through."""
    return layer.cell.params()
