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
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ostinato.engines import choose
from ostinato.errors import ConfigError, OstinatoError
from ostinato.layers.accelerate import accelerate, restore

BATCH, TIME, SEED = 32, 100, 0
TURN_SECONDS = 0.2
MEBIBYTE = 1 << 20
VARIANTS = ("keras", "ostinato")
# A gradient this many times smaller than the largest of the model is rounding error of the larger ones.
NEGLIGIBLE = 1e-3

Shape = tuple[int, ...]
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
    theirs = restore(model)
    if not _recurrent_layers(theirs):
        name = theirs.name if isinstance(model, keras.Model) else model
        raise ConfigError(f"the model {name} has no SimpleRNN, GRU or LSTM layer, so nothing to accelerate")
    inputs = make_inputs(theirs, shapes)
    given = [_sizes(array) for array in inputs]
    with _telling_shapes(given):
        packed, targets, loss = _problem(theirs, inputs, passes[-1])
        ours = accelerate(theirs)
        for copy in (theirs, ours):
            _forget(copy)
        calls = _calls(theirs, ours, passes, packed, targets)
    layers = _recurrent_layers(ours)
    choices = [choose(getattr(layer, "engine", "keras"), layer) for layer in layers]
    results = {key: [_array(each) for each in call()] for key, call in calls.items()}
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
        inputs=" ".join(map(_commas, given)),
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


def make_inputs(model: Any, shapes: Sequence[Sequence[int]] = ()) -> list[tf.Tensor]:
    """Made-up inputs for a model, the same each time.

    Args:
        model: a Keras model.
        shapes: of each input, batch included; by default the model's own.

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
        wanted = _fitted(expected, shapes)
    random = np.random.default_rng(SEED)
    return [_random(random, *each) for each in wanted]


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
    if not shapes:
        shapes = [_closed(each.shape) for each in expected]
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
                f"the shape {_commas(shape)} does not fit the input {each.name} of the model, which is "
                f"{_commas('any' if size is None else size for size in each.shape)} (batch first)"
            )
        if each.dtype == "string":
            raise ConfigError(
                f"the input {each.name} of the model is text, which cannot be made up; measure the part of "
                "the model that follows"
            )
    return [(tuple(shape), each.dtype, each.ids) for each, shape in zip(expected, shapes, strict=True)]


def _sizes(array: tf.Tensor) -> Shape:
    return tuple(tf.shape(array).numpy().tolist())


def _commas(sizes: Iterable[Any]) -> str:
    return ",".join(map(str, sizes))


def _closed(shape: tuple[int | None, ...]) -> Shape:
    """A shape with a size for every open one: the batch, the time, and 1 for whatever follows."""
    defaults = (BATCH, TIME, *[1] * len(shape))
    return tuple(default if size is None else size for size, default in zip(shape, defaults, strict=False))


def _random(random: np.random.Generator, shape: Shape, dtype: str, ids: tuple[int, int] | None) -> tf.Tensor:
    if ids is not None:
        return tf.cast(random.integers(*ids, size=shape), dtype)
    if dtype == "bool":
        return tf.ones(shape, tf.bool)  # a mask, as far as anyone can tell: nothing is skipped
    if "int" in dtype:
        return tf.cast(random.integers(0, 2, size=shape), dtype)
    return tf.cast(random.standard_normal(shape, np.float32), dtype)


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


def _recurrent_layers(model: Any) -> list[Any]:
    kinds = (keras.layers.SimpleRNN, keras.layers.GRU, keras.layers.LSTM)
    return [layer for layer in model._flatten_layers() if isinstance(layer, kinds)]


def _problem(model: Any, inputs: list[tf.Tensor], what: str) -> tuple[Any, Any, str]:
    """Inputs as the model is called with them, targets for its loss (None without one), and what that is."""
    packed = _packed(model, inputs)
    outputs = tf.function(lambda x: model(x, training=False))(packed)  # a model may get its weights only now
    if what != "training":
        return packed, None, ""
    if not model.trainable_variables:
        raise ConfigError(f"the model {model.name} has no trainable weights; there is no training to measure")
    return packed, *_targets(model, packed, outputs)


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
        given = " and ".join(map(_commas, shapes))
        raise ConfigError(f"the model does not run on inputs of shape {given}: {_sentence(error)}") from error


def _packed(model: Any, inputs: list[tf.Tensor]) -> Any:
    """Inputs in the structure the model is called with."""
    structure = getattr(getattr(model, "_functional", None) or model, "_inputs_struct", None)
    if structure is not None:
        return keras.tree.pack_sequence_as(structure, inputs)
    return inputs[0] if len(inputs) == 1 else inputs


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
            loss = _loss(model, x, y, model(x, training=True))
        gradients = tape.gradient(loss, weights)
        return [loss, *[gradient for gradient in gradients if gradient is not None]]

    if what == "forward":
        return _Call(forward, model, [packed])
    return _Call(training, model, [packed, targets])


def _loss(model: Any, x: Any, y: Any, outputs: Any) -> Any:
    if y is not None:
        return model.compute_loss(x=x, y=y, y_pred=outputs, training=True)
    squares = [tf.reduce_mean(tf.square(tf.cast(each, tf.float32))) for each in keras.tree.flatten(outputs)]
    return tf.add_n([*squares, *[tf.cast(loss, tf.float32) for loss in model.losses]])


def _targets(model: Any, x: Any, outputs: Any) -> tuple[Any, str]:
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
    targets = [_target(random, name, output) for name, output in zip(names, flat, strict=True)]
    packed = keras.tree.pack_sequence_as(outputs, targets)
    try:
        model.compute_loss(x=x, y=packed, y_pred=outputs, training=True)
    except Exception:  # a loss may ask anything of its targets; that is no fault of the model
        return otherwise
    return packed, " + ".join(dict.fromkeys(names))


def _loss_name(loss: Any) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", "loss")


def _target(random: np.random.Generator, loss: str, output: tf.Tensor) -> tf.Tensor:
    """Something a loss of this name can compare an output with."""
    kind, shape = loss.lower().replace("_", ""), _sizes(output)
    if "sparse" in kind:
        return tf.constant(random.integers(0, shape[-1], size=shape[:-1]), tf.int32)
    if "binary" in kind:
        return tf.constant(random.integers(0, 2, size=shape), tf.float32)
    if "categorical" in kind:
        return tf.one_hot(random.integers(0, shape[-1], size=shape[:-1]), shape[-1])
    return tf.constant(random.uniform(size=shape), tf.float32)


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


def _array(tensor: Any) -> np.ndarray:
    """A result in full: the gradient of an Embedding comes as the rows that were read."""
    return np.asarray(tf.convert_to_tensor(tensor))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Absolute differences; none where both are infinite or not a number alike."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))


def _absolute_difference(theirs: Sequence[np.ndarray], ours: Sequence[np.ndarray]) -> float:
    pairs = zip(theirs, ours, strict=True)
    return max((float(np.max(_distances(a, b), initial=0.0)) for a, b in pairs), default=0.0)


def _relative_difference(theirs: Sequence[np.ndarray], ours: Sequence[np.ndarray]) -> float:
    sizes = [float(np.max(np.abs(array.astype(np.float64)), initial=0.0)) for array in theirs]
    least = NEGLIGIBLE * max(sizes, default=0.0)
    return max(
        (
            float(np.max(_distances(a, b), initial=0.0)) / (max(size, least) or 1.0)
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
    model = restore(path)
    packed, targets, _ = _problem(model, make_inputs(model, shapes), what)
    model = (accelerate if variant == "ostinato" else restore)(model)
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
