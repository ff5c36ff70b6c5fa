"""Converts models with Keras' recurrent layers to ostinato's layers, and back.

A layer of `ostinato.cells` is Keras' own layer with another loop over time: it has the same weights
and configuration. So the model is copied object by object, and then each recurrent layer of the copy changes
its class, as `replacing` says. Wrappers, nested models and shared layers are not special cases. Before the
copy is returned, it is compared with the original.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

import tensorflow as tf

from ostinato.acceleration import agreement, hard_sigmoid, replacing
from ostinato.acceleration.copying import TRACED, ModelCopy
from ostinato.cells.engine_layer import EngineLayer
from ostinato.engines import check, choose
from ostinato.errors import ConfigError, warn
from ostinato.interop.keras.loading import Path, Source, load_source
from ostinato.interop.keras.sentences import describe_error
from ostinato.wording import did_you_mean

import keras  # isort: skip - engine_layer explains in one sentence when Keras does not load

# The attributes that `compile` sets, with their values before it; and those that it adds.
_BEFORE_COMPILE = {
    **dict.fromkeys(("_compile_loss", "_compile_metrics", "_loss_tracker", "loss")),
    "compiled": False,
}
_ADDED_BY_COMPILE = ("optimizer", "_compile_config", "_compiled_trainable_state", "stop_training")

Model = TypeVar("Model", bound=keras.layers.Layer)


def accelerate(
    model: Source,
    *,
    copy: bool = True,
    only: str | Sequence[str] | None = None,
    engine: str = "auto",
    compile: bool = True,
    weights: Path | None = None,
    custom_objects: Mapping[str, object] | None = None,
    safe_mode: bool = True,
) -> Any:
    """Converts a model to ostinato's recurrent layers: the same results, faster.

    SimpleRNN, GRU, LSTM, and RNN with their cells or stacks of them are replaced wherever they are: in nested
    models, in `Bidirectional` and `TimeDistributed`, and in your own models and layers. Recurrent layers with
    other cells, and subclasses, stay; `ostinato.report` lists them.

    By default the model stays as it is and a copy is returned. The copy has the model's weights, states,
    optimizer with momentums, loss and metrics. It shares no variable and no layer with the model, only
    functions, initializers and losses without weights. Both run on a made-up batch, which changes neither.

    Args:
        model: a Keras model or layer, or a file with a model of Keras 2 or 3: `.keras`, `.h5`, or the `.json`
            of `model.to_json`.
        copy: False changes the model itself and returns it. Nothing is copied, so this works for any model.
            Keras' functions for `fit`, `evaluate` and `predict` are traced again; your own `tf.function`
            keeps its trace if it has run before.
        only: paths of the layers to replace, as `ostinato.report` prints them; one or several. The path of a
            model or wrapper selects all layers in it.
        engine: the engine of the replaced layers: "auto", "native", "keras" or "scratch".
        compile: False leaves out optimizer, loss and metrics.
        weights: a file with the model's weights, `.h5` or `.weights.h5`; needed with a `.json`.
        custom_objects: classes and functions of your own that the file names.
        safe_mode: False runs the Python code of the file's Lambda layers. Only for files that you trust.

    Returns:
        The copy, or with `copy=False` the model itself. A warning says when none of its layers runs on the
        native engine; when it is no longer compiled with `jit_compile=True`, as XLA cannot run the native
        engine; and when its class has its own `compile`, which must be called on the copy.

    Raises:
        ConfigError: it is not a Keras model; it cannot be copied, or the copy has other results; or `only`
            names no recurrent layer of Keras in it.
        EngineError: `engine` cannot run one of the layers.

    Example:
        >>> stock = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)])
        >>> accelerate(stock).layers[0].__class__
        <class 'ostinato.cells.lstm.LSTM'>
        >>> accelerate(stock, copy=False) is stock
        True
    """
    check(engine)
    original = load_source(
        model, weights=weights, custom_objects=custom_objects, safe_mode=safe_mode, compile=compile
    )
    names = [only] if isinstance(only, str) else only

    def change(changed: keras.layers.Layer) -> None:
        layers = _selected(changed, names)
        for layer in layers:
            choose(engine, layer)  # raises before anything has changed
        for layer in layers:
            replacing.replace(layer, engine)
        _disable_xla(changed)

    result = _convert(original, change, copy=copy, compile=compile)
    if engine == "auto":
        _warn_without_gain(result)
    return result


def to_keras(
    model: Source,
    *,
    copy: bool = True,
    compile: bool = True,
    weights: Path | None = None,
    custom_objects: Mapping[str, object] | None = None,
    safe_mode: bool = True,
) -> Any:
    """Converts a model back to Keras' own layers; its file then opens without ostinato.

    Args:
        model: a Keras model or layer, or a file with a model, as for `accelerate`.
        copy: False changes the model itself and returns it.
        compile: False leaves out optimizer, loss and metrics.
        weights, custom_objects, safe_mode: as for `accelerate`.

    Returns:
        The copy, with weights, states, optimizer, loss and metrics of the original; or the model itself.
        Keras 3's hard_sigmoid replaces Keras 2's, with scaled weights and equal predictions.
        A warning says when that leaves the model uncompiled, and when it still contains something else of
        ostinato's.

    Raises:
        ConfigError: as for `accelerate`.

    Example:
        >>> model = accelerate(keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)]))
        >>> to_keras(model).layers[0].__class__ is keras.layers.LSTM
        True
    """

    def change(changed: keras.layers.Layer) -> None:
        for layer in changed._flatten_layers():
            replacing.restore(layer)
        hard_sigmoid.scale(changed)

    original = load_source(
        model, weights=weights, custom_objects=custom_objects, safe_mode=safe_mode, compile=compile
    )
    if compile and hard_sigmoid.layers_to_scale(original) and getattr(original, "compiled", False):
        warn(
            f"{original.name} comes back uncompiled: Keras 3's hard_sigmoid takes the place of Keras 2's, "
            "with weights that predict the same and train in other steps"
        )
        compile = False
    result = _convert(original, change, copy=copy, compile=compile)
    _warn_of_ostinato_parts(result)
    return result


def children(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers directly inside a layer, with repetitions."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def recurrent_layers(layer: keras.layers.Layer) -> Iterator[tuple[str, keras.layers.RNN]]:
    """The recurrent layers in a model, each with its path: the names of the layers around it, then its own.

    Args:
        layer: a Keras model or layer. The path of a recurrent layer given here is its name.
    """
    if isinstance(layer, keras.layers.RNN):
        yield layer.name, layer
        yield from _inner(layer, (layer.name,), (layer,))
    else:
        yield from _inner(layer, (), (layer,))


def _inner(
    parent: keras.layers.Layer, path: tuple[str, ...], around: tuple[keras.layers.Layer, ...]
) -> Iterator[tuple[str, keras.layers.RNN]]:
    for layer in children(parent):
        if any(layer is outer for outer in around):
            continue  # a layer may refer to the one around it
        names = (*path, layer.name)
        if isinstance(layer, keras.layers.RNN):
            yield "/".join(names), layer
        yield from _inner(layer, names, (*around, layer))  # an RNN's cell may contain one, too


def _convert(
    original: Model, change: Callable[[keras.layers.Layer], None], *, copy: bool, compile: bool
) -> Model:
    """Applies a change to a copy of a model, and compares the two; or to the model itself."""
    if not copy:
        if not compile:
            _uncompile(original)
        change(original)
        _forget_traces(original)
        return original
    try:
        copied = ModelCopy(original)
        agreement.check_configurations(copied)
    except ConfigError as error:
        raise _cannot_copy(original, str(error)) from error
    except Exception as error:  # a model may hold anything
        raise _cannot_copy(original, describe_error(error)) from error
    result = cast(Model, copied.copy)
    own_compile = isinstance(original, keras.Model) and type(original).compile is not keras.Model.compile
    if getattr(original, "compiled", False) and own_compile and compile:
        warn(
            f"the copy of {original.name} is not compiled, since {type(original).__name__} has its own "
            "compile(); call it on the copy"
        )
    if own_compile or not compile:
        _uncompile(result)
    _change_and_compare(copied, change)
    return result


def _change_and_compare(copied: ModelCopy, change: Callable[[keras.layers.Layer], None]) -> None:
    """Changes a copy, and refuses it if its results differ from the original's, or depend on the original.

    The copy is compared before the change, when it must be exact, and after it, when it may differ by
    rounding. A warning says when they could not be compared.
    """
    old, new = copied.original, copied.copy
    objects = copied.objects()
    compiled = getattr(old, "compiled", False) and getattr(new, "compiled", False)
    weights = list(old.trainable_variables) if compiled else []
    new_weights = [cast("keras.Variable", copied.counterpart(weight)) for weight in weights]
    rounding = agreement.rounding(old)
    batch, expected, why_not = agreement.run_on_made_up_batch(old, objects, weights=weights)
    if batch is None or expected is None:
        change(new)
        warn(f"the copy of {old.name} could not be compared with it on a made-up batch: {why_not}")
        return

    def check(perturbed: agreement.Results | None = None) -> str:
        try:
            found = agreement.run(new, batch, objects, weights=new_weights)
        except Exception as error:  # a model may raise anything
            return f"the copy does not run ({describe_error(error)})"
        why = agreement.disagreement(expected, found, perturbed=perturbed, rounding=rounding)
        return why.replace("its ", "the copy's ", 1)

    def original_values(change: Callable[[tf.Tensor], tf.Tensor]) -> AbstractContextManager[None]:
        return agreement.changed_values([variable for variable, _ in copied.pairs(tf.Variable)], change)

    difference = check()
    if not difference:
        with original_values(lambda value: 1.25 * value + 0.5):
            difference = check() and "the copy computes with variables of the original"
    if not difference:
        change(new)
        difference = check()
        if difference:
            with original_values(lambda value: value * (1 + max(1e-6, rounding))):
                perturbed = agreement.run(old, batch, objects, weights=weights)
            difference = check(perturbed)
    if difference:
        raise _cannot_copy(old, difference)


def _cannot_copy(model: keras.layers.Layer, why: str) -> ConfigError:
    return ConfigError(
        f"{type(model).__name__} '{model.name}' cannot be copied: {why}; copy=False changes the model itself"
    )


def _selected(model: keras.layers.Layer, names: Sequence[str] | None) -> list[keras.layers.RNN]:
    """The layers of Keras to replace."""
    found = [(path, layer) for path, layer in recurrent_layers(model) if replacing.replacement(layer)]
    selected = {}
    for name in [""] if names is None else names:
        here = [layer for path, layer in found if not name or path == name or path.startswith(f"{name}/")]
        if name and not here:
            paths = [path for path, _ in found]
            hint = did_you_mean(name, paths) or f"there are {', '.join(paths) or 'none'}"
            raise ConfigError(f"only must name recurrent layers of Keras in the model, got '{name}'; {hint}")
        selected |= {id(layer): layer for layer in here}
    return list(selected.values())


def _disable_xla(model: keras.layers.Layer) -> None:
    """Turns XLA off in models that now have a layer that XLA cannot compile."""
    for part in model._flatten_layers():
        if not isinstance(part, keras.Model) or not part._jit_compile:
            continue
        if all(layer.supports_jit for layer in part._flatten_layers()):
            continue
        part._jit_compile = False
        if part.compiled and getattr(part, "_compile_config", None) is not None:
            part._compile_config.config["jit_compile"] = False
        warn(
            f"{part.name} is now compiled with jit_compile=False where the model has jit_compile=True, since "
            "XLA cannot run its recurrent layers"
        )


def _forget_traces(model: keras.layers.Layer) -> None:
    """Drops the functions that TensorFlow traced with the former layers."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.Model):
            for name in TRACED:  # made again at once, as they may be running, for example in a callback
                if getattr(layer, name, None) is not None:
                    getattr(layer, f"make_{name}")(force=True)
        for name, value in [*vars(layer).items()]:
            if isinstance(value, tf.types.experimental.PolymorphicFunction) and name not in TRACED:
                layer.__dict__[name] = value._clone(None)
        for kind in type(layer).__mro__:
            for value in vars(kind).values():
                if isinstance(value, tf.types.experimental.PolymorphicFunction):
                    value._descriptor_cache.pop(layer, None)


