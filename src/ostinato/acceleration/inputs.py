"""Made-up inputs for a model, and targets for its loss: the same each time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ostinato.errors import ConfigError

BATCH, TIME, SEED = 32, 100, 0

Shape = tuple[int, ...]


def make_inputs(
    model: Any, shapes: Sequence[Sequence[int]] = (), *, batch: int = BATCH, time: int = TIME
) -> list[tf.Tensor]:
    """Made-up inputs for a model, the same each time.

    They are standard normal numbers; ids below the vocabulary of the `Embedding` that reads them; words that
    the model's vocabularies hold.

    Args:
        model: a Keras model.
        shapes: of each input, batch included; by default the model's own.
        batch, time: sizes in place of those that the model leaves open.

    Raises:
        ConfigError: the shapes do not fit, or the model says nothing of its inputs and there are none.
    """
    expected = _expected(model)
    if expected is None:
        if not shapes:
            raise ConfigError(
                f"the model {model.name} does not say what shape its input has; give it, as in 32,100,8"
            )
        vocabularies = [layer for layer in model._flatten_layers() if _is_embedding(layer)]
        ids = min((_ids(layer) for layer in vocabularies), key=lambda ids: ids[1], default=None)
        # Which input an Embedding reads, only a graph can say; without one, only a lone input is certain.
        known = ids if len(shapes) == 1 else None
        dtype = "float32" if known is None else "int32"
        wanted = [(tuple(shape), dtype, known) for shape in shapes]
    else:
        wanted = _fitted(expected, shapes or [closed(each.shape, batch, time) for each in expected])
    random = np.random.default_rng(SEED)
    return [
        _texts(random, shape, model) if dtype == "string" else _random(random, shape, dtype, known)
        for shape, dtype, known in wanted
    ]


def declares_inputs(model: Any) -> bool:
    """Whether a model says what its inputs are."""
    return _expected(model) is not None


class _Input(NamedTuple):
    """An input as the model declares it; None is an open size."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    ids: tuple[int, int] | None


def _expected(model: Any) -> list[_Input] | None:
    """What a model declares of its inputs; None when it declares nothing."""
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


def _fitted(expected: list[_Input], shapes: Sequence[Sequence[int]]) -> list[tuple[Shape, str, Any]]:
    """The shape, dtype and range of ids of each input."""
    if len(shapes) != len(expected):
        names = ", ".join(each.name for each in expected)
        plural = "s" if len(expected) > 1 else ""
        raise ConfigError(
            f"the model has {len(expected)} input{plural} ({names}), but {len(shapes)} "
            f"shape{'s were' if len(shapes) > 1 else ' was'} given; give one for each"
        )
    for each, shape in zip(expected, shapes, strict=True):
        fits = len(shape) == len(each.shape) and all(
            size > 0 and declared in (None, size) for size, declared in zip(shape, each.shape, strict=True)
        )
        if not fits:
            raise ConfigError(
                f"the shape {commas(shape)} does not fit the input {each.name} of the model, which is "
                f"{commas('any' if size is None else size for size in each.shape)} (batch first)"
            )
    return [(tuple(shape), each.dtype, each.ids) for each, shape in zip(expected, shapes, strict=True)]


def sizes(array: tf.Tensor) -> Shape:
    """The shape of a tensor, as numbers."""
    return tuple(tf.shape(array).numpy().tolist())


def commas(sizes: Iterable[Any]) -> str:
    """Sizes as the command line takes them."""
    return ",".join(map(str, sizes))


def closed(shape: tuple[int | None, ...], batch: int, time: int) -> Shape:
    """A shape with a size for every open one: the batch, the time, and 1 for whatever follows."""
    defaults = (batch, time, *[1] * len(shape))
    return tuple(default if size is None else size for size, default in zip(shape, defaults, strict=False))


def _random(random: np.random.Generator, shape: Shape, dtype: str, ids: tuple[int, int] | None) -> tf.Tensor:
    if ids is not None:
        return tf.cast(random.integers(*ids, size=shape), dtype)
    if dtype == "bool":
        return tf.ones(shape, tf.bool)  # a mask, as far as anyone can tell: nothing is skipped
    if "int" in dtype:
        return tf.cast(random.integers(0, 2, size=shape), dtype)
    return tf.cast(random.standard_normal(shape, np.float32), dtype)


def _texts(random: np.random.Generator, shape: Shape, model: Any) -> tf.Tensor:
    """Words that the model's vocabularies hold; several in a text where a layer parts texts into words."""
    readers = [layer for layer in model._flatten_layers() if hasattr(layer, "get_vocabulary")]
    words = [str(word) for layer in readers for word in layer.get_vocabulary()] or ["word"]
    parted = any(isinstance(layer, keras.layers.TextVectorization) for layer in readers)
    texts = [" ".join(random.choice(words, 8 if parted else 1)) for _ in range(int(np.prod(shape)))]
    return tf.reshape(tf.constant(texts), shape)


def _is_embedding(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Embedding)


def _ids(layer: Any) -> tuple[int, int]:
    """The ids an Embedding knows, as a half-open range; without the one that marks padding."""
    lowest = 1 if layer.mask_zero and layer.input_dim > 1 else 0
    return lowest, layer.input_dim


def _ids_of_inputs(model: Any, tensors: Sequence[Any]) -> list[tuple[int, int] | None]:
    """For each input of a model the ids it may hold, where an Embedding reads it, also in a model within."""
    found: list[tuple[int, int] | None] = [None] * len(tensors)
    for layer in getattr(model, "layers", ()):
        inner = getattr(layer, "layer", layer)  # what a wrapper such as TimeDistributed wraps
        if _is_embedding(inner):
            ids = [_ids(inner)]
        elif isinstance(layer, keras.Model):
            theirs = _expected(layer) or []
            ids = [each.ids for each in theirs]
        else:
            continue
        for node in layer._inbound_nodes:
            for argument, known in zip(node.input_tensors, ids, strict=False):
                for place, tensor in enumerate(tensors):
                    if argument is tensor and known is not None:
                        found[place] = known
    return found


def packed(model: Any, inputs: list[tf.Tensor]) -> Any:
    """Inputs in the structure the model is called with."""
    structure = getattr(getattr(model, "_functional", None) or model, "_inputs_struct", None)
    if structure is not None:
        return keras.tree.pack_sequence_as(structure, inputs)
    return inputs[0] if len(inputs) == 1 else inputs


def loss_of(model: Any, x: Any, y: Any, outputs: Any, *, training: bool = True) -> Any:
    """The compiled loss of outputs; without targets, their mean square and what layers add to the loss."""
    if y is not None:
        return model.compute_loss(x=x, y=y, y_pred=outputs, training=training)
    flat = [each for each in keras.tree.flatten(outputs) if tf.is_tensor(each) and each.dtype.is_floating]
    squares = [tf.reduce_mean(tf.square(tf.cast(each, tf.float32))) for each in flat]
    return tf.add_n([*squares, *[tf.cast(loss, tf.float32) for loss in model.losses]])


def make_targets(model: Any, x: Any, outputs: Any) -> tuple[Any, str]:
    """Made-up targets for the compiled loss and its name; None when there is none, or it refuses them."""
    otherwise = (None, "mean square of the outputs")
    if not getattr(model, "compiled", False) or getattr(model, "loss", None) is None:
        return otherwise
    names, flat = [_loss_name(loss) for loss in keras.tree.flatten(model.loss)], keras.tree.flatten(outputs)
    if len(names) == 1:
        names *= len(flat)
    if len(names) != len(flat):
        return otherwise
    random = np.random.default_rng(SEED)
    try:
        targets = [_target(random, name, output) for name, output in zip(names, flat, strict=True)]
        packed = keras.tree.pack_sequence_as(outputs, targets)
        model.compute_loss(x=x, y=packed, y_pred=outputs, training=True)
    except Exception:  # a loss may ask anything of its targets; that is no fault of the model
        return otherwise
    return packed, " + ".join(dict.fromkeys(names))


def _loss_name(loss: Any) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", "loss")


def _target(random: np.random.Generator, loss: str, output: tf.Tensor) -> tf.Tensor:
    """Something a loss of this name can compare an output with."""
    kind, shape = loss.lower().replace("_", ""), sizes(output)
    if "sparse" in kind:
        return tf.constant(random.integers(0, shape[-1], size=shape[:-1]), tf.int32)
    if "binary" in kind:
        return tf.constant(random.integers(0, 2, size=shape), tf.float32)
    if "categorical" in kind:
        return tf.one_hot(random.integers(0, shape[-1], size=shape[:-1]), shape[-1])
    return tf.constant(random.uniform(size=shape), tf.float32)
