"""What `ostinato.accelerate` gains for a model on this machine: time, memory, and how far results differ.

The model with Keras' own layers and its accelerated copy run in turn in one process, round after round, on
the same inputs, so that a noisy minute hits both alike; each figure is the median over the rounds. Both run
as Keras would run them: as a `tf.function`, which XLA compiles where `model.jit_compile` says so.

Memory is measured for each in a process of its own, which this file is the program of: what one of them keeps
must not count for the other.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ostinato.acceleration import inputs as made_up
from ostinato.acceleration.accelerate import accelerate, to_keras
from ostinato.acceleration.agreement import NEGLIGIBLE, array, distances
from ostinato.acceleration.inputs import Shape, commas, make_inputs
from ostinato.engines import choose
from ostinato.errors import ConfigError, OstinatoError

TURN_SECONDS = 0.2
MEBIBYTE = 1 << 20
VARIANTS = ("keras", "ostinato")

Progress = Callable[[str, int, int], None]


class Comparison(NamedTuple):
    """A model with Keras' layers beside its accelerated copy. What was not measured is None.

    Attributes:
        model: the file, or the model's name.
        inputs: the shape of each input, as in "32,100,8"; a space parts several.
        recurrent_layers: how many layers `ostinato.accelerate` replaces.
        native_layers: how many of them the native engine runs; Keras' loop runs the others.
        engine_note: why the first that it does not run is not; empty when there is none.
        rounds: how often each was timed.
        forward_keras_ms, forward_ostinato_ms: milliseconds of `model(inputs, training=False)`.
        forward_ratio: how many times faster the accelerated model is.
        output_difference: the largest absolute difference between their outputs.
        loss: what gradients are taken of: the compiled loss, or the mean square of the outputs.
        training_keras_ms, training_ostinato_ms: milliseconds of the loss and its gradients for all weights,
            at `training=True`, without the optimizer.
        training_ratio: how many times faster that is.
        gradient_difference: over all weights, the largest difference between their gradients, divided by the
            largest gradient of that weight, or by a thousandth of the model's largest if that is more.
        memory_of: what memory was measured of: "forward" or "training".
        keras_extra_mib, ostinato_extra_mib: how far the resident memory of a fresh process grew at the most
            over what it was with model and inputs loaded, in MiB.
        keras_peak_mib, ostinato_peak_mib: the most resident memory of that process then, TensorFlow included.
        memory_note: why there is no figure for memory; empty when there is, or when none was wanted.
    """

    model: str
    inputs: str
    recurrent_layers: int
    native_layers: int
    engine_note: str
    rounds: int
    forward_keras_ms: float
    forward_ostinato_ms: float
    forward_ratio: float
    output_difference: float
    loss: str | None = None
    training_keras_ms: float | None = None
    training_ostinato_ms: float | None = None
    training_ratio: float | None = None
    gradient_difference: float | None = None
    memory_of: str | None = None
    keras_extra_mib: float | None = None
    ostinato_extra_mib: float | None = None
    keras_peak_mib: float | None = None
    ostinato_peak_mib: float | None = None
    memory_note: str = ""


class _Memory(NamedTuple):
    """Bytes resident in a process: before a pass ran, and at the most while it ran."""

    rest: int
    peak: int


def compare(
    model: Any,
    shapes: Sequence[Sequence[int]] = (),
    *,
    training: bool = False,
    rounds: int = 7,
    memory: bool = True,
    on_progress: Progress | None = None,
) -> Comparison:
    """Measures a model with Keras' own recurrent layers beside the same model accelerated.

    Inputs are made up, the same each time: standard normal numbers, and for an `Embedding` ids below its
    vocabulary (never 0 where that is padding). The model given is not changed.

    Args:
        model: a Keras model, or the path of one (`.keras`, or `.h5`); accelerated already or not.
        shapes: of each input, batch included; by default the model's own with a batch of 32 and 100 time
            steps where it leaves them open.
        training: whether to measure forward and backward too.
        rounds: how often to time each.
        memory: whether to measure memory too, in two processes that load the model again.
        on_progress: called with what is being done, steps done and steps in all.

    Raises:
        ConfigError: there is no model at that path, or it does not load or cannot be copied; it has no
            recurrent layer, or no weights to train; or the shapes do not fit it.

    Example:
        >>> model = keras.Sequential([keras.Input((None, 8)), keras.layers.LSTM(16), keras.layers.Dense(1)])
        >>> compare(model, [(4, 20, 8)], rounds=1, memory=False).recurrent_layers
        1
    """
    if rounds < 1:
        raise ConfigError(f"rounds={rounds}: expected at least one")
    tell = on_progress or (lambda what, done, total: None)
    passes = ("forward", "training") if training else ("forward",)
    total = 1 + rounds * len(passes) + (len(VARIANTS) if memory else 0)
    tell("compiling", 0, total)
    theirs = to_keras(model)
    if not _recurrent_layers(theirs):
        name = theirs.name if isinstance(model, keras.Model) else model
        raise ConfigError(f"the model {name} has no SimpleRNN, GRU or LSTM layer, so nothing to accelerate")
    inputs = make_inputs(theirs, shapes)
    given = [made_up.sizes(array) for array in inputs]
    with _telling_shapes(given):
        packed, targets, loss = _problem(theirs, inputs, passes[-1])
        ours = accelerate(theirs)
        for copy in (theirs, ours):
            _forget(copy)
        calls = _calls(theirs, ours, passes, packed, targets)
    layers = _recurrent_layers(ours)
    choices = [choose(getattr(layer, "engine", "keras"), layer) for layer in layers]
    results = {key: [array(each) for each in call()] for key, call in calls.items()}
    ms = _measure(calls, rounds, lambda what, done: tell(what, 1 + done, total))
    figures: dict[str, Any] = {}
    if training:
        # The first result of a training pass is the loss.
        gradients = [results["training", variant][1:] for variant in VARIANTS]
        figures |= {
            "loss": loss,
            "training_keras_ms": ms["training", "keras"],
            "training_ostinato_ms": ms["training", "ostinato"],
            "training_ratio": ms["training", "keras"] / ms["training", "ostinato"],
            "gradient_difference": _relative_difference(*gradients),
        }
    if memory:
        figures |= _memory_figures(
            model, given, passes[-1], lambda what, done: tell(what, total - len(VARIANTS) + done, total)
        )
    tell("done", total, total)
    return Comparison(
        model=model.name if isinstance(model, keras.Model) else str(model),
        inputs=" ".join(map(commas, given)),
        recurrent_layers=len(layers),
        native_layers=sum(choice.engine == "native" for choice in choices),
        engine_note=next((choice.reason for choice in choices if choice.engine != "native"), ""),
        rounds=rounds,
        forward_keras_ms=ms["forward", "keras"],
        forward_ostinato_ms=ms["forward", "ostinato"],
        forward_ratio=ms["forward", "keras"] / ms["forward", "ostinato"],
        output_difference=_absolute_difference(*(results["forward", variant] for variant in VARIANTS)),
        **figures,
    )


def _recurrent_layers(model: Any) -> list[Any]:
    kinds = (keras.layers.SimpleRNN, keras.layers.GRU, keras.layers.LSTM)
    return [layer for layer in model._flatten_layers() if isinstance(layer, kinds)]


def _problem(model: Any, inputs: list[tf.Tensor], what: str) -> tuple[Any, Any, str]:
    """Inputs as the model is called with them, targets for its loss (None without one), and what that is."""
    packed = made_up.packed(model, inputs)
    outputs = tf.function(lambda x: model(x, training=False))(packed)  # a model may get its weights only now
    if what != "training":
        return packed, None, ""
    if not model.trainable_variables:
        raise ConfigError(f"the model {model.name} has no trainable weights; there is no training to measure")
    return packed, *made_up.make_targets(model, packed, outputs)


def _forget(model: Any) -> None:
    """Back to zeros with the states of stateful layers, which would otherwise differ from copy to copy."""
    for layer in _recurrent_layers(model):
        if layer.stateful:
            layer.reset_state()


def _calls(
    theirs: Any, ours: Any, passes: Sequence[str], packed: Any, targets: Any
) -> dict[tuple[str, str], _Call]:
    """What there is to time, by pass and variant."""
    weights = [list(model.trainable_variables) for model in (theirs, ours)]
    if {weight.path for weight in weights[0]} == {weight.path for weight in weights[1]}:
        # Layers of the same depth may stand in another order in a copy.
        weights = [sorted(each, key=lambda weight: weight.path) for each in weights]
    models = {"keras": (theirs, weights[0]), "ostinato": (ours, weights[1])}
    calls = {
        (what, variant): _call(what, *models[variant], packed, targets)
        for what in passes
        for variant in VARIANTS
    }
    for call in calls.values():
        call.trace()
    return calls


@contextlib.contextmanager
def _telling_shapes(shapes: Sequence[Shape]) -> Iterator[None]:
    """Tells of anything that goes wrong in a model, that it does not run on such inputs."""
    try:
        yield
    except OstinatoError:
        raise
    except Exception as error:  # a model may raise anything
        given = " and ".join(map(commas, shapes))
        raise ConfigError(f"the model does not run on inputs of shape {given}: {_sentence(error)}") from error


def _sentence(error: Exception) -> str:
    """What an exception says, without the list of arguments Keras adds."""
    words = str(error).split("Arguments received")[0].split()
    return " ".join(words)[:300]


class _Call:
    """A compiled function and its arguments."""

    def __init__(self, function: Callable[..., Any], model: Any, arguments: Sequence[Any]):
        self._function: Any = tf.function(function, jit_compile=True if model.jit_compile else None)
        self._arguments = arguments
        self._waits = bool(tf.config.get_visible_devices("GPU"))

    def trace(self) -> None:
        """Makes the graph without running it."""
        self._function.get_concrete_function(*self._arguments)

    def __call__(self) -> list[Any]:
        results = self._function(*self._arguments)
        if self._waits:
            tf.test.experimental.sync_devices()
        return results


def _call(what: str, model: Any, weights: Sequence[Any], packed: Any, targets: Any) -> _Call:
    """A pass of a model: its outputs, or its loss and those gradients for the weights that exist."""

    def forward(x: Any) -> list[Any]:
        return keras.tree.flatten(model(x, training=False))

    def training(x: Any, y: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            loss = made_up.loss_of(model, x, y, model(x, training=True))
        gradients = tape.gradient(loss, weights)
        return [loss, *[gradient for gradient in gradients if gradient is not None]]

    if what == "forward":
        return _Call(forward, model, [packed])
    return _Call(training, model, [packed, targets])


def _measure(
    calls: dict[tuple[str, str], Callable[[], Any]], rounds: int, tell: Callable[[str, int], None]
) -> dict[tuple[str, str], float]:
    """Milliseconds of each call: the median over the rounds, of which every other goes backwards."""
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    passes, done = list(dict.fromkeys(what for what, _ in calls)), 0
    for number in range(rounds):
        for what in passes:
            tell(f"round {number + 1} of {rounds}, {what}", done)
            for variant in VARIANTS if number % 2 == 0 else VARIANTS[::-1]:
                seconds[what, variant].append(_median_seconds(calls[what, variant]))
            done += 1
    return {key: 1e3 * statistics.median(times) for key, times in seconds.items()}


def _median_seconds(call: Callable[[], Any]) -> float:
    """A call's time after a first one, which finds the caches full of the other variant's data."""
    call()
    times: list[float] = []
    until = time.perf_counter() + TURN_SECONDS
    while not times or time.perf_counter() < until:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _absolute_difference(theirs: Sequence[np.ndarray], ours: Sequence[np.ndarray]) -> float:
    pairs = zip(theirs, ours, strict=True)
    return max((float(np.max(distances(a, b), initial=0.0)) for a, b in pairs), default=0.0)


def _relative_difference(theirs: Sequence[np.ndarray], ours: Sequence[np.ndarray]) -> float:
    sizes = [float(np.max(np.abs(array.astype(np.float64)), initial=0.0)) for array in theirs]
    least = NEGLIGIBLE * max(sizes, default=0.0)
    return max(
        (
            float(np.max(distances(a, b), initial=0.0)) / (max(size, least) or 1.0)
            for a, b, size in zip(theirs, ours, sizes, strict=True)
        ),
        default=0.0,
    )


def _memory_figures(
    model: Any, shapes: Sequence[Shape], what: str, tell: Callable[[str, int], None]
) -> dict[str, Any]:
    """What the processes say of their memory, or why they say nothing."""
    if not sys.platform.startswith("linux"):
        return {"memory_note": "memory is measured on Linux only"}
    figures: dict[str, Any] = {"memory_of": what}
    with tempfile.TemporaryDirectory() as folder:
        path = model
        if isinstance(model, keras.Model):
            path = Path(folder) / "model.keras"
            model.save(path)
        for done, variant in enumerate(VARIANTS):
            tell(f"memory, {variant}", done)
            request = {"path": str(path), "shapes": shapes, "what": what, "variant": variant}
            answer = _ask(request)
            if isinstance(answer, str):
                return {"memory_note": answer}
            figures[f"{variant}_extra_mib"] = (answer.peak - answer.rest) / MEBIBYTE
            figures[f"{variant}_peak_mib"] = answer.peak / MEBIBYTE
    return figures


def _ask(request: dict[str, Any]) -> _Memory | str:
    """The memory a fresh process takes; or why there is no telling."""
    command = [sys.executable, "-m", __name__, json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
        return f"memory could not be measured in a process of its own: {last_line[:200]}"
    return _Memory(**json.loads(done.stdout.splitlines()[-1]))


def _resident(line: str) -> int:
    """Bytes from /proc: VmRSS, resident now, or VmHWM, the most there was."""
    with open("/proc/self/status") as file:
        return next(int(each.split()[1]) * 1024 for each in file if each.startswith(line))


def _memory_of_pass(path: str, shapes: Sequence[Shape], what: str, variant: str) -> _Memory:
    """Loads a model, runs a pass of it three times, and tells what that took.

    Args:
        path: of the model.
        shapes: of its inputs.
        what: "forward" or "training".
        variant: "keras" or "ostinato".
    """
    model = to_keras(path)
    packed, targets, _ = _problem(model, make_inputs(model, shapes), what)
    model = (accelerate if variant == "ostinato" else to_keras)(model)
    call = _call(what, model, model.trainable_variables, packed, targets)
    call.trace()
    gc.collect()
    try:
        # From here on the peak is that of the pass, not that of loading the model.
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        rest = _resident("VmHWM")
    else:
        rest = _resident("VmRSS")
    for _ in range(3):
        call()
    return _Memory(rest, max(rest, _resident("VmHWM")))


def finite(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures as JSON has them: None in place of what is infinite or not a number."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }


if __name__ == "__main__":
    print(json.dumps(_memory_of_pass(**json.loads(sys.argv[1]))._asdict()))
