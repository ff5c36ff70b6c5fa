"""Models made of Keras' recurrent layers, run by ostinato's; and back again.

A layer of `ostinato.layers.classic` is Keras' own layer with another loop over time: the same weights, the
same configuration. So a model is copied as Keras copies it, from its configuration, and then each recurrent
layer of the copy changes its class. Wrappers, nested models and shared layers need no case of their own.
"""

import tempfile
import types
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ostinato.errors import ConfigError
from ostinato.layers import classic
from ostinato.layers.loading import Source, loaded, reason

import keras  # isort: skip - classic says in one sentence what is wrong when it does not load

# Exactly these: a subclass may have changed anything, and is left alone.
_OURS: dict[type, type] = {
    keras.layers.SimpleRNN: classic.SimpleRNN,
    keras.layers.GRU: classic.GRU,
    keras.layers.LSTM: classic.LSTM,
}
_STOCK = {ours: stock for stock, ours in _OURS.items()}


def accelerate(model: Source) -> keras.Model:
    """A copy of a model whose recurrent layers are ostinato's: the same numbers, sooner.

    Weights, states, the optimizer with its momentums, loss and metrics are those of the original, which is
    left as it is and shares nothing with the copy. Layers are replaced wherever they stand: in nested models,
    in `Bidirectional` and `TimeDistributed`, and in models and layers of your own. Recurrences with other
    cells stay as they are; `ostinato.explain` lists them.

    Args:
        model: a Keras model, or a file with one: `.keras`, or `.h5` of Keras 2 or 3. A model of your own
            class needs `get_config` and `from_config`; loaded from a file, its `__init__` makes Keras' layers
            again, and it has to be accelerated again.

    Returns:
        The copy. One that was compiled with `jit_compile=True` is not, and a warning says so: XLA cannot run
        the native engine.

    Raises:
        ConfigError: it is not a Keras model, cannot be copied, or holds a Python lambda, which cannot be
            rebuilt without running code from its configuration.

    Example:
        >>> stock = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)])
        >>> accelerate(stock).layers[0].__class__
        <class 'ostinato.layers.classic.LSTM'>
    """
    return _copy(loaded(model), _OURS)


def restore(model: Source) -> keras.Model:
    """The reverse of `accelerate`: a copy with Keras' own layers, whose file opens without ostinato.

    Args:
        model: a Keras model, or a file with one, as for `accelerate`.

    Returns:
        The copy, with weights, states, optimizer, loss and metrics of the original.

    Raises:
        ConfigError: as for `accelerate`.

    Example:
        >>> model = keras.Sequential([keras.Input((None, 3)), classic.LSTM(4, engine="native")])
        >>> restore(model).layers[0].__class__ is keras.layers.LSTM
        True
    """
    return _copy(loaded(model), _STOCK)


