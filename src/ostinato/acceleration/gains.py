"""How much faster a model and its recurrent layers become by `ostinato.accelerate`, measured on this machine.

Each layer is timed alone, on made-up inputs of the shapes that it gets in a run of the model.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import keras

from ostinato.acceleration.accelerate import accelerate, recurrent_layers, to_keras
from ostinato.acceleration.calls import Call, calls_of_layers, make_call
from ostinato.acceleration.inputs import Batch, comma_separated, make_batch, shape_of
from ostinato.acceleration.progress import Progress
from ostinato.acceleration.timing import (
    VARIANTS,
    CompiledPass,
    PassKey,
    Timing,
    compile_pass,
    prepare,
    summarize,
    time_passes,
)
from ostinato.errors import ConfigError, OstinatoError
from ostinato.interop.keras.sentences import describe_error

BATCHES, LENGTHS = (1, 32), (32, 100)
"""What is measured where nothing else is asked for; the second length is for models that need more steps."""
_ROUNDS = (3, 5)
"""The least and most rounds of a layer;"""
_SLOW = 4.0
"""but each pass runs once only where that takes so many times the seconds that were wanted."""
WHOLE = ""
"""The path that stands for the model itself."""


class Gain(NamedTuple):
    """Times of a layer or model, by Keras' layers and accelerated. Figures not measured are None.

    Attributes:
        batch: the batch of the model.
        inputs: the shape of its inputs, as in "32,100,8"; several are separated by spaces.
        calls: how often one run of the model calls the layer; one of each shape is timed.
        forward_keras_ms, forward_ostinato_ms: milliseconds of a forward pass at `training=False`, the median.
        forward_ratio: how many times faster it is accelerated.
        training_keras_ms, training_ostinato_ms: milliseconds of a loss and its gradients at `training=True`,
            the median: of a model the compiled loss, or the mean square of the outputs, for its weights; of a
            layer the mean square of its outputs, for its weights and inputs.
        training_ratio: how many times faster that is.
        runs: the least number of runs behind one of the figures.
        rounds: in how many rounds they ran, in turn.
        training_note: why training was not measured; empty if it was.
    """

    batch: int
    inputs: str
    calls: int
    forward_keras_ms: float
    forward_ostinato_ms: float
    forward_ratio: float
    training_keras_ms: float | None
    training_ostinato_ms: float | None
    training_ratio: float | None
    runs: int
    rounds: int
    training_note: str = ""


class Gains(NamedTuple):
    """What was measured of a model.

    Attributes:
        measured: the gains of each path, and of the model as `WHOLE`, one for each batch.
        why_not: for paths without a gain the reason, in a sentence.
        length: the time steps where the model left them open.
    """

    measured: dict[str, tuple[Gain, ...]]
    why_not: dict[str, str]
    length: int


class _Form(NamedTuple):
    """A layer or model by Keras' layers and accelerated.

    Attributes:
        keras, ostinato: the two.
        jit_compile: whether XLA compiles each.
    """

    keras: keras.layers.Layer
    ostinato: keras.layers.Layer
    jit_compile: tuple[bool, bool]


def measure_gains(
    model: keras.layers.Layer,
    paths: Sequence[str],
    batches: Sequence[int] | None,
    length: int | None,
    seconds: float,
    on_progress: Progress,
) -> Gains:
    """The gains of a model and of some of its recurrent layers. The model is not changed.

    Args:
        model: a Keras model or layer, accelerated or not.
        paths: the paths of the layers to measure, as `recurrent_layers` gives them.
        batches: the batches; by default `BATCHES`.
        length: the time steps where the model leaves them open; by default 32, and 100 if it needs more.
        seconds: about how long to time each layer, and the model, over all batches.
        on_progress: called with what is being done, steps done and steps in all.
    """
    batches = BATCHES if batches is None else batches
    lengths = LENGTHS if length is None else (length,)
    if not model.built:
        return Gains({}, {WHOLE: "the model has no weights yet; call it, or give it an Input"}, lengths[0])
    total = 1 + len(batches) * (1 + len(paths))
    on_progress("copying the model", 0, total)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # they are about the copies, which nobody gets
            forms = _forms(model)
    except OstinatoError as error:
        return Gains({}, {WHOLE: str(error)}, lengths[0])
    measured: dict[str, tuple[Gain, ...]] = {}
    why_not: dict[str, str] = {}
    seen, done = [], 1
    for size in batches:
        batch, used, problem = _runnable_batch(forms[WHOLE].keras, size, lengths)
        if batch is None:
            why_not.setdefault(WHOLE, problem)
            continue
        lengths = (used,)
        shapes = _shapes(batch)
        if shapes in seen:
            continue  # the model fixes its batch
        seen.append(shapes)
        for path, gain in _gains_of_batch(
            forms,
            paths,
            batch,
            seconds / len(batches),
            lambda what, step: on_progress(what, step, total),
            done,
        ):
            if isinstance(gain, str):
                why_not.setdefault(path, gain)
            else:
                measured[path] = (*measured.get(path, ()), gain)
        done += 1 + len(paths)
    return Gains(measured, why_not, lengths[0])


def _forms(model: keras.layers.Layer) -> dict[str, _Form]:
    """The two forms of a model and, by their paths, of its recurrent layers."""
    stock, accelerated = (cast("keras.layers.Layer", convert(model)) for convert in (to_keras, accelerate))
    jit = (_uses_xla(stock), _uses_xla(accelerated))
    others = dict(recurrent_layers(accelerated))
    inner: dict[str, _Form] = {}
    for path, layer in recurrent_layers(stock):
        form = inner.setdefault(path, _Form(layer, others[path], jit))
        if form.keras is not layer:
            raise ConfigError(f"several layers of the model have the path {path}")
    return {**inner, WHOLE: _Form(stock, accelerated, jit)}


def _uses_xla(model: keras.layers.Layer) -> bool:
    return bool(getattr(model, "jit_compile", False))


def _runnable_batch(
    model: keras.layers.Layer, size: int, lengths: Sequence[int]
) -> tuple[Batch | None, int, str]:
    """A batch on which a model runs, and its length; or why there is none."""
    problem = ""
    for length in lengths:
        try:
            batch = make_batch(model, size, length, as_built=False)
            if batch is None:
                return None, length, "the model does not say what shape its inputs have"
            prepare(model, batch.arguments[0], "forward", batch.options)
            return batch, length, ""
        except Exception as error:  # a model may raise anything
            problem = problem or f"the model does not run on a made-up batch: {describe_error(error)}"
    return None, lengths[-1], problem


def _shapes(batch: Batch) -> str:
    tensors = keras.tree.flatten([batch.arguments, batch.options])
    return " ".join(comma_separated(shape_of(tensor)) for tensor in tensors)


def _gains_of_batch(
    forms: Mapping[str, _Form],
    paths: Sequence[str],
    batch: Batch,
    seconds: float,
    tell: Callable[[str, int], None],
    done: int,
) -> Iterator[tuple[str, Gain | str]]:
    """The gain at a batch of each layer and, last, of the model; or why there is none."""
    tensors = keras.tree.flatten(batch.arguments)
    size = tensors[0].shape[0] if tensors[0].shape.rank else 1
    model = forms[WHOLE].keras
    layers = {path: cast("keras.layers.RNN", forms[path].keras) for path in paths}
    calls = calls_of_layers(model, layers.values(), batch)
    found: dict[int, Gain | str] = {}  # a layer may have several paths
    for number, (path, layer) in enumerate(layers.items()):
        tell(f"{path}, batch {size}", done + number)
        if id(layer) not in found:
            found[id(layer)] = _layer_gain(forms[path], calls[id(layer)], size, seconds)
        yield path, found[id(layer)]
    tell(f"the whole model, batch {size}", done + len(paths))
    if id(model) not in found:
        try:
            gain = _gain(forms[WHOLE], [batch], "training", seconds)
            yield WHOLE, gain._replace(batch=size, inputs=_shapes(batch))
        except Exception as error:  # a model may raise anything
            yield WHOLE, describe_error(error)


def _layer_gain(form: _Form, calls: Counter[Call], batch: int, seconds: float) -> Gain | str:
    """The gain of a layer that is called like this; or why there is none."""
    if not calls:
        return "no run of the model calls it"
    try:
        gain = _gain(form, [make_call(call) for call in calls], "layer", seconds)
    except Exception as error:  # a layer may raise anything
        return describe_error(error)
    inputs = " ".join(call.inputs for call in calls)
    return gain._replace(batch=batch, inputs=inputs, calls=calls.total())


def _gain(form: _Form, batches: Sequence[Batch], kind: str, seconds: float) -> Gain:
    """The gain of a layer or model, over one call with each of the batches.

    Raises:
        Exception: its forward pass fails in any way.
    """
    passes = [_passes(form, batch, "forward") for batch in batches]
    note = ""
    try:
        if kind == "training" and not form.keras.trainable_variables:
            raise ConfigError("it has no trainable weights")
        trained = [_passes(form, batch, kind) for batch in batches]
        passes = [{**a, **b} for a, b in zip(passes, trained, strict=True)]
    except Exception as error:
        note = describe_error(error)
    found, rounds = zip(*(_time(each, seconds / len(passes)) for each in passes), strict=True)
    ms = {key: sum(timings[key].p50_ms for timings in found) for key in found[0]}

    runs = min(timing.runs for timings in found for timing in timings.values())
    stock, ours = (ms["forward", variant] for variant in VARIANTS)
    gain = Gain(0, "", 1, stock, ours, stock / ours, None, None, None, runs, min(rounds), note)
    if note:
        return gain
    stock, ours = (ms["training", variant] for variant in VARIANTS)
    return gain._replace(training_keras_ms=stock, training_ostinato_ms=ours, training_ratio=stock / ours)


def _passes(form: _Form, batch: Batch, kind: str) -> dict[PassKey, CompiledPass]:
    """The passes of both forms, which have run once."""
    x, options = batch.arguments[0], batch.options
    y = None
    if kind == "training":
        y, _ = prepare(form.keras, x, kind, options)
    named = "forward" if kind == "forward" else "training"
    passes: dict[PassKey, CompiledPass] = {}
    for variant, jit in zip(VARIANTS, form.jit_compile, strict=True):
        layer = getattr(form, variant)
        weights = layer.trainable_variables
        run = compile_pass(kind, layer, weights, x, y, options=options, jit_compile=jit)
        run()
        passes[named, variant] = run
    return passes


def _time(passes: Mapping[PassKey, CompiledPass], seconds: float) -> tuple[dict[PassKey, Timing], int]:
    """The times of passes, and the number of rounds: fewer, down to one run of each, where they are slow."""
    once = {key: _seconds(run) for key, run in passes.items()}
    every = sum(once.values())
    if every > _SLOW * seconds:
        return {key: summarize([value]) for key, value in once.items()}, 1
    rounds = max(_ROUNDS[0], min(_ROUNDS[1], int(seconds / every)))
    turn = seconds / (rounds * len(passes))
    warm = max(once.values()) < turn
    return time_passes(passes, rounds, turn_seconds=turn, runs=rounds, warm=warm), rounds


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
