"""Models made of Keras' recurrent layers, run by ostinato's; and back again.

A layer of `ostinato.layers.classic` is Keras' own layer with another loop over time: the same weights, the
same configuration. So the model is copied object by object, and then each recurrent layer of the copy changes
its class. Wrappers, nested models and shared layers need no case of their own. Before the copy is given out,
it is compared with the original.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from ostinato.acceleration import agreement
from ostinato.acceleration.copying import TRACED, Copy
from ostinato.engines import check, choose, may_be_native
from ostinato.errors import ConfigError, warn
from ostinato.interop.keras.loading import Source, describe_error, load_source
from ostinato.layers import classic
from ostinato.wording import did_you_mean

import keras  # isort: skip - classic says in one sentence what is wrong when it does not load

# Exactly these: a subclass may have changed anything, and is left alone.
_OURS: dict[type, type] = {
    keras.layers.SimpleRNN: classic.SimpleRNN,
    keras.layers.GRU: classic.GRU,
    keras.layers.LSTM: classic.LSTM,
}
_STOCK = {ours: stock for stock, ours in _OURS.items()}
# What `compile` gives a model, and what each is before it.
_COMPILED = {
    **dict.fromkeys(("_compile_loss", "_compile_metrics", "_loss_tracker", "loss")),
    "compiled": False,
}
_GONE = ("optimizer", "_compile_config", "_compiled_trainable_state", "stop_training")


def accelerate(
    model: Source,
    *,
    copy: bool = True,
    only: str | Sequence[str] | None = None,
    engine: str = "auto",
    compile: bool = True,
) -> Any:
    """A model whose recurrent layers are ostinato's: the same results, faster.

    Layers are replaced wherever they stand: in nested models, in `Bidirectional` and `TimeDistributed`, and
    in models and layers of your own. Recurrences with other cells stay; `ostinato.report` lists them.

    By default the model stays as it is and a copy is returned. The copy has the model's weights, states,
    optimizer with momentums, loss and metrics. It shares no variable and no layer with the model; functions,
    initializers and losses without weights are the model's own. Both are run once on a made-up batch, which
    changes neither; where they disagree, there is no copy.

    Args:
        model: a Keras model or layer, or a file with a model: `.keras`, or `.h5` of Keras 2 or 3.
        copy: False changes the model itself and returns it. Nothing is copied, so that it works for any model
            and keeps all it holds. Keras' functions for `fit`, `evaluate` and `predict` are traced anew; a
            `tf.function` of yours that has run before keeps its trace.
        only: where the layers to replace stand, as `ostinato.report` prints it; one or several. A model or
            wrapper stands for all layers in it.
        engine: runs the replaced layers: "auto", "native", "keras" or "scratch".
        compile: False leaves out optimizer, loss and metrics.

    Returns:
        The copy, or with `copy=False` the model itself. A warning says when no layer of it runs on the native
        engine, when it is no longer compiled with `jit_compile=True`, since XLA cannot run the native engine,
        and when it has a `compile` of its own, after which the copy has to be compiled again.

    Raises:
        ConfigError: it is not a Keras model; it cannot be copied, or the copy computes something else; or
            `only` names no recurrent layer of Keras in it.
        EngineError: `engine` cannot run one of the layers.

    Example:
        >>> stock = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)])
        >>> accelerate(stock).layers[0].__class__
        <class 'ostinato.layers.classic.LSTM'>
        >>> accelerate(stock, copy=False) is stock
        True
    """
    check(engine)
    original = load_source(model, compile=compile)
    names = [only] if isinstance(only, str) else only

    def change(changed: Any) -> None:
        layers = _chosen(changed, names)
        for layer in layers:
            choose(engine, layer)  # raises before anything is changed
        for layer in layers:
            _change_class(layer, _OURS[type(layer)], engine)
        _leave_xla(changed)

    result = _changed(original, change, copy=copy, compile=compile)
    if engine == "auto":
        _warn_if_nothing_gains(result)
    return result


def to_keras(model: Source, *, copy: bool = True, compile: bool = True) -> Any:
    """The reverse of `accelerate`: a model with Keras' own layers, whose file opens without ostinato.

    Args:
        model: a Keras model or layer, or a file with a model, as for `accelerate`.
        copy: False changes the model itself and returns it.
        compile: False leaves out optimizer, loss and metrics.

    Returns:
        The copy, with weights, states, optimizer, loss and metrics of the original; or the model itself.
        A warning says when it still holds something else of ostinato's.

    Raises:
        ConfigError: as for `accelerate`.

    Example:
        >>> model = keras.Sequential([keras.Input((None, 3)), classic.LSTM(4, engine="native")])
        >>> to_keras(model).layers[0].__class__ is keras.layers.LSTM
        True
    """

    def change(changed: Any) -> None:
        for layer in changed._flatten_layers():
            if type(layer) in _STOCK:
                _change_class(layer, _STOCK[type(layer)], None)

    result = _changed(load_source(model, compile=compile), change, copy=copy, compile=compile)
    _warn_of_what_is_left(result)
    return result


def children(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers directly inside a layer, each as often as it stands there."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def recurrent_layers(layer: Any) -> Iterator[tuple[str, Any]]:
    """The recurrent layers in a model, each with where it stands: the names of what holds it before its own.

    Args:
        layer: a Keras model or layer; a recurrent layer itself stands by its name.
    """
    if isinstance(layer, keras.layers.RNN):
        yield layer.name, layer
        yield from _inner(layer, (layer.name,), (layer,))
    else:
        yield from _inner(layer, (), (layer,))


def _inner(
    parent: Any, path: tuple[str, ...], around: tuple[keras.layers.Layer, ...]
) -> Iterator[tuple[str, Any]]:
    for layer in children(parent):
        if any(layer is outer for outer in around):
            continue  # it knows what it stands in
        names = (*path, layer.name)
        if isinstance(layer, keras.layers.RNN):
            yield "/".join(names), layer
        yield from _inner(layer, names, (*around, layer))  # an RNN's cell may hold one, too


def _changed(original: Any, change: Callable[[Any], None], *, copy: bool, compile: bool) -> Any:
    """A copy of a model with a change, compared with the model; or the model itself, changed."""
    if not copy:
        if not compile:
            _uncompile(original)
        change(original)
        _forget_traces(original)
        return original
    try:
        copied = Copy(original)
        agreement.check_configurations(copied)
    except ConfigError as error:
        raise _cannot_copy(original, str(error)) from error
    except Exception as error:  # a model may hold anything
        raise _cannot_copy(original, describe_error(error)) from error
    result = copied.copy
    own_compile = isinstance(original, keras.Model) and type(original).compile is not keras.Model.compile
    if getattr(original, "compiled", False) and own_compile and compile:
        warn(
            f"the copy of {original.name} is not compiled, since {type(original).__name__} has its own "
            "compile(); call it on the copy"
        )
    if own_compile or not compile:
        _uncompile(result)
    _compare(copied, change)
    return result


def _compare(copied: Copy, change: Callable[[Any], None]) -> None:
    """Changes a copy, and refuses it if it computes something else than the original, or by means of it.

    First the copy is compared as it is: that shows whether it is one. Then after the change, when rounding is
    the only difference. A warning says when they could not be compared.
    """
    old, new = copied.original, copied.copy
    objects = copied.objects()
    compiled = getattr(old, "compiled", False) and getattr(new, "compiled", False)
    weights = old.trainable_variables if compiled else []
    batch, theirs, why_not = agreement.first_results(old, objects, weights=weights)
    if batch is None or theirs is None:
        change(new)
        warn(f"the copy of {old.name} could not be compared with it on a made-up batch: {why_not}")
        return

    def check(**sensitivity: Any) -> str:
        try:
            ours = agreement.results(new, batch, objects, weights=[copied.of(weight) for weight in weights])
        except Exception as error:  # a model may raise anything
            return f"the copy does not run ({describe_error(error)})"
        return agreement.disagreement(theirs, ours, **sensitivity).replace("its ", "the copy's ", 1)

    def run_with(value: Callable[[Any], Any]) -> Any:
        return agreement.changed([variable for variable, _ in copied.pairs(tf.Variable)], value)

    difference = check()
    if not difference:
        with run_with(lambda value: 1.25 * value + 0.5):
            difference = check() and "the copy computes with variables of the original"
    if not difference:
        change(new)
        difference = check()
        if difference:
            with run_with(lambda value: value * (1 + 1e-6)):
                nudged = agreement.results(old, batch, objects, weights=weights)
            difference = check(sensitivity=nudged)
    if difference:
        raise _cannot_copy(old, difference)


def _cannot_copy(model: Any, why: str) -> ConfigError:
    return ConfigError(
        f"{type(model).__name__} '{model.name}' cannot be copied: {why}; copy=False changes the model itself"
    )


def _chosen(model: Any, names: Sequence[str] | None) -> list[Any]:
    """The layers of Keras' to replace."""
    found = [(path, layer) for path, layer in recurrent_layers(model) if type(layer) in _OURS]
    chosen = {}
    for name in [""] if names is None else names:
        here = [layer for path, layer in found if not name or path == name or path.startswith(f"{name}/")]
        if name and not here:
            paths = [path for path, _ in found]
            hint = did_you_mean(name, paths) or f"there are {', '.join(paths) or 'none'}"
            raise ConfigError(f"only must name recurrent layers of Keras in the model, got '{name}'; {hint}")
        chosen |= {id(layer): layer for layer in here}
    return list(chosen.values())


