"""Training scripts as people write them: what they learn and answer must not depend on whose layers they use.

A script is a function of `recurrent`, the module that its recurrent layers come from, and `convert`, which it
calls on its compiled model. It runs with Keras' layers, with ostinato's in their place, and with its model
accelerated; it seeds nothing itself.
"""

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import ostinato
from ostinato.engines import native

from ...eagerly import run_eagerly
from ...variants import THOROUGH, thorough

SEED = 11


class Outcome(NamedTuple):
    """What a script leaves behind.

    Attributes:
        losses: of training and validation, with the metrics: a history of Keras, or several.
        predictions: arrays, in any structure.
        answers: what a person would read: decoded texts, summaries, names.
        models: what the native engine has to run.
        forward: runs the models over several steps of time.
    """

    losses: Any
    predictions: Any
    answers: Any
    models: list[keras.layers.Layer]
    forward: Callable[[], Any]


Script = Callable[[Any, Callable[[Any], Any]], Outcome]


def in_place(model: keras.Model) -> keras.Model:
    return ostinato.accelerate(model, copy=False)


_RUNS = {
    "stock": (keras.layers, lambda model: model),
    "layers": (ostinato.layers, lambda model: model),
    "in place": (keras.layers, in_place),
    "copied": (keras.layers, ostinato.accelerate),
}


def ways(*always: str) -> list[Any]:
    """The ways to run a script with our layers, as parameters: some in every run, all with `--thorough`.

    "layers" takes `ostinato.layers` for `keras.layers`, "in place" is `accelerate(model, copy=False)`, and
    "copied" `accelerate(model)`.
    """
    return [way if way in always else thorough(way) for way in _RUNS if way != "stock"]


def run(script: Script, way: str) -> Outcome:
    keras.utils.clear_session()  # layers get the same names in every run
    keras.utils.set_random_seed(SEED)
    return script(*_RUNS[way])


@functools.cache
def stock(script: Script) -> Outcome:
    """The outcome with Keras' own layers, for whose loops TensorFlow takes seconds to make graphs."""
    with contextlib.nullcontext() if THOROUGH in os.environ else run_eagerly():
        return run(script, "stock")


def assert_drop_in(script: Script, way: str) -> None:
    """The script has the outcome that it has with Keras' own layers, and the native engine ran it."""
    expected, found = stock(script), run(script, way)
    assert_close(found.losses, expected.losses, rtol=1e-5)
    assert_close(found.predictions, expected.predictions, rtol=1e-4, atol=1e-5)
    assert found.answers == expected.answers
    if native.available():
        assert not native_ops(expected.forward)
        assert_native(found, expected, converted=way != "layers")


def assert_close(found: Any, expected: Any, **tolerance: float) -> None:
    keras.tree.assert_same_structure(found, expected)
    for ours, theirs in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        assert np.all(np.isfinite(theirs))
        np.testing.assert_allclose(ours, theirs, **tolerance)


def assert_native(found: Outcome, expected: Outcome, *, converted: bool) -> None:
    """Every layer has the engine that was promised; layers of a name of ostinato's have the native one."""
    rows, before = (
        [row for model in outcome.models for row in ostinato.report(model, measure=False)]
        for outcome in (found, expected)
    )
    assert {row.engine for row in before} == {"keras"}
    named = [row.engine for row in rows if not row.kind.startswith("RNN(")]
    assert named == ["native"] * len(named)
    if converted:
        assert [row.engine for row in rows] == [row.accelerated for row in before]
    assert bool(native_ops(found.forward)) == ("native" in {row.engine for row in rows})


def native_ops(forward: Callable[[], Any]) -> set[str]:
    """The native engine's ops in what a function computes."""
    graph = tf.function(forward).get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {node.op for node in nodes if node.op.startswith("Ostinato")}
