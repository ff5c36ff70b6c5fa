"""Whether a model and its copy agree: in their configurations, and in their results on a made-up batch."""

from __future__ import annotations

import collections
import contextlib
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ostinato.acceleration.copying import TRACED, ModelCopy
from ostinato.acceleration.inputs import (
    Batch,
    Nested,
    compute_loss,
    make_batch,
    make_targets,
)
from ostinato.acceleration.randomness import seeded
from ostinato.errors import ConfigError
from ostinato.interop.keras.sentences import describe_error

TOLERANCE = 1e-4
"""The largest difference that counts as agreement, relative to the largest number of the same array."""
_UNIT_ROUNDOFF = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
_ROUNDINGS = 16
"""How many roundings of a half-precision dtype count as agreement: Keras rounds after each small op."""
NEGLIGIBLE = 1e-3
"""A gradient below this fraction of the model's largest is rounding error of the larger ones."""
# A copy may differ this many times as much as rounding changes the original.
_MAX_AMPLIFICATION = 30.0
# Batch and time in place of open sizes; the second for models that need a longer sequence than the first.
_SIZES = ((2, 6), (2, 100))
# Longer sequences, which some models require, run in a graph.
_MAX_EAGER_STEPS = 200
_MAX_STEPS = 2000
_MAX_UNROLLED_STEPS = 300  # Keras runs TimeDistributed step after step, in graphs, too
_TENSORS = (tf.Tensor, tf.SparseTensor, tf.RaggedTensor, np.ndarray, np.generic)


class Results(NamedTuple):
    """The results of a model on a batch, as arrays.

    Attributes:
        outputs: at `training=False`.
        loss: the compiled loss on made-up targets, or the mean square of the outputs; empty without weights.
        gradients: of the loss, for each trainable weight; of size 0 where the loss does not depend on one.
    """

    outputs: list[np.ndarray]
    loss: list[np.ndarray]
    gradients: list[np.ndarray]


def check_configurations(copied: ModelCopy) -> None:
    """Compares the configurations of a copy's layers with those of the original.

    Raises:
        ConfigError: they differ.
    """
    pairs = list(copied.pairs(keras.layers.Layer))
    # A layer's configuration contains those of the layers in it; the error is to name the innermost one.
    for old, new in sorted(pairs, key=lambda pair: len(pair[0]._flatten_layers())):
        try:
            config = old.get_config()
        except Exception:  # a layer need not have one
            config = None
        if config is not None and not _same(config, new.get_config(), copied):
            raise ConfigError(f"the configuration of its layer '{old.name}' came out different")
        for name, value in vars(old).items():
            function = isinstance(value, types.FunctionType) and name not in TRACED
            if function and vars(new).get(name) is not copied.counterpart(value):
                raise ConfigError(f"the function {name} of its layer '{old.name}' came out different")


def _same(old: object, new: object, copied: ModelCopy) -> bool:
    if old is new or copied.counterpart(old) is new:
        return True
    if isinstance(old, dict):
        return (
            isinstance(new, dict)
            and list(old) == list(new)
            and all(_same(value, new[name], copied) for name, value in old.items())
        )
    if isinstance(old, list | tuple):
        return (
            isinstance(new, list | tuple)
            and len(old) == len(new)
            and all(_same(*pair, copied) for pair in zip(old, new, strict=True))
        )
    if isinstance(old, np.ndarray | np.generic | tf.Tensor | float):
        a, b = np.asarray(old), np.asarray(new)
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if type(old).__eq__ is not object.__eq__:
        return bool(old == new)
    return type(old) is type(new)  # made anew at each call


