"""A network as exports read it: a function of its inputs and states, beside the model that it must equal."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ostinato.acceleration.accelerate import accelerate, recurrent_layers
from ostinato.acceleration.inputs import IdRange, OpenShape, declared_inputs, pack_inputs
from ostinato.cells.base import StateSpec
from ostinato.cells.engine_layer import EngineLayer
from ostinato.engines import choose
from ostinato.engines.activations import names_of
from ostinato.engines.facts import cell_of, parts
from ostinato.errors import ConfigError, EngineError, unwrapped

Tensors = Sequence[tf.Tensor]
Function = Callable[[Tensors, Tensors], tuple[list[tf.Tensor], list[tf.Tensor]]]
"""Maps inputs and states to outputs and the next states."""


@dataclass(frozen=True)
class Input:
    """An input of a network.

    Attributes:
        name: its name.
        shape: with the batch; None is an open size.
        dtype: its dtype.
        ids: the half-open range of the ids that it holds; None when it holds none.
        padding: what a step holds that a mask skips; None where nothing is skipped.
        axis: a word for the size of its second axis; inputs with the same word have the same size.
    """

    name: str
    shape: OpenShape
    dtype: str
    ids: IdRange | None = None
    padding: float | None = None
    axis: str = "time"


@dataclass(frozen=True)
class Network:
    """A network to export.

    Attributes:
        name: for messages and files.
        inputs: its inputs.
        states: the tensors of its state that are inputs and outputs; none if it begins anew at each call.
        outputs: the names of its outputs.
        run: what is exported.
        reference: what that must equal.
        loops: recurrent layers that formats without an operator for them run step by step, and why.
        metadata: JSON by its name in the file, for example the vocabulary.
        notes: sentences for the user.
        tracked: what holds the variables of `run`.
        part: its name in the network, "" for the main one.
        variables: the floating-point weights of `reference`.
    """

    name: str
    inputs: tuple[Input, ...]
    states: tuple[StateSpec, ...]
    outputs: tuple[str, ...]
    run: Function
    reference: Function
    loops: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tracked: Any = None
    part: str = ""
    variables: Sequence[tf.Variable] = ()

    @property
    def given(self) -> list[str]:
        """The names of all that a file reads: inputs and states."""
        return [*(each.name for each in self.inputs), *(state.name for state in self.states)]

    @property
    def results(self) -> list[str]:
        """The names of all that a file gives: outputs and the next states."""
        return [*self.outputs, *(f"{state.name}_out" for state in self.states)]


def network_of(model: keras.Model, *, states: bool, operators: bool) -> Network:
    """A Keras model as a network.

    Args:
        model: any model whose inputs are known; it is not changed.
        states: whether states are inputs and outputs. Those of stateful layers are in any case.
        operators: whether recurrent layers are ops of the engine, for which the format has operators;
            otherwise they are loops.

    Raises:
        ConfigError: it does not say what its inputs are, or its states cannot be taken apart.
    """
    inputs = _inputs_of(model)
    with (
        warnings.catch_warnings()
    ):  # that nothing is gained, or not compared: exports are compared in any case
        warnings.simplefilter("ignore")
        copy = accelerate(model, compile=False)
    stateful = [layer.name for _, layer in recurrent_layers(model) if layer.stateful]
    _forget_eager_tensors(copy)
    loops = prepare(copy, operators=operators)
    taps = [_Tap(layer) for _, layer in recurrent_layers(copy)] if states or stateful else []
    of_model = [_Tap(layer) for _, layer in recurrent_layers(model)] if states or stateful else []

    def running(which: keras.Model, taps: Sequence[_Tap]) -> Function:
        def run(given: Tensors, state: Tensors) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
            rest = list(state)
            with contextlib.ExitStack() as stack:
                for tap in taps:
                    stack.enter_context(tap.tapped(rest))
                found = keras.tree.flatten(which(pack_inputs(which, list(given)), training=False))
            if taps and not state:
                return found, []
            return found, [tensor for tap in taps for tensor in tap.after]

        return run

    # Tracing without states finds which layers begin by themselves: only those have a state of their own.
    count = _trial(running(copy, taps), inputs)
    used = [tap.begins for tap in taps]
    taps = [tap for tap, use in zip(taps, used, strict=True) if use]
    of_model = [tap for tap, use in zip(of_model, used, strict=True) if use]
    names = _output_names(model)
    outputs = _different(names if len(names) == count else ["output"] * count, {each.name for each in inputs})
    notes = [f"the state of {name}, which is stateful, is an input and an output" for name in stateful]
    return Network(
        name=model.name,
        inputs=inputs,
        states=tuple(spec for tap in taps for spec in tap.specs),
        outputs=tuple(outputs),
        run=running(copy, taps),
        reference=running(model, of_model),
        loops=loops,
        notes=tuple(notes),
        tracked=copy,
        variables=floating(model),
    )


def floating(model: keras.Model) -> list[tf.Variable]:
    """The floating-point weights of a model."""
    return [variable.value for variable in model.weights if "float" in variable.dtype]


def prepare(model: keras.layers.Layer, *, operators: bool) -> dict[str, str]:
    """Makes a copy of a model ready for tracing: an op for each recurrent layer that has an operator.

    Args:
        model: the copy.
        operators: whether there are operators at all.

    Returns:
        The layers that stay a loop, by their paths, and why.
    """
    loops = {}
    for path, layer in recurrent_layers(model):
        why = _no_operator(layer) if operators else "the format has no operator for it"
        if why:
            loops[path] = why
        if isinstance(layer, EngineLayer):
            layer.engine = "keras" if why else "native"
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.TimeDistributed):
            _run_at_once(layer)
    return loops


def _forget_eager_tensors(model: keras.layers.Layer) -> None:
    """Makes arrays of layers' tensors, such as the mean of an adapted `Normalization`: a graph holds those as
    constants, and takes tensors for inputs."""
    for layer in model._flatten_layers():
        for name, value in list(vars(layer).items()):
            if isinstance(value, tf.Tensor) and not tf.is_symbolic_tensor(value):
                vars(layer)[name] = value.numpy()


def _no_operator(layer: keras.layers.RNN) -> str:
    """Why no operator of ONNX runs a layer; empty if one does."""
    if not isinstance(layer, EngineLayer):
        return f"{type(layer).__name__} with the cell {type(layer.cell).__name__} is not known"
    try:
        choose("native", layer)
    except EngineError as error:
        return str(error).removeprefix("the native engine cannot run this layer: ").partition(";")[0]
    if layer.compute_dtype != "float32":
        return f"exports have its operator in float32, and its dtype is {layer.compute_dtype}"
    for part in parts(layer):
        cell = cell_of(part)
        if cell is None or cell.onnx is None:
            return f"there is no operator for {getattr(cell, 'name', 'its cell')} with its options"
        options = getattr(part.cell, "own", {})
        lacking = [name for name in _WITHOUT_OPERATOR if np.any(options.get(name) or 0)]
        if lacking:
            return f"no operator has {lacking[0]}"
        unknown = [name for name in names_of(part).values() if name not in OPERATORS_KNOW]
        if unknown:
            return f"no operator has the activation {unknown[0]}"
    return ""


_WITHOUT_OPERATOR = ("layer_norm", "zoneout", "projection")
OPERATORS_KNOW = (
    "elu",
    "hard_sigmoid",
    "keras2_hard_sigmoid",
    "linear",
    "relu",
    "sigmoid",
    "softsign",
    "tanh",
)
"""The activations that ONNX's operators have."""


