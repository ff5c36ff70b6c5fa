"""What `ostinato.accelerate` gains for a model on this machine: time, memory, and how much results differ.

The model with Keras' own layers and its accelerated copy are timed in one process (`timing`); their memory is
measured in separate ones (`memory`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import keras
import numpy as np

from ostinato.acceleration.accelerate import accelerate, to_keras
from ostinato.acceleration.agreement import NEGLIGIBLE, absolute_differences, dense_array
from ostinato.acceleration.inputs import (
    BATCH,
    TIME,
    Nested,
    Shape,
    comma_separated,
    make_inputs,
    pack_inputs,
    shape_of,
)
from ostinato.acceleration.memory import measure_memory
from ostinato.acceleration.progress import Progress
from ostinato.acceleration.timing import (
    VARIANTS,
    CompiledPass,
    PassKey,
    Timing,
    compile_pass,
    prepare,
    time_passes,
)
from ostinato.engines import choose
from ostinato.errors import ConfigError, OstinatoError
from ostinato.interop.keras.loading import Source
from ostinato.interop.keras.sentences import describe_error

BATCHES = (1, 8, 32)
"""The batches that `compare_batches` measures where none are given."""


class Comparison(NamedTuple):
    """A model with Keras' layers compared with its accelerated copy. Figures not measured are None.

    Attributes:
        model: the file, or the model's name.
        inputs: the shape of each input, as in "32,100,8"; several are separated by spaces.
        batch: the first size of the first input.
        recurrent_layers: number of layers that `ostinato.accelerate` replaces.
        native_layers: number of these that the native engine runs; Keras' loop runs the others.
        engine_note: why the native engine does not run the first of the others; empty without others.
        rounds: in how many rounds they were timed, in turn.
        forward_keras_ms, forward_ostinato_ms: milliseconds of `model(inputs, training=False)`: the median of
            its single runs.
        forward_keras_p99_ms, forward_ostinato_p99_ms: the time that 99 of 100 runs did not exceed, by the
            nearest rank; of fewer than 100 runs, the slowest.
        forward_keras_runs, forward_ostinato_runs: how many runs stand behind these.
        forward_ratio: how many times faster the accelerated model is, by the medians.
        output_difference: the largest absolute difference between their outputs.
        loss: the loss that gradients are taken of: the compiled one, or the mean square of the outputs.
        training_keras_ms, training_ostinato_ms: milliseconds of the loss and its gradients for all weights,
            at `training=True`, without the optimizer; and likewise the other figures of training.
        training_ratio: how many times faster that is.
        gradient_difference: over all weights, the largest difference between their gradients, divided by the
            largest gradient of that weight, or by a thousandth of the model's largest if that is more.
        memory_of: the pass that memory was measured of: "forward" or "training".
        keras_extra_mib, ostinato_extra_mib: the most by which the resident memory of a new process grew, in
            MiB, after model and inputs were loaded.
        keras_peak_mib, ostinato_peak_mib: the most resident memory of that process, including TensorFlow.
        memory_note: why there are no figures for memory; empty if there are, or if none were wanted.
    """

    model: str
    inputs: str
    batch: int
    recurrent_layers: int
    native_layers: int
    engine_note: str
    rounds: int
    forward_keras_ms: float
    forward_keras_p99_ms: float
    forward_keras_runs: int
    forward_ostinato_ms: float
    forward_ostinato_p99_ms: float
    forward_ostinato_runs: int
    forward_ratio: float
    output_difference: float
    loss: str | None = None
    training_keras_ms: float | None = None
    training_keras_p99_ms: float | None = None
    training_keras_runs: int | None = None
    training_ostinato_ms: float | None = None
    training_ostinato_p99_ms: float | None = None
    training_ostinato_runs: int | None = None
    training_ratio: float | None = None
    gradient_difference: float | None = None
    memory_of: str | None = None
    keras_extra_mib: float | None = None
    ostinato_extra_mib: float | None = None
    keras_peak_mib: float | None = None
    ostinato_peak_mib: float | None = None
    memory_note: str = ""


def compare(
    model: Source,
    shapes: Sequence[Sequence[int]] = (),
    *,
    training: bool = False,
    rounds: int = 7,
    memory: bool = True,
    on_progress: Progress | None = None,
) -> Comparison:
    """Compares a model with Keras' own recurrent layers with the same model accelerated.

    Inputs are made up, the same each time: standard normal numbers, and for an `Embedding` ids below its
    vocabulary (never 0 where that is padding). The model is not changed.

    Args:
        model: a Keras model, or the path of one (`.keras`, or `.h5`); it may be accelerated already.
        shapes: of each input, batch included; by default the model's own with a batch of 32 and 100 time
            steps where it leaves them open.
        training: whether to measure forward and backward too.
        rounds: how often each has its turn; see `ostinato.acceleration.timing` for how long one takes.
        memory: whether to measure memory too, in two processes that load the model again.
        on_progress: called with what is being done, steps done and steps in all.

    Raises:
        ConfigError: the model does not load or cannot be copied; it has no recurrent layer, or no weights to
            train; or the shapes do not fit it.

    Example:
        >>> model = keras.Sequential([keras.Input((None, 8)), keras.layers.LSTM(16), keras.layers.Dense(1)])
        >>> compare(model, [(4, 20, 8)], rounds=1, memory=False).recurrent_layers
        1
    """
    wanted = [_Wanted(shapes, BATCH, TIME)]
    [found] = _compare(model, wanted, training, rounds, memory, on_progress)
    return found


def compare_batches(
    model: Source,
    batches: Sequence[int] = BATCHES,
    *,
    length: int = TIME,
    training: bool = False,
    rounds: int = 7,
    memory: bool = True,
    on_progress: Progress | None = None,
) -> list[Comparison]:
    """Compares a model as `compare` does, at several batches; memory is measured at the largest only.

    Args:
        model: as for `compare`.
        batches: the batches. A model that fixes its batch is compared once, at that.
        length: the time steps where the model leaves them open.
        training, rounds, memory, on_progress: as for `compare`.

    Raises:
        ConfigError: as for `compare`; or a batch or the length is below 1, or there is no batch.
    """
    if not batches or min(*batches, length, 1) < 1:
        raise ConfigError(f"batches and length must be at least 1, got {list(batches)} and {length}")
    wanted = [_Wanted((), batch, length) for batch in dict.fromkeys(batches)]
    return _compare(model, wanted, training, rounds, memory, on_progress)


class _Wanted(NamedTuple):
    """The inputs to compare on: their shapes, or the sizes where the model leaves them open."""

    shapes: Sequence[Sequence[int]]
    batch: int
    time: int


def _compare(
    model: Source,
    wanted: Sequence[_Wanted],
    training: bool,
    rounds: int,
    memory: bool,
    on_progress: Progress | None,
) -> list[Comparison]:
    """The comparisons on all inputs that are wanted, without those of the same shapes."""
    if rounds < 1:
        raise ConfigError(f"rounds must be at least 1, got {rounds}")
    tell = on_progress or (lambda what, done, total: None)
    kinds = ("forward", "training") if training else ("forward",)
    each = 1 + rounds * len(kinds)
    total = each * len(wanted) + (len(VARIANTS) if memory else 0)
    tell("compiling", 0, total)
    stock = cast("keras.Model", to_keras(model))
    if not _recurrent_layers(stock):
        name = stock.name if isinstance(model, keras.Model) else model
        raise ConfigError(f"the model {name} has no SimpleRNN, GRU or LSTM layer, so nothing to accelerate")
    accelerated: keras.Model | None = None
    found: dict[tuple[Shape, ...], Comparison] = {}
    for number, (given, batch, time) in enumerate(wanted):
        what = f"batch {batch}: " if len(wanted) > 1 else ""
        if number:
            tell(f"{what}compiling", each * number, total)
        inputs = make_inputs(stock, given, batch=batch, time=time)
        shapes = tuple(map(shape_of, inputs))
        if shapes in found:
            continue
        with _naming_shapes(shapes):
            x = pack_inputs(stock, inputs)
            y, loss = prepare(stock, x, kinds[-1])
            accelerated = accelerated or cast("keras.Model", accelerate(stock))
            passes = _passes(stock, accelerated, kinds, x, y)
            results = {key: [dense_array(each) for each in run()] for key, run in passes.items()}

        def step(now: str, done: int, what: str = what, before: int = each * number + 1) -> None:
            tell(f"{what}{now}", before + done, total)

        timings = time_passes(passes, rounds, step)
        comparison = _forward_comparison(model, accelerated, shapes, rounds, results, timings)
        figures = _training_figures(loss, results, timings) if training else {}
        found[shapes] = comparison._replace(**figures)
    if memory:
        largest = max(found, key=lambda shapes: found[shapes].batch)
        before = total - len(VARIANTS)
        figures = measure_memory(
            model, largest, kinds[-1], lambda what, done: tell(what, before + done, total)
        )
        found[largest] = found[largest]._replace(**figures)
    tell("done", total, total)
    return list(found.values())


def _forward_comparison(
    model: Source,
    accelerated: keras.Model,
    shapes: Sequence[Shape],
    rounds: int,
    results: Mapping[PassKey, list[np.ndarray]],
    timings: Mapping[PassKey, Timing],
) -> Comparison:
    """A comparison without the figures of training and memory."""
    layers = _recurrent_layers(accelerated)
    choices = [choose(getattr(layer, "engine", "keras"), layer) for layer in layers]
    facts: dict[str, Any] = {
        "model": model.name if isinstance(model, keras.Model) else str(model),
        "inputs": " ".join(map(comma_separated, shapes)),
        "batch": shapes[0][0] if shapes[0] else 1,
        "recurrent_layers": len(layers),
        "native_layers": sum(choice.engine == "native" for choice in choices),
        "engine_note": next((choice.reason for choice in choices if choice.engine != "native"), ""),
        "rounds": rounds,
        "output_difference": _absolute_difference(*(results["forward", variant] for variant in VARIANTS)),
    }
    return Comparison(**facts, **_times("forward", timings))


def _training_figures(
    loss: str, results: Mapping[PassKey, list[np.ndarray]], timings: Mapping[PassKey, Timing]
) -> dict[str, Any]:
    """The fields about training of a `Comparison`."""
    # The first result of a training pass is the loss.
    gradients = [results["training", variant][1:] for variant in VARIANTS]
    difference = _relative_difference(*gradients)
    return {"loss": loss, "gradient_difference": difference, **_times("training", timings)}


def _times(kind: str, timings: Mapping[PassKey, Timing]) -> dict[str, Any]:
    """The fields about the time of a pass of a `Comparison`."""
    found: dict[str, Any] = {}
    for variant in VARIANTS:
        timing = timings[kind, variant]
        found[f"{kind}_{variant}_ms"] = timing.p50_ms
        found[f"{kind}_{variant}_p99_ms"] = timing.p99_ms
        found[f"{kind}_{variant}_runs"] = timing.runs
    return {**found, f"{kind}_ratio": found[f"{kind}_keras_ms"] / found[f"{kind}_ostinato_ms"]}


def _recurrent_layers(model: keras.Model) -> list[keras.layers.RNN]:
    kinds = (keras.layers.SimpleRNN, keras.layers.GRU, keras.layers.LSTM)
    return [layer for layer in model._flatten_layers() if isinstance(layer, kinds)]


def _passes(
    stock: keras.Model, accelerated: keras.Model, kinds: Sequence[str], x: Nested, y: Nested
) -> dict[PassKey, CompiledPass]:
    """The passes to time, traced, from models whose states are reset."""
    for model in (stock, accelerated):
        for layer in _recurrent_layers(model):
            if layer.stateful:
                layer.reset_state()
    weights = [list(model.trainable_variables) for model in (stock, accelerated)]
    if {weight.path for weight in weights[0]} == {weight.path for weight in weights[1]}:
        # A copy may list the layers of one depth in another order.
        weights = [sorted(each, key=lambda weight: weight.path) for each in weights]
    models = {"keras": (stock, weights[0]), "ostinato": (accelerated, weights[1])}
    passes = {
        (kind, variant): compile_pass(kind, *models[variant], x, y) for kind in kinds for variant in VARIANTS
    }
    for compiled in passes.values():
        compiled.trace()
    return passes


@contextlib.contextmanager
def _naming_shapes(shapes: Sequence[Shape]) -> Iterator[None]:
    """Reports any error of a model as one of running on inputs of these shapes."""
    try:
        yield
    except OstinatoError:
        raise
    except Exception as error:  # a model may raise anything
        named = " and ".join(map(comma_separated, shapes))
        raise ConfigError(
            f"the model does not run on inputs of shape {named}: {describe_error(error)}"
        ) from error


def _absolute_difference(stock: Sequence[np.ndarray], accelerated: Sequence[np.ndarray]) -> float:
    pairs = zip(stock, accelerated, strict=True)
    return max((float(np.max(absolute_differences(a, b), initial=0.0)) for a, b in pairs), default=0.0)


def _relative_difference(stock: Sequence[np.ndarray], accelerated: Sequence[np.ndarray]) -> float:
    sizes = [float(np.max(np.abs(array.astype(np.float64)), initial=0.0)) for array in stock]
    least = NEGLIGIBLE * max(sizes, default=0.0)
    return max(
        (
            float(np.max(absolute_differences(a, b), initial=0.0)) / (max(size, least) or 1.0)
            for a, b, size in zip(stock, accelerated, sizes, strict=True)
        ),
        default=0.0,
    )


def finite(figures: Mapping[str, object]) -> dict[str, object]:
    """Figures for JSON: None instead of infinity and NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }
