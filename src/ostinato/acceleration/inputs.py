"""Made-up inputs for a model, and targets for its loss: the same each time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ostinato.errors import ConfigError

BATCH, TIME, SEED = 32, 100, 0

Shape = tuple[int, ...]
OpenShape = tuple[int | None, ...]
IdRange = tuple[int, int]
"""A half-open range of ids."""
Nested = Any
"""A tensor, or tensors in the structure that a model takes or returns."""


def make_inputs(
    model: keras.layers.Layer, shapes: Sequence[Sequence[int]] = (), *, batch: int = BATCH, time: int = TIME
) -> list[tf.Tensor]:
    """Made-up inputs for a model, the same each time.

    They are standard normal numbers; ids below the vocabulary of the `Embedding` that reads them; or words of
    the model's vocabularies.

    Args:
        model: a Keras model.
        shapes: of each input, batch included; by default the model's own.
        batch, time: the sizes where the model leaves them open.

    Raises:
        ConfigError: the shapes do not fit, or the model does not declare its inputs and none are given.
    """
    declared = declared_inputs(model)
    if declared is None:
        if not shapes:
            raise ConfigError(
                f"the model {model.name} does not say what shape its input has; give it, as in 32,100,8"
            )
        embeddings = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
        smallest = min((_id_range(layer) for layer in embeddings), key=lambda ids: ids[1], default=None)
        # Only a graph shows which input an Embedding reads; without one, only a single input is certain.
        ids = smallest if len(shapes) == 1 else None
        dtype = "float32" if ids is None else "int32"
        wanted = [(tuple(shape), dtype, ids) for shape in shapes]
    else:
        wanted = _with_shapes(declared, shapes or [fill_shape(each.shape, batch, time) for each in declared])
    random = np.random.default_rng(SEED)
    return [
        _make_texts(random, shape, model) if dtype == "string" else make_numbers(random, shape, dtype, ids)
        for shape, dtype, ids in wanted
    ]


class Batch(NamedTuple):
    """A made-up batch: the arguments of a call of a model."""

    arguments: tuple[Nested, ...]
    options: dict[str, Nested]


def make_batch(model: keras.layers.Layer, batch: int, time: int, *, as_built: bool = True) -> Batch | None:
    """A batch with these sizes where the model leaves them open; None if it does not declare its inputs.

    Args:
        model: a Keras model or layer.
        batch, time: the sizes.
        as_built: whether a model that does not declare its inputs, but remembers for which shapes it was
            built, gets the number of rows it was built for; otherwise it gets `batch`.
    """
    if declared_inputs(model) is not None:
        inputs = make_inputs(model, batch=batch, time=time)
        return Batch((pack_inputs(model, inputs),), {})
    built_for = dict(getattr(model, "_build_shapes_dict", None) or {})
    built_for = {name: shape for name, shape in built_for.items() if shape is not None}
    if not built_for:
        return None
    shapes = list(_shapes(built_for))
    shapes = shapes if as_built else [(None, *shape[1:]) for shape in shapes]
    inputs = iter(make_inputs(model, [fill_shape(shape, batch, time) for shape in shapes]))
    arguments = {name: _replace_shapes(shape, inputs) for name, shape in built_for.items()}
    first, *others = arguments.items()
    return Batch((first[1],), {name.removesuffix("_shape"): value for name, value in others})


def _is_shape(thing: object) -> bool:
    return isinstance(thing, tuple | list) and all(size is None or isinstance(size, int) for size in thing)


def _shapes(structure: Nested) -> Iterator[OpenShape]:
    """The shapes in a structure of shapes."""
    if _is_shape(structure):
        yield tuple(structure)
    else:
        for part in structure.values() if isinstance(structure, dict) else structure:
            yield from _shapes(part)


def _replace_shapes(structure: Nested, inputs: Iterator[tf.Tensor]) -> Nested:
    """A structure of shapes with the next input in place of each shape."""
    if _is_shape(structure):
        return next(inputs)
    if isinstance(structure, dict):
        return {name: _replace_shapes(part, inputs) for name, part in structure.items()}
    return [_replace_shapes(part, inputs) for part in structure]


class _Input(NamedTuple):
    """An input of a model.

    Attributes:
        name: its name.
        shape: its shape; None is an open size.
        dtype: its dtype.
        ids: the half-open range of ids that it may hold; None when it holds no ids.
    """

    name: str
    shape: OpenShape
    dtype: str
    ids: IdRange | None


def declared_inputs(model: keras.layers.Layer) -> list[_Input] | None:
    """The inputs that a model declares; None when it declares nothing."""
    try:
        tensors = keras.tree.flatten(model.inputs)
    except (AttributeError, ValueError):
        return None
    if not tensors or any(tensor is None for tensor in tensors):
        return None
    return [
        _Input(tensor.name, tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype), ids)
        for tensor, ids in zip(tensors, _ids_of_inputs(model, tensors), strict=True)
    ]


def _with_shapes(
    declared: list[_Input], shapes: Sequence[Sequence[int]]
) -> list[tuple[Shape, str, IdRange | None]]:
    """The shape, dtype and range of ids of each input."""
    if len(shapes) != len(declared):
        names = ", ".join(each.name for each in declared)
        plural = "s" if len(declared) > 1 else ""
        raise ConfigError(
            f"the model has {len(declared)} input{plural} ({names}), but {len(shapes)} "
            f"shape{'s were' if len(shapes) > 1 else ' was'} given; give one for each"
        )
    for each, shape in zip(declared, shapes, strict=True):
        fits = len(shape) == len(each.shape) and all(
            size > 0 and declared in (None, size) for size, declared in zip(shape, each.shape, strict=True)
        )
        if not fits:
            open_shape = comma_separated("any" if size is None else size for size in each.shape)
            raise ConfigError(
                f"the shape {comma_separated(shape)} does not fit the input {each.name} of the model, "
                f"which is {open_shape} (batch first)"
            )
    return [(tuple(shape), each.dtype, each.ids) for each, shape in zip(declared, shapes, strict=True)]


def shape_of(tensor: tf.Tensor) -> Shape:
    """The shape of a tensor, as numbers."""
    return tuple(tf.shape(tensor).numpy().tolist())


def comma_separated(sizes: Iterable[object]) -> str:
    """Sizes as the command line takes them."""
    return ",".join(map(str, sizes))


def fill_shape(shape: OpenShape, batch: int, time: int) -> Shape:
    """A shape without open sizes: the batch, the time, and 1 for any other open size."""
    defaults = (batch, time, *[1] * len(shape))
    return tuple(default if size is None else size for size, default in zip(shape, defaults, strict=False))


def make_numbers(
    random: np.random.Generator, shape: Shape, dtype: str, ids: IdRange | None = None
) -> tf.Tensor:
    """Ids in a range; or standard normal numbers, zeros and ones of integers, and only True."""
    if ids is not None:
        return tf.cast(random.integers(*ids, size=shape), dtype)
    if dtype == "bool":
        return tf.ones(shape, tf.bool)  # presumably a mask: nothing is skipped
    if "int" in dtype:
        return tf.cast(random.integers(0, 2, size=shape), dtype)
    return tf.cast(random.standard_normal(shape, np.float32), dtype)


def _make_texts(random: np.random.Generator, shape: Shape, model: keras.layers.Layer) -> tf.Tensor:
    """Words of the model's vocabularies; several in a text where a layer splits texts into words."""
    readers = [layer for layer in model._flatten_layers() if hasattr(layer, "get_vocabulary")]
    words = [str(word) for layer in readers for word in layer.get_vocabulary()] or ["word"]
    split = any(isinstance(layer, keras.layers.TextVectorization) for layer in readers)
    texts = [" ".join(random.choice(words, 8 if split else 1)) for _ in range(int(np.prod(shape)))]
    return tf.reshape(tf.constant(texts), shape)


def _id_range(layer: keras.layers.Embedding) -> IdRange:
    """The ids of an Embedding, as a half-open range, without the id that marks padding."""
    lowest = 1 if layer.mask_zero and layer.input_dim > 1 else 0
    return lowest, layer.input_dim


def _ids_of_inputs(model: keras.layers.Layer, tensors: Sequence[keras.KerasTensor]) -> list[IdRange | None]:
    """The range of ids of each input that an Embedding reads, also one in a nested model."""
    found: list[IdRange | None] = [None] * len(tensors)
    for layer in getattr(model, "layers", ()):
        inner = getattr(layer, "layer", layer)  # the layer within a wrapper such as TimeDistributed
        if isinstance(inner, keras.layers.Embedding):
            ranges = [_id_range(inner)]
        elif isinstance(layer, keras.Model):
            ranges = [each.ids for each in declared_inputs(layer) or []]
        else:
            continue
        for node in layer._inbound_nodes:
            for argument, ids in zip(node.input_tensors, ranges, strict=False):
                for place, tensor in enumerate(tensors):
                    if argument is tensor and ids is not None:
                        found[place] = ids
    return found


def pack_inputs(model: keras.layers.Layer, inputs: list[tf.Tensor]) -> Nested:
    """Inputs in the structure that the model is called with."""
    structure = getattr(getattr(model, "_functional", None) or model, "_inputs_struct", None)
    if structure is not None:
        return keras.tree.pack_sequence_as(structure, inputs)
    return inputs[0] if len(inputs) == 1 else inputs