def run_on_made_up_batch(
    model: keras.layers.Layer, objects: Iterable[object], *, weights: Sequence[keras.Variable]
) -> tuple[Batch | None, Results | None, str]:
    """A batch on which a model runs, and its results; or, in words, why there is none.

    The arguments are those of `run`.
    """
    if not model.built:
        return None, None, "it has no weights yet"
    why_not = ""
    for size in _SIZES:
        try:
            batch = make_batch(model, *size)
        except Exception as error:
            return None, None, describe_error(error)
        if batch is None:
            return None, None, "it does not say what its inputs are"
        steps = max(map(_steps, keras.tree.flatten(batch.arguments)), default=0)
        if steps > (_MAX_UNROLLED_STEPS if _unrolls(model) else _MAX_STEPS):
            return None, None, f"its sequences have {steps:,} steps, which would take too long"
        try:
            return batch, run(model, batch, objects, weights=weights), ""
        except Exception as error:  # a model may raise anything
            why_not = f"it does not run on a made-up batch ({describe_error(error)})"
    return None, None, why_not


def run(
    model: keras.layers.Layer,
    batch: Batch,
    objects: Iterable[object],
    *,
    weights: Sequence[keras.Variable] = (),
) -> Results:
    """The results of a model on a batch. The model is the same afterwards.

    Args:
        model: a Keras model or layer.
        batch: from `run_on_made_up_batch`.
        objects: everything that the run may change, as for `unchanged`.
        weights: the weights to take gradients for; without any there is no loss either.
    """
    long = any(_steps(tensor) > _MAX_EAGER_STEPS for tensor in keras.tree.flatten(batch.arguments))
    if not long:
        with unchanged(objects):
            return Results(*_compute(model, batch, weights))
    # Eagerly, step by step, this would take minutes.
    with unchanged(objects):
        traced = tf.function(lambda: _compute(model, batch, weights), autograph=False)()
    outputs, loss, gradients = ([dense_array(each) for each in part] for part in traced)
    return Results(outputs, loss, gradients)


def _unrolls(model: keras.layers.Layer) -> bool:
    return any(isinstance(layer, keras.layers.TimeDistributed) for layer in model._flatten_layers())


def _steps(tensor: tf.Tensor) -> int:
    return tensor.shape[1] or 0 if tensor.shape.rank and tensor.shape.rank > 1 else 0


def _compute(
    model: keras.layers.Layer, batch: Batch, weights: Sequence[keras.Variable]
) -> tuple[list, list, list]:
    """Outputs, loss and gradients: as arrays, or as tensors in a function that is being traced."""
    with seeded(0), tf.GradientTape() as tape:
        outputs = model(*batch.arguments, training=False, **batch.options)
        flat = [each for each in keras.tree.flatten(outputs) if isinstance(each, _TENSORS)]
        if not weights:
            return [_as_result(each) for each in flat], [], []
        inputs = batch.arguments[0]
        targets = None
        if tf.executing_eagerly():
            with tape.stop_recording():
                targets, _ = make_targets(model, inputs, outputs)
        loss = compute_loss(model, inputs, targets, outputs, training=False)
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        filled = (tf.zeros([0]) if each is None else each for each in gradients)
        return [_as_result(each) for each in flat], [_as_result(loss)], [_as_result(each) for each in filled]


def _as_result(value: Nested) -> object:
    return dense_array(value) if tf.executing_eagerly() else tf.convert_to_tensor(value)


@contextlib.contextmanager
def changed_values(
    variables: Iterable[tf.Variable], change: Callable[[tf.Tensor], tf.Tensor]
) -> Iterator[None]:
    """Changes the values of floating-point variables for a while.

    Args:
        variables: TensorFlow's variables; others than floating-point ones keep their values.
        change: maps a value to the changed one.
    """
    floating = [variable for variable in variables if variable.dtype.is_floating]
    before = [variable.read_value() for variable in floating]
    try:
        for variable, value in zip(floating, before, strict=True):
            variable.assign(change(value))
        yield
    finally:
        for variable, value in zip(floating, before, strict=True):
            variable.assign(value)