def children(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers directly inside a layer, each as often as it stands there."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def _copy(model: keras.Model, classes: dict[type, type]) -> keras.Model:
    with keras.saving.custom_object_scope(_custom_objects(model)):
        copy = _from_config(model)
        for layer in list(copy._flatten_layers()):
            if type(layer) in classes:
                _change_class(layer, classes[type(layer)])
        _copy_state(model, copy)
        if model.compiled:
            _compile(model, copy)
    return copy


def _from_config(model: Any) -> Any:
    """A new model of the same configuration, built if the model is."""
    kind = type(model).__name__
    for layer in model._flatten_layers():
        for name in ("function", "activation", "recurrent_activation"):
            if getattr(getattr(layer, name, None), "__name__", "") == "<lambda>":
                raise ConfigError(
                    f"The layer '{layer.name}' has a Python lambda as its {name}, which can only be copied "
                    "by running code from its configuration; give it a function defined with def."
                )
    try:
        if _shares_layers(model) and (isinstance(model, keras.Sequential) or hasattr(model, "operations")):
            # Two models in one may share a layer; their configurations would make two of it.
            copy = keras.models.clone_model(model, clone_function=_anew, recursive=True)
        else:
            copy = type(model).from_config(model.get_config())
        if model.built and not copy.built:
            copy.build_from_config(model.get_build_config() or {})
    except NotImplementedError as error:
        raise ConfigError(
            f"A {kind} cannot be copied, since it does not say how it was made; give the class get_config "
            "and, where layers are among its arguments, from_config."
        ) from error
    except Exception as error:  # Keras raises whatever its parts raise
        raise ConfigError(f"A {kind} cannot be copied from its configuration: {reason(error)}") from error
    if model.built and len(model._flatten_layers()) != len(copy._flatten_layers()):
        raise ConfigError(
            f"A {kind} cannot be copied: its configuration makes {len(copy._flatten_layers())} layers in the "
            f"place of {len(model._flatten_layers())}, for example since one stands in two models."
        )
    return copy


def _shares_layers(model: keras.Model) -> bool:
    """Whether a layer stands in two places."""
    seen, places = set(), [model]
    for layer in places:
        if id(layer) in seen:
            return True
        seen.add(id(layer))
        places += children(layer)
    return False


def _change_class(layer: Any, kind: type) -> None:
    """Makes the layer one of a class that differs only in its loop over time."""
    config = {name: value for name, value in layer.get_config().items() if name != "engine"}
    fresh: Any = kind.from_config(config)
    layer.__class__ = kind
    layer.supports_jit = fresh.supports_jit
    if kind in _STOCK:
        layer.engine = fresh.engine
    else:
        del layer.engine


def _copy_state(model: keras.Model, copy: keras.Model) -> None:
    """Gives the copy the model's weights, states of stateful layers, seeds and vocabularies."""
    for old, new in _pairs_of_layers(model, copy):
        if hasattr(old, "use_cudnn"):
            new.use_cudnn = old.use_cudnn  # not in its configuration
        if isinstance(old, keras.layers.RNN) and old.states is not None:
            for state, copied in zip(
                keras.tree.flatten(old.states), keras.tree.flatten(new.states), strict=True
            ):
                copied.assign(state)
        if hasattr(old, "save_assets"):
            with tempfile.TemporaryDirectory() as folder:
                old.save_assets(folder)
                new.load_assets(folder)
    for old, new in _pairs_of_variables(model, copy):
        new.assign(old)
        new.trainable = old.trainable


def _pairs_of_layers(old: Any, new: Any) -> Iterator[tuple[Any, Any]]:
    """The two layers, and those inside them: by name, or where a class names them anew, in order."""
    yield old, new
    olds, news = children(old), children(new)
    names = {layer.name for layer in olds}
    if len(names) == len(olds) and names == {layer.name for layer in news}:
        olds, news = sorted(olds, key=lambda layer: layer.name), sorted(news, key=lambda layer: layer.name)
    if len(olds) != len(news):
        raise ConfigError(
            f"'{old.name}' cannot be copied: its configuration makes {len(news)} layers in the place of "
            f"{len(olds)}; its get_config has to say all that makes the difference."
        )
    for inner in zip(olds, news, strict=True):
        yield from _pairs_of_layers(*inner)


def _pairs_of_variables(model: keras.Model, copy: keras.Model) -> Iterator[tuple[Any, Any]]:
    for old, new in _pairs_of_layers(model, copy):
        olds, news = _own_variables(old), _own_variables(new)
        if [variable.shape for variable in olds] != [variable.shape for variable in news]:
            raise ConfigError(
                f"'{old.name}' cannot be copied: its configuration makes {len(news)} weights in the place "
                f"of {len(olds)}, or with other shapes; its get_config and get_build_config have to say all "
                "that makes the difference."
            )
        yield from zip(olds, news, strict=True)


def _own_variables(layer: Any) -> list[Any]:
    inner = {id(variable) for child in children(layer) for variable in child.variables}
    return [variable for variable in layer.variables if id(variable) not in inner]


def _compile(model: Any, copy: Any) -> None:
    """Compiles the copy as the model is, with an optimizer in the same state."""
    # What was given to compile(), except that objects with a state of their own are made anew.
    options: Any = keras.tree.map_structure(_anew, dict(model._compile_config.config))
    if options["jit_compile"] and not all(layer.supports_jit for layer in copy._flatten_layers()):
        options["jit_compile"] = False
        warnings.warn(
            "The copy is compiled with jit_compile=False where the model has jit_compile=True, since XLA "
            "cannot run its recurrent layers.",
            stacklevel=4,
        )
    if type(copy).compile is not keras.Model.compile:
        copy.compile_from_config(model.get_compile_config())
    else:
        scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        copy.compile(**options, auto_scale_loss=scaled)
    if model.optimizer is None or copy.optimizer is None:
        return
    if model.optimizer.built and not copy.optimizer.built:
        ours = {id(old): new for old, new in _pairs_of_variables(model, copy)}
        copy.optimizer.build([ours[id(variable)] for variable in model.optimizer._trainable_variables])
    for old, new in zip(model.optimizer.variables, copy.optimizer.variables, strict=True):
        new.assign(old)


def _anew(part: Any) -> Any:
    stateful = (keras.layers.Layer, keras.optimizers.Optimizer, keras.losses.Loss, keras.metrics.Metric)
    return type(part).from_config(part.get_config()) if isinstance(part, stateful) else part


def _custom_objects(model: Any) -> dict[str, Any]:
    """Classes and functions that the model is made of and Keras does not know, by the name it asks for."""
    parts: list[Any] = list(model._flatten_layers())
    if model.compiled:
        parts += keras.tree.flatten(dict(model._compile_config.config))
    parts += [attribute for part in parts if hasattr(part, "__dict__") for attribute in vars(part).values()]
    return {
        keras.saving.get_registered_name(thing): thing
        for thing in _classes_and_functions(parts)
        if thing.__module__.partition(".")[0] != "keras"
    }


def _classes_and_functions(parts: Sequence[Any]) -> Iterable[Any]:
    for part in parts:
        if isinstance(part, types.FunctionType):
            yield part
        elif hasattr(part, "get_config"):
            yield type(part)
