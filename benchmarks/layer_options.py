"""What options cost: recurrent dropout, and batches whose rows end early.

    python benchmarks/layer_options.py                         # about a minute
    python benchmarks/layer_options.py --rounds 15

All figures are of one `tf.function`, the forward and the backward pass of a layer at `training=True`, with
gradients for inputs and weights, as `training` in `benchmarks/peers.py`. The variants live in one process and
run in turn, round after round; a turn is the median of what fits into 0.2 s, a figure the median over the
rounds.

Recurrent dropout is compared with the same layer without it, and with Keras' layer that has it. A batch is
padded on the right to its longest row, 200 steps, and has 40 on average; it is compared with the same batch
where the mask skips nothing, and with Keras' layer on the padded one.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from comparison.layers import Layer, keras_layer, problem
from comparison.machine import THREADS, environment, processor
from comparison.tables import check, check_table, report
from comparison.workers import TURN_SECONDS
from keras_fit import RESULTS, in_turn
from peers import PEERS, median_seconds, versions

RATE = 0.2
DROPOUT_LAYER = Layer.parse("lstm-32x35x28-256")
PADDED_LAYERS = (Layer.parse("lstm-64x200x32-64"), Layer.parse("lstm-64x200x64-256"))
MEAN_LENGTH = 0.2
WANTED_COST, WANTED_OVER_KERAS_DROPOUT = 1.35, 5.0
WANTED_OVER_FULL, WANTED_OVER_KERAS_PADDED = 3.0, 6.0

Call = Callable[[], Any]


def training(layers: Any, layer: Layer, mask: np.ndarray | None = None, **options: Any) -> Call:
    """Outputs and gradients of a layer, as a compiled function.

    Args:
        layers: `keras.layers` or `ostinato.layers`.
        layer: its cell and sizes.
        mask: shape (batch, time), False where a step is skipped.
        **options: of the layer.
    """
    import tensorflow as tf

    given = problem(layer)
    built = keras_layer(layers, layer, given, **options)

    @tf.function
    def run(x, upstream, mask):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = built(x, mask=mask, training=True)
        return [y, *tape.gradient(y, [x, *built.trainable_variables], output_gradients=upstream)]

    x, upstream = tf.constant(given.x), tf.constant(given.upstream)
    steps = None if mask is None else tf.constant(mask)
    return lambda: run(x, upstream, steps)


def padded_mask(layer: Layer) -> np.ndarray:
    """Rows of which the longest fills the batch and the mean is a fifth of it; most are shorter still."""
    random = np.random.default_rng(0)
    lengths = random.beta(1.0, 1.0 / MEAN_LENGTH - 1.0, layer.batch)
    lengths[lengths.argmax()] = 0.0
    longest = lengths.argmin()
    others = MEAN_LENGTH * layer.batch * layer.time - layer.time
    lengths = np.clip(np.rint(lengths * others / lengths.sum()), 1, layer.time)
    lengths[longest] = layer.time
    return np.arange(layer.time) < lengths[:, np.newaxis]


def same_results(title: str, ours: Call, theirs: Call) -> None:
    """Sees that outputs and gradients agree; SystemExit if they do not."""
    for a, b in zip(ours(), theirs(), strict=True):
        if not np.allclose(a, b, rtol=2e-3, atol=2e-3 * float(np.max(np.abs(b)))):
            raise SystemExit(f"{title}: outputs or gradients are not those of Keras")


def measure(calls: dict[str, Call], rounds: int, title: str) -> dict[str, float]:
    """Milliseconds of each call."""
    turns = {name: lambda call=call: median_seconds(call, TURN_SECONDS) for name, call in calls.items()}
    return in_turn(turns, rounds, title)


def recurrent_dropout(ours: Any, theirs: Any, engine: str, rounds: int) -> list[dict[str, Any]]:
    title = f"{DROPOUT_LAYER.title}, recurrent_dropout={RATE}"
    report(f"{title}: compiling")
    options = {"recurrent_dropout": RATE, "seed": 0}
    calls = {
        "without": training(ours, DROPOUT_LAYER, engine=engine),
        "ostinato": training(ours, DROPOUT_LAYER, engine=engine, **options),
        "keras": training(theirs, DROPOUT_LAYER, **options),
    }
    # Of the same seed both draw the same masks, the first time as every time.
    same_results(title, calls["ostinato"], calls["keras"])
    ms = measure(calls, rounds, title)
    cost, ratio = ms["ostinato"] / ms["without"], ms["keras"] / ms["ostinato"]
    least = WANTED_OVER_KERAS_DROPOUT
    return [
        check(f"{title}: time", ms, "ms", None, ""),
        check(
            "the same over the layer without it",
            {"cost": cost},
            "×",
            cost <= WANTED_COST,
            f"≤ {WANTED_COST} ×",
        ),
        check("Keras' layer with it over ours", {"ratio": ratio}, "×", ratio >= least, f"≥ {least:g} ×"),
    ]


def padded(layer: Layer, ours: Any, theirs: Any, engine: str, rounds: int) -> list[dict[str, Any]]:
    mask = padded_mask(layer)
    title = f"{layer.title}, rows of {mask.sum(axis=1).mean():.1f} steps on average"
    report(f"{title}: compiling")
    calls = {
        "nothing skipped": training(ours, layer, np.ones_like(mask), engine=engine),
        "ostinato": training(ours, layer, mask, engine=engine),
        "keras": training(theirs, layer, mask),
    }
    same_results(title, calls["ostinato"], calls["keras"])
    ms = measure(calls, rounds, title)
    saved, ratio = ms["nothing skipped"] / ms["ostinato"], ms["keras"] / ms["ostinato"]
    least, least_over_keras = WANTED_OVER_FULL, WANTED_OVER_KERAS_PADDED
    return [
        check(f"{title}: time", ms, "ms", None, ""),
        check("a mask that skips nothing over it", {"ratio": saved}, "×", saved >= least, f"≥ {least:g} ×"),
        check(
            "Keras' layer on the padded batch over ours",
            {"ratio": ratio},
            "×",
            ratio >= least_over_keras,
            f"≥ {least_over_keras:g} ×",
        ),
    ]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What recurrent dropout costs, and what a mask saves.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engine", default="native", help="what runs ostinato's layers")
    parser.add_argument("--out", type=Path, default=RESULTS / "layer_options.json", metavar="FILE.json")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    os.environ.update(environment("ostinato"))
    peer = PEERS["ostinato"](THREADS, options.engine)
    import keras

    import ostinato.layers

    given = (ostinato.layers, keras.layers, options.engine, options.rounds)
    rows = recurrent_dropout(*given)
    for layer in PADDED_LAYERS:
        rows += padded(layer, *given)
    print(check_table(rows))
    results = {
        "machine": {"processor": processor(), "threads": THREADS},
        "versions": versions(peer.packages),
        "engine": {"name": options.engine, **peer.facts},
        "rounds": options.rounds,
        "checks": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
