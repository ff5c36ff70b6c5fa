"""The time that a forward pass, or a forward and backward pass, of a model takes.

The passes of two variants run in turn in one process, round after round, on the same inputs, so a slow moment
of the machine affects both. Each figure is the median over the rounds. A pass runs as Keras would run it: as
a `tf.function`, which XLA compiles if `model.jit_compile` says so.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from ostinato.acceleration.inputs import Nested, compute_loss, make_targets, pack_inputs
from ostinato.errors import ConfigError

TURN_SECONDS = 0.2
VARIANTS = ("keras", "ostinato")

PassKey = tuple[str, str]
"""A kind of pass, "forward" or "training", and a variant."""


class CompiledPass:
    """A compiled function of a model, and the arguments of its calls."""

    def __init__(self, function: Callable[..., list], model: keras.Model, arguments: Sequence[Nested]):
        self._function = tf.function(function, jit_compile=True if model.jit_compile else None)
        self._arguments = arguments
        self._has_gpu = bool(tf.config.get_visible_devices("GPU"))

    def trace(self) -> None:
        """Makes the graph without running it."""
        self._function.get_concrete_function(*self._arguments)

    def __call__(self) -> list:
        results = self._function(*self._arguments)
        if self._has_gpu:
            tf.test.experimental.sync_devices()
        return results


def prepare(model: keras.Model, inputs: list[tf.Tensor], kind: str) -> tuple[Nested, Nested, str]:
    """What a pass needs.

    Args:
        model: the model, which gets its weights if it has none yet.
        inputs: its inputs, in a flat list.
        kind: "forward" or "training".

    Returns:
        The inputs in the structure of the model; targets for its loss, None without one; the loss's name.

    Raises:
        ConfigError: there is nothing to train.
    """
    packed = pack_inputs(model, inputs)
    outputs = tf.function(lambda x: model(x, training=False))(packed)
    if kind != "training":
        return packed, None, ""
    if not model.trainable_variables:
        raise ConfigError(f"the model {model.name} has no trainable weights; there is no training to measure")
    return packed, *make_targets(model, packed, outputs)


def compile_pass(
    kind: str, model: keras.Model, weights: Sequence[keras.Variable], x: Nested, y: Nested
) -> CompiledPass:
    """A pass of a model: its outputs, or its loss and the gradients for the weights that have one.

    Args:
        kind: "forward" or "training".
        model: the model.
        weights: the weights to take gradients for.
        x, y: from `prepare`.
    """

    def forward(x: Nested) -> list:
        return keras.tree.flatten(model(x, training=False))

    def training(x: Nested, y: Nested) -> list:
        with tf.GradientTape() as tape:
            loss = compute_loss(model, x, y, model(x, training=True))
        gradients = tape.gradient(loss, weights)
        return [loss, *[gradient for gradient in gradients if gradient is not None]]

    if kind == "forward":
        return CompiledPass(forward, model, [x])
    return CompiledPass(training, model, [x, y])


def measure_milliseconds(
    passes: Mapping[PassKey, Callable[[], object]], rounds: int, on_progress: Callable[[str, int], None]
) -> dict[PassKey, float]:
    """Milliseconds of each pass: the median over the rounds, with the variants in turn.

    Args:
        passes: the passes, for all kinds and variants.
        rounds: how often to time each.
        on_progress: called with what is being done, and the steps done.
    """
    seconds: dict[PassKey, list[float]] = {key: [] for key in passes}
    kinds, done = list(dict.fromkeys(kind for kind, _ in passes)), 0
    for number in range(rounds):
        for kind in kinds:
            on_progress(f"round {number + 1} of {rounds}, {kind}", done)
            for variant in VARIANTS if number % 2 == 0 else VARIANTS[::-1]:
                seconds[kind, variant].append(_median_seconds(passes[kind, variant]))
            done += 1
    return {key: 1e3 * statistics.median(times) for key, times in seconds.items()}


def _median_seconds(run: Callable[[], object]) -> float:
    """The time of a pass. A first run fills the caches, which hold the other variant's data."""
    run()
    times: list[float] = []
    until = time.perf_counter() + TURN_SECONDS
    while not times or time.perf_counter() < until:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
