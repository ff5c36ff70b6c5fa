"""The time that a forward pass, or a forward and backward pass, of a model or layer takes.

The passes of two variants run in turn in one process, round after round, on the same inputs, so a slow
moment of the machine affects both. Each figure is a percentile of the single runs of all rounds. A pass runs
as Keras would run it: as a `tf.function`, which XLA compiles if `model.jit_compile` says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from ostinato.acceleration.inputs import Nested, compute_loss, make_targets
from ostinato.errors import ConfigError

TURN_SECONDS = 0.2
"""How long a pass runs in each round, at least."""
RUNS = 100
"""How many runs stand behind a figure, at least, so that the 99th percentile is not simply the slowest;"""
LONGEST_SECONDS = 10.0
"""but a pass does not run longer than this in all rounds together, nor less than once a round."""
VARIANTS = ("keras", "ostinato")

PassKey = tuple[str, str]
"""A kind of pass, "forward" or "training", and a variant."""


class Timing(NamedTuple):
    """The times of the single runs of a pass.

    Attributes:
        p50_ms, p99_ms: milliseconds that half of the runs, and 99 of 100, did not exceed.
        runs: how many runs there were.
    """

    p50_ms: float
    p99_ms: float
    runs: int


def graph_function(function: Callable[..., Any], *, jit_compile: bool = False) -> Any:
    """A `tf.function` without the warning that many functions from one place of the code are traced."""
    compiled = tf.function(function, jit_compile=True if jit_compile else None)
    compiled._omit_frequent_tracing_warning = True
    return compiled


class CompiledPass:
    """A compiled function of a model, and the arguments of its calls."""

    def __init__(self, function: Callable[..., list], arguments: Sequence[Nested], *, jit_compile: bool):
        self._function = graph_function(function, jit_compile=jit_compile)
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


def prepare(
    model: keras.layers.Layer, x: Nested, kind: str, options: Mapping[str, Nested] | None = None
) -> tuple[Nested, str]:
    """What a pass needs beside its inputs.

    Args:
        model: the model, which gets its weights if it has none yet.
        x: its inputs, in the structure of the model.
        kind: "forward" or "training".
        options: other arguments of its call.

    Returns:
        Targets for its loss, None without one; the loss's name.

    Raises:
        ConfigError: there is nothing to train.
    """
    outputs = graph_function(lambda x: model(x, training=False, **(options or {})))(x)
    if kind != "training":
        return None, ""
    if not model.trainable_variables:
        raise ConfigError(f"the model {model.name} has no trainable weights; there is no training to measure")
    return make_targets(model, x, outputs)


def compile_pass(
    kind: str,
    model: keras.layers.Layer,
    weights: Sequence[keras.Variable],
    x: Nested,
    y: Nested = None,
    *,
    options: Mapping[str, Nested] | None = None,
    jit_compile: bool | None = None,
) -> CompiledPass:
    """A pass of a model: its outputs, or its loss and the gradients for the weights that have one.

    Args:
        kind: "forward", or "training"; or "layer", which is training with gradients for the inputs, too.
        model: the model or layer.
        weights: the weights to take gradients for.
        x: its inputs.
        y: targets for its loss, from `prepare`.
        options: other arguments of its call.
        jit_compile: whether XLA compiles it; by default as the model says.
    """
    others = options or {}

    def forward(x: Nested) -> list:
        return keras.tree.flatten(model(x, training=False, **others))

    def training(x: Nested, y: Nested) -> list:
        sources = [*weights, *(keras.tree.flatten(x) if kind == "layer" else ())]
        with tf.GradientTape() as tape:
            if kind == "layer":
                tape.watch(x)
            loss = compute_loss(model, x, y, model(x, training=True, **others))
        gradients = tape.gradient(loss, sources)
        return [loss, *[gradient for gradient in gradients if gradient is not None]]

    jit = bool(getattr(model, "jit_compile", False)) if jit_compile is None else jit_compile
    if kind == "forward":
        return CompiledPass(forward, [x], jit_compile=jit)
    return CompiledPass(training, [x, y], jit_compile=jit)


def time_passes(
    passes: Mapping[PassKey, Callable[[], object]],
    rounds: int,
    on_progress: Callable[[str, int], None] = lambda what, done: None,
    *,
    turn_seconds: float | None = None,
    runs: int | None = None,
    warm: bool = True,
) -> dict[PassKey, Timing]:
    """The times of passes, with the variants in turn.

    Args:
        passes: the passes, for all kinds and variants.
        rounds: how often each has its turn.
        on_progress: called with what is being done, and the steps done.
        turn_seconds: how long a turn takes, at least; by default `TURN_SECONDS`.
        runs: how many runs all turns of a pass have together, at least, unless they take
            `LONGEST_SECONDS`; by default `RUNS`.
        warm: whether each turn begins with a run that is not timed, which fills the caches with the data of
            this variant; a long pass does so by itself.
    """
    seconds: dict[PassKey, list[float]] = {key: [] for key in passes}
    kinds, done = list(dict.fromkeys(kind for kind, _ in passes)), 0
    least = TURN_SECONDS if turn_seconds is None else turn_seconds
    in_a_turn = math.ceil((RUNS if runs is None else runs) / rounds)
    for number in range(rounds):
        for kind in kinds:
            on_progress(f"round {number + 1} of {rounds}, {kind}", done)
            for variant in VARIANTS if number % 2 == 0 else VARIANTS[::-1]:
                run = passes[kind, variant]
                if warm:
                    run()
                seconds[kind, variant] += _take_turn(run, least, in_a_turn, LONGEST_SECONDS / rounds)
            done += 1
    return {key: summarize(times) for key, times in seconds.items()}


def summarize(seconds: Sequence[float]) -> Timing:
    """The percentiles of the times of single runs."""
    p50, p99 = (1e3 * percentile(seconds, percent) for percent in (50, 99))
    return Timing(p50, p99, len(seconds))


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest of the values that at least so many percent of them do not exceed: the nearest rank."""
    rank = max(1, -(-percent * len(values) // 100))
    return sorted(values)[rank - 1]


def _take_turn(run: Callable[[], object], least: float, runs: int, longest: float) -> list[float]:
    """The seconds of single runs."""
    times: list[float] = []
    began = now = time.perf_counter()
    while not times or ((now - began < least or len(times) < runs) and now - began < max(least, longest)):
        before = time.perf_counter()
        run()
        now = time.perf_counter()
        times.append(now - before)
    return times