def compute_loss(
    model: keras.layers.Layer, x: Nested, y: Nested, outputs: Nested, *, training: bool = True
) -> tf.Tensor:
    """The compiled loss; without targets, the mean square of the outputs and the losses of layers."""
    if y is not None:
        return model.compute_loss(x=x, y=y, y_pred=outputs, training=training)
    flat = [each for each in keras.tree.flatten(outputs) if tf.is_tensor(each) and each.dtype.is_floating]
    squares = [tf.reduce_mean(tf.square(tf.cast(each, tf.float32))) for each in flat]
    return tf.add_n([*squares, *[tf.cast(loss, tf.float32) for loss in model.losses]])


def make_targets(model: keras.layers.Layer, x: Nested, outputs: Nested) -> tuple[Nested, str]:
    """Made-up targets for the compiled loss, None without one or if it refuses them; and the loss's name."""
    no_targets = (None, "mean square of the outputs")
    if not getattr(model, "compiled", False) or getattr(model, "loss", None) is None:
        return no_targets
    names, flat = [_loss_name(loss) for loss in keras.tree.flatten(model.loss)], keras.tree.flatten(outputs)
    if len(names) == 1:
        names *= len(flat)
    if len(names) != len(flat):
        return no_targets
    random = np.random.default_rng(SEED)
    try:
        targets = [_make_target(random, name, output) for name, output in zip(names, flat, strict=True)]
        packed = keras.tree.pack_sequence_as(outputs, targets)
        model.compute_loss(x=x, y=packed, y_pred=outputs, training=True)
    except Exception:  # a loss may require anything of its targets; the model is not wrong
        return no_targets
    return packed, " + ".join(dict.fromkeys(names))


def _loss_name(loss: object) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", "loss")


def _make_target(random: np.random.Generator, loss: str, output: tf.Tensor) -> tf.Tensor:
    """A target that a loss of this name can compare with an output."""
    kind, shape = loss.lower().replace("_", ""), shape_of(output)
    if "sparse" in kind:
        return tf.constant(random.integers(0, shape[-1], size=shape[:-1]), tf.int32)
    if "binary" in kind:
        return tf.constant(random.integers(0, 2, size=shape), tf.float32)
    if "categorical" in kind:
        return tf.one_hot(random.integers(0, shape[-1], size=shape[:-1]), shape[-1])
    return tf.constant(random.uniform(size=shape), tf.float32)
