"""Whether a model and its copy agree: their configurations, and what they compute on a made-up batch."""

from __future__ import annotations

import collections
import contextlib
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ostinato.acceleration import inputs as made_up
from ostinato.acceleration.copying import TRACED, Copy
from ostinato.acceleration.randomness import drawing_from
from ostinato.errors import ConfigError
from ostinato.interop.keras.loading import describe_error

TOLERANCE = 1e-4
"""The largest difference that counts as agreement, relative to the largest number beside it."""
# A gradient this many times smaller than the largest of the model is rounding error of the larger ones.
NEGLIGIBLE = 1e-3
# How many times as far as rounding moves the original, rounding may move a copy.
_NUDGES = 30.0
# Sizes in place of open ones; the second where a model needs a longer sequence than the first.
_SIZES = ((2, 6), (2, 100))
# Longer sequences, which some models insist on, run in a graph.
_MANY_STEPS = 200
_TENSORS = (tf.Tensor, tf.SparseTensor, tf.RaggedTensor, np.ndarray, np.generic)


class Results(NamedTuple):
    """What a model computes on a batch, as arrays.

    Attributes:
        outputs: at `training=False`.
        loss: the compiled loss on made-up targets, or the mean square of the outputs; none without gradients.
        gradients: of the loss, for each trainable weight; of size 0 where it does not depend on one.
    """

    outputs: list[np.ndarray]
    loss: list[np.ndarray]
    gradients: list[np.ndarray]


class Batch(NamedTuple):
    """A made-up batch: what a model is called with."""

    arguments: tuple[Any, ...]
    options: dict[str, Any]


def check_configurations(copied: Copy) -> None:
    """Compares what a copy's layers say of themselves with what the original's say.

    Raises:
        ConfigError: they differ.
    """
    pairs = list(copied.pairs(keras.layers.Layer))
    # A layer's configuration holds those of the layers in it, and the innermost is to be named.
    for old, new in sorted(pairs, key=lambda pair: len(pair[0]._flatten_layers())):
        try:
            config = old.get_config()
        except Exception:  # a layer need not have one
            config = None
        if config is not None and not _same(config, new.get_config(), copied):
            raise ConfigError(f"the configuration of its layer '{old.name}' came out different")
        for name, value in vars(old).items():
            function = isinstance(value, types.FunctionType) and name not in TRACED
            if function and vars(new).get(name) is not copied.of(value):
                raise ConfigError(f"the function {name} of its layer '{old.name}' came out different")


def _same(old: Any, new: Any, copied: Copy) -> bool:
    if old is new or copied.of(old) is new:
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


def first_results(
    model: Any, objects: Iterable[Any], *, weights: Sequence[Any]
) -> tuple[Batch | None, Results | None, str]:
    """A batch on which a model runs, and what it computes on it; or, in words, why there is none.

    Arguments are those of `results`.
    """
    if not model.built:
        return None, None, "it has no weights yet"
    why_not = ""
    for size in _SIZES:
        try:
            batch = _batch(model, *size)
        except Exception as error:
            return None, None, describe_error(error)
        if batch is None:
            return None, None, "it does not say what its inputs are"
        try:
            return batch, results(model, batch, objects, weights=weights), ""
        except Exception as error:  # a model may raise anything
            why_not = f"it does not run on a made-up batch ({describe_error(error)})"
    return None, None, why_not


def _batch(model: Any, batch: int, time: int) -> Batch | None:
    """A batch with these sizes in the place of open ones; None when the model says nothing of its inputs."""
    if made_up.declares_inputs(model):
        inputs = made_up.make_inputs(model, batch=batch, time=time)
        return Batch((made_up.packed(model, inputs),), {})
    built_for = dict(getattr(model, "_build_shapes_dict", None) or {})
    built_for = {name: shape for name, shape in built_for.items() if shape is not None}
    if not built_for:
        return None
    shapes = [made_up.closed(shape, batch, time) for shape in _shapes(built_for)]
    inputs = iter(made_up.make_inputs(model, shapes))
    arguments = {name: _filled(shape, inputs) for name, shape in built_for.items()}
    first, *others = arguments.items()
    return Batch((first[1],), {name.removesuffix("_shape"): value for name, value in others})


def _is_shape(thing: Any) -> bool:
    return isinstance(thing, tuple | list) and all(size is None or isinstance(size, int) for size in thing)


def _shapes(thing: Any) -> Iterator[tuple[int | None, ...]]:
    """The shapes in a structure of shapes."""
    if _is_shape(thing):
        yield tuple(thing)
    else:
        for part in thing.values() if isinstance(thing, dict) else thing:
            yield from _shapes(part)


def _filled(thing: Any, inputs: Iterator[Any]) -> Any:
    """A structure of shapes with an input in the place of each."""
    if _is_shape(thing):
        return next(inputs)
    if isinstance(thing, dict):
        return {name: _filled(part, inputs) for name, part in thing.items()}
    return [_filled(part, inputs) for part in thing]


def results(model: Any, batch: Batch, objects: Iterable[Any], *, weights: Sequence[Any] = ()) -> Results:
    """What a model computes on a batch. Nothing changes by it.

    Args:
        model: a Keras model or layer.
        batch: from `first_results`.
        objects: all that may change when it runs, as for `kept`.
        weights: for which to take gradients of the loss; without any, there is no loss either.
    """
    long = any(_steps(tensor) > _MANY_STEPS for tensor in keras.tree.flatten(batch.arguments))
    if not long:
        with kept(objects):
            return Results(*_computed(model, batch, weights))
    # Step by step, Python would take minutes for that.
    with kept(objects):
        traced: Any = tf.function(lambda: _computed(model, batch, weights), autograph=False)()
    return Results(*([array(each) for each in part] for part in traced))