def _run_at_once(layer: keras.layers.TimeDistributed) -> None:
    """Lets a TimeDistributed run its layer over all steps at once, as if they were rows of the batch."""
    inner = layer.layer

    def call(inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        sizes = tf.shape(inputs)
        rows = tf.reshape(inputs, tf.concat([[-1], sizes[2:]], 0))
        rows = tf.ensure_shape(rows, (None, *inputs.shape[2:]))
        y = inner(rows, **({"training": training} if inner._call_has_training_arg else {}))
        found = tf.reshape(y, tf.concat([sizes[:2], tf.shape(y)[1:]], 0))
        return tf.ensure_shape(found, (*inputs.shape[:2], *y.shape[1:]))

    layer.call = call


_PATCHED = ("inner_loop", "get_initial_state")


class _Tap:
    """Gives a recurrent layer its state, and takes the next one."""

    def __init__(self, layer: keras.layers.RNN):
        self.layer, self.after, self.begins = layer, [], False
        cell = cell_of(layer)
        sizes = keras.tree.flatten(layer.state_size)
        names = [spec.name for spec in cell.states] if cell is not None else []
        if len(names) != len(sizes):
            names = [f"state_{index}" for index in range(len(sizes))]
        self.specs = tuple(
            StateSpec(f"{layer.name}_{name}", (int(size),)) for name, size in zip(names, sizes, strict=True)
        )

    @contextlib.contextmanager
    def tapped(self, state: list[tf.Tensor]) -> Iterator[None]:
        """A context in which the layer begins with the first of these tensors, which are taken from the list.

        With no tensors it begins by itself, and `begins` says whether it does.
        """
        layer, loop, began = self.layer, self.layer.inner_loop, self.layer.get_initial_state
        before = {name: vars(layer)[name] for name in _PATCHED if name in vars(layer)}
        given, calls = [state.pop(0) for _ in self.specs] if state else [], []

        def get_initial_state(batch_size: Any) -> Any:
            self.begins = True
            return keras.tree.pack_sequence_as(layer.state_size, given) if given else began(batch_size)

        def inner_loop(sequences: tf.Tensor, initial_state: Any, mask: Any, training: bool = False) -> Any:
            calls.append(1)
            if len(calls) > 1:
                raise unwrapped(
                    ConfigError(f"a layer that is called twice has no single state, got '{layer.name}'")
                )
            last, outputs, after = loop(sequences, initial_state, mask, training)
            self.after = keras.tree.flatten(after)
            return last, outputs, after

        stateful, layer.stateful = layer.stateful, False
        vars(layer).update(inner_loop=inner_loop, get_initial_state=get_initial_state)
        try:
            yield
        finally:
            layer.stateful = stateful
            for name in _PATCHED:
                del layer.__dict__[name]
            vars(layer).update(before)


def _inputs_of(model: keras.Model) -> tuple[Input, ...]:
    declared = declared_inputs(model)
    if declared is None:
        raise ConfigError(
            f"the model {model.name} must say what its inputs are, as functional and Sequential models do; "
            "wrap it: keras.Model(x, model(x)) with x = keras.Input(…)"
        )
    if texts := [each.name for each in declared if each.dtype == "string"]:
        raise ConfigError(
            f"the inputs of an exported model must be numbers, and {texts[0]} is text; leave the layer that "
            "reads it, such as TextVectorization, out of the model"
        )
    masks = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Masking)]
    embeddings = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
    zero = 0.0 if any(layer.mask_zero for layer in embeddings) else None
    skipped = float(masks[0].mask_value) if masks else None
    return tuple(
        Input(
            each.name,
            each.shape,
            each.dtype,
            each.ids,
            padding=skipped if each.ids is None else zero,
            axis="time" if number == 0 else f"{each.name}_time",
        )
        for number, each in enumerate(declared)
    )


def _output_names(model: keras.Model) -> list[str]:
    """The names of the layers that give the outputs; none where the model does not say."""
    structure = getattr(getattr(model, "_functional", None) or model, "_outputs_struct", None)
    if isinstance(structure, dict):
        return sorted(structure)  # as `keras.tree` flattens it
    try:
        tensors = keras.tree.flatten(model.outputs)
        return [tensor._keras_history.operation.name for tensor in tensors]
    except (AttributeError, ValueError):
        return []


def _different(names: Sequence[str], taken: set[str]) -> list[str]:
    """The names, with a number behind those that are there already."""
    found: list[str] = []
    for name in names:
        free = (name, *(f"{name}_{index}" for index in range(1, len(names) + len(taken) + 1)))
        found.append(next(each for each in free if each not in taken and each not in found))
    return found


def _trial(run: Function, inputs: Sequence[Input]) -> int:
    """How many outputs there are."""
    count: list[int] = []

    def trial(*given: tf.Tensor) -> None:
        count.append(len(run(given, [])[0]))

    tf.function(trial).get_concrete_function(*[tf.TensorSpec(each.shape, each.dtype) for each in inputs])
    return count[-1]