def _uncompile(model: keras.layers.Layer) -> None:
    if isinstance(model, keras.Model):
        vars(model).update({name: value for name, value in _BEFORE_COMPILE.items() if name in vars(model)})
        for name in (*_ADDED_BY_COMPILE, *TRACED):
            vars(model).pop(name, None)


def _warn_without_gain(model: keras.layers.Layer) -> None:
    why = "it has no recurrent layers"
    for layer in [*model._flatten_layers(), *(each for _, each in recurrent_layers(model))]:
        if isinstance(layer, keras.layers.RNN):
            engine, why = choose(getattr(layer, "engine", "auto"), layer)
            if engine == "native" and isinstance(layer, EngineLayer):
                return
            if engine == "native":
                why = f"{type(layer).__name__} is a subclass, which is left as it is"
    warn(f"{model.name} gains nothing: {why}")


def _warn_of_ostinato_parts(model: keras.layers.Layer) -> None:
    """Warns of layers and functions of ostinato that have no counterpart in Keras."""
    left = {}
    for layer in [*model._flatten_layers(), *(getattr(model, "operations", None) or ())]:
        functions = (getattr(layer, name, None) for name in ("activation", "recurrent_activation"))
        # Keras puts its own function around each layer's `build`; no file holds it.
        own = (value for name, value in vars(layer).items() if name != "build")
        for thing in (type(layer), *functions, *own):
            if getattr(thing, "__module__", "").startswith("ostinato."):
                left.setdefault(getattr(thing, "__name__", ""), layer.name)
    if left:
        names = ", ".join(f"{name} (in {layer})" for name, layer in left.items())
        warn(f"a file of {model.name} opens only where ostinato is installed: {names}")