def _change_class(layer: Any, kind: type, engine: str | None) -> None:
    """Makes the layer one of a class that differs only in its loop over time."""
    layer.__class__ = kind
    if engine is not None:
        layer.engine = engine
        layer.supports_jit = layer.supports_jit and not may_be_native(engine, layer)
        return
    vars(layer).pop("engine", None)
    names = ("activation", "recurrent_activation", "unroll", "use_bias", "use_cudnn")
    # What Keras' layer of these options says; made so that nothing is drawn for it.
    drawn = {f"{name}_initializer": "zeros" for name in ("kernel", "recurrent", "bias")}
    options = {name: getattr(layer, name) for name in names if hasattr(layer, name)}
    layer.supports_jit = kind(1, seed=0, name=layer.name, **drawn, **options).supports_jit


def _leave_xla(model: Any) -> None:
    """Compiles without XLA what has a layer now that XLA cannot compile."""
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


def _forget_traces(model: Any) -> None:
    """Drops what TensorFlow traced with the layers of before."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.Model):
            for name in TRACED:  # at once, since they may be running, as in a callback
                if getattr(layer, name, None) is not None:
                    getattr(layer, f"make_{name}")(force=True)
        for name, value in [*vars(layer).items()]:
            if isinstance(value, tf.types.experimental.PolymorphicFunction) and name not in TRACED:
                layer.__dict__[name] = value._clone(None)
        for kind in type(layer).__mro__:
            for value in vars(kind).values():
                if isinstance(value, tf.types.experimental.PolymorphicFunction):
                    value._descriptor_cache.pop(layer, None)


def _uncompile(model: Any) -> None:
    if isinstance(model, keras.Model):
        vars(model).update({name: value for name, value in _COMPILED.items() if name in vars(model)})
        for name in (*_GONE, *TRACED):
            vars(model).pop(name, None)


def _warn_if_nothing_gains(model: Any) -> None:
    why = "it has no recurrent layers"
    for layer in [*model._flatten_layers(), *(each for _, each in recurrent_layers(model))]:
        if isinstance(layer, keras.layers.RNN):
            engine, why = choose(getattr(layer, "engine", "auto"), layer)
            if engine == "native" and isinstance(layer, classic.EngineLayer):
                return
            if engine == "native":
                why = f"{type(layer).__name__} is a class of its own, and is left as it is"
    warn(f"{model.name} gains nothing: {why}")


def _warn_of_what_is_left(model: Any) -> None:
    """Warns of layers and functions of ostinato's that Keras has no counterpart of."""
    left = {}
    for layer in [*model._flatten_layers(), *(getattr(model, "operations", None) or ())]:
        functions = (getattr(layer, name, None) for name in ("activation", "recurrent_activation"))
        for thing in (type(layer), *functions, *vars(layer).values()):
            if getattr(thing, "__module__", "").startswith("ostinato."):
                left.setdefault(getattr(thing, "__name__", ""), layer.name)
    if left:
        names = ", ".join(f"{name} (in {layer})" for name, layer in left.items())
        warn(f"a file of {model.name} opens only where ostinato is installed: {names}")