@contextlib.contextmanager
def unchanged(objects: Iterable[object]) -> Iterator[None]:
    """Afterwards restores all variables, attributes and contents of objects that have changed meanwhile.

    Args:
        objects: variables, and Python objects of any kind.
    """
    variables, attributes, containers, arrays = [], [], [], []
    for thing in objects:
        if isinstance(thing, tf.Variable):
            variables.append((thing, thing.read_value()))
        elif issubclass(type(thing), dict | list | set | collections.deque):
            containers.append((thing, _items(thing)))
        elif isinstance(thing, np.ndarray):
            arrays.append((thing, thing.copy()))
        elif isinstance(getattr(thing, "__dict__", None), dict):
            attributes.append((vars(thing), _items(vars(thing))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            yield
        finally:
            for variable, value in variables:
                variable.assign(value)
            for thing, before in arrays:
                if thing.flags.writeable:
                    thing[...] = before
            for thing, before in [*attributes, *containers]:
                _restore_items(thing, before)


def _items(container: Any) -> list:
    return list(container.items()) if isinstance(container, dict) else list(container)


def _restore_items(container: Any, before: list) -> None:
    """Gives a container its former items, bypassing the methods of its own class."""
    after = _items(container)
    if len(after) == len(before) and all(map(_same_item, after, before)):
        return
    bases: tuple[Any, ...] = (collections.OrderedDict, dict, list, set, collections.deque)
    base = next(base for base in bases if isinstance(container, base))
    base.clear(container)
    if issubclass(base, dict):
        for key, value in before:
            base.__setitem__(container, key, value)
    else:
        add = base.update if base is set else base.extend
        add(container, before)


def _same_item(a: object, b: object) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b) == 2:
        return a is b or (a[0] is b[0] and a[1] is b[1])
    return a is b


def rounding(model: keras.layers.Layer) -> float:
    """The largest relative rounding error among the dtypes that a model's layers compute in."""
    dtypes = {layer.compute_dtype for layer in model._flatten_layers()}
    return max(_UNIT_ROUNDOFF.get(dtype, 0.0) for dtype in dtypes | {"float32"})


def disagreement(
    original: Results, copy: Results, *, perturbed: Results | None = None, rounding: float = 0.0
) -> str:
    """Where two results differ, in words; empty when they agree.

    Args:
        original: results of the original.
        copy: results of the copy.
        perturbed: results of the original after its weights were changed as little as by rounding. Where
            these differ as much as the copy does, the copy agrees.
        rounding: the model's, from `rounding`.
    """
    tolerance = max(TOLERANCE, _ROUNDINGS * rounding)
    least = NEGLIGIBLE * max(map(_largest, original.gradients), default=0.0)
    differences: Mapping[str, float] = {"outputs": 0.0, "loss": 0.0, "gradients": least}
    for what, smallest in differences.items():
        old, new = getattr(original, what), getattr(copy, what)
        if len(old) != len(new):
            return f"it has {len(new)} {what} instead of {len(old)}"
        moved = old if perturbed is None else getattr(perturbed, what)
        for a, b, c in zip(old, new, moved, strict=True):
            difference = _relative_difference(a, b, smallest)
            if not difference <= max(tolerance, _MAX_AMPLIFICATION * _relative_difference(a, c, smallest)):
                return f"its {what} differ by {difference:.1e} on a made-up batch"
    return ""


def _relative_difference(a: np.ndarray, b: np.ndarray, least: float) -> float:
    """The largest difference, relative to the largest number of `a`, or to `least` if that is larger."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    if a.dtype.kind not in "fciub":
        return 0.0 if np.array_equal(a, b) else float("inf")
    largest = float(np.max(absolute_differences(a, b), initial=0.0))
    return largest / (max(_largest(a), least) or 1.0) if largest else 0.0


def absolute_differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Absolute differences; zero where both are the same infinity or both NaN."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))


def _largest(array: np.ndarray) -> float:
    finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind == "f" else np.abs(array)
    return float(np.max(finite, initial=0.0))


def dense_array(tensor: Nested) -> np.ndarray:
    """A result as a dense array, also a sparse or ragged one, or a gradient that is an IndexedSlices."""
    if isinstance(tensor, tf.SparseTensor):
        tensor = tf.sparse.to_dense(tensor)
    if isinstance(tensor, tf.RaggedTensor):
        tensor = tensor.to_tensor()
    tensor = tf.convert_to_tensor(tensor)
    return np.asarray(tf.cast(tensor, tf.float32) if tensor.dtype in (tf.float16, tf.bfloat16) else tensor)