def _steps(tensor: Any) -> int:
    return tensor.shape[1] or 0 if tensor.shape.rank and tensor.shape.rank > 1 else 0


def _computed(model: Any, batch: Batch, weights: Sequence[Any]) -> tuple[Any, Any, Any]:
    """The outputs, the loss and the gradients, as arrays; as tensors in a function that is traced."""
    kept_as: Any = array if tf.executing_eagerly() else tf.convert_to_tensor
    with drawing_from(0), tf.GradientTape() as tape:
        outputs = model(*batch.arguments, training=False, **batch.options)
        flat = [each for each in keras.tree.flatten(outputs) if isinstance(each, _TENSORS)]
        if not weights:
            return [kept_as(each) for each in flat], [], []
        inputs = batch.arguments[0]
        targets = None
        if tf.executing_eagerly():
            with tape.stop_recording():
                targets, _ = made_up.make_targets(model, inputs, outputs)
        loss = made_up.loss_of(model, inputs, targets, outputs, training=False)
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        zeros = (tf.zeros([0]) if each is None else each for each in gradients)
        return [kept_as(each) for each in flat], [kept_as(loss)], [kept_as(each) for each in zeros]


@contextlib.contextmanager
def changed(variables: Iterable[Any], change: Callable[[Any], Any]) -> Iterator[None]:
    """While it lasts, variables of floating-point numbers have other values.

    Args:
        variables: TensorFlow's.
        change: from a value to the other.
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
def kept(objects: Iterable[Any]) -> Iterator[None]:
    """Puts back all variables, attributes and contents of objects that changed meanwhile.

    Args:
        objects: variables, and Python objects of any kind.
    """
    variables, attributes, contents, arrays = [], [], [], []
    for thing in objects:
        if isinstance(thing, tf.Variable):
            variables.append((thing, thing.read_value()))
        elif issubclass(type(thing), dict | list | set | collections.deque):
            contents.append((thing, _items(thing)))
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
            for thing, before in [*attributes, *contents]:
                _put_back(thing, before)


def _items(thing: Any) -> list[Any]:
    return list(thing.items()) if isinstance(thing, dict) else list(thing)


def _put_back(thing: Any, before: list[Any]) -> None:
    """Gives a container the items it had, around whatever its class does when they change."""
    after = _items(thing)
    if len(after) == len(before) and all(map(_same_item, after, before)):
        return
    bases: tuple[Any, ...] = (collections.OrderedDict, dict, list, set, collections.deque)
    kind = next(base for base in bases if isinstance(thing, base))
    kind.clear(thing)
    if issubclass(kind, dict):
        for key, value in before:
            kind.__setitem__(thing, key, value)
    else:
        add: Any = kind.update if kind is set else kind.extend
        add(thing, before)


def _same_item(a: Any, b: Any) -> bool:
    pair = isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b) == 2
    return a is b or (pair and a[0] is b[0] and a[1] is b[1])


def disagreement(theirs: Results, ours: Results, *, sensitivity: Results | None = None) -> str:
    """Where two results differ, in words; empty when they agree.

    Args:
        theirs: of the original.
        ours: of the copy.
        sensitivity: of the original again, after a change of its weights as small as rounding. What that
            moves as far as the copy is off is no disagreement.
    """
    least = NEGLIGIBLE * max(map(_size, theirs.gradients), default=0.0)
    for what, smallest in (("outputs", 0.0), ("loss", 0.0), ("gradients", least)):
        old, new = getattr(theirs, what), getattr(ours, what)
        if len(old) != len(new):
            return f"it has {len(new)} {what} in the place of {len(old)}"
        moved = old if sensitivity is None else getattr(sensitivity, what)
        for a, b, c in zip(old, new, moved, strict=True):
            difference = _difference(a, b, smallest)
            if not difference <= max(TOLERANCE, _NUDGES * _difference(a, c, smallest)):
                return f"its {what} differ by {difference:.1e} on a made-up batch"
    return ""


def _difference(a: np.ndarray, b: np.ndarray, least: float) -> float:
    """The largest difference, relative to the largest number of `a`, or to `least` if that is larger."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    if a.dtype.kind not in "fciub":
        return 0.0 if np.array_equal(a, b) else float("inf")
    largest = float(np.max(distances(a, b), initial=0.0))
    return largest / (max(_size(a), least) or 1.0) if largest else 0.0


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Absolute differences; none where both are infinite or not a number alike."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))


def _size(array: np.ndarray) -> float:
    finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind == "f" else np.abs(array)
    return float(np.max(finite, initial=0.0))


def array(tensor: Any) -> np.ndarray:
    """A result in full, also a sparse or ragged one, and a gradient that comes as the rows that were read."""
    if isinstance(tensor, tf.SparseTensor):
        tensor = tf.sparse.to_dense(tensor)
    if isinstance(tensor, tf.RaggedTensor):
        tensor = tensor.to_tensor()
    tensor = tf.convert_to_tensor(tensor)
    return np.asarray(tf.cast(tensor, tf.float32) if tensor.dtype in (tf.float16, tf.bfloat16) else tensor)
