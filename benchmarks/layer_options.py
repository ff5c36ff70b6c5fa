"""What options cost: recurrent dropout, batches whose rows end early, and activations.

    python benchmarks/layer_options.py                         # some minutes
    python benchmarks/layer_options.py --only activations      # a part, which is printed and not written
    python benchmarks/layer_options.py --rounds 15

All figures are of one `tf.function`, the forward and the backward pass of a layer at `training=True`, with
gradients for inputs and weights, as `training` in `benchmarks/peers.py`. The variants live in one process and
run in turn, round after round; a turn is the median of what fits into 0.2 s, a figure the median over the
rounds.

Recurrent dropout is compared with the same layer without it, and with Keras' layer that has it. A batch is
padded on the right to its longest row, 200 steps, and has 40 on average; it is compared with the same batch
where the mask skips nothing, and with Keras' layer on the padded one. `lengths` compares a batch of 64 rows
of 50 steps on average, padded to 200, with the full one: what is above the share of the steps that are left
is the price of the skipped ones. `taskset -c 0` measures all of it on one thread.

Each activation of the engine, as `activation` and as `recurrent_activation`, is compared with the layer that
has tanh and sigmoid, forward and forward + backward.
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
ACTIVATION_LAYERS = tuple(
    Layer.parse(name)
    for name in ("lstm-32x35x28-256", "gru-32x35x28-256", "lstm-64x100x8-16", "gru-64x100x8-16")
)
LENGTHS_LAYERS = (Layer.parse("lstm-64x200x32-64"), Layer.parse("lstm-64x200x64-256"))
WANTED_ACTIVATION_COST, WANTED_OVER_SHARE = 1.15, 1.15
PARTS = ("dropout", "padded", "lengths", "activations")

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


def forward(layers: Any, layer: Layer, lengths: np.ndarray | None = None, **options: Any) -> Call:
    """Outputs of a layer at `training=False`, as a compiled function; arguments as for `training`."""
    import tensorflow as tf

    given = problem(layer)
    built = keras_layer(layers, layer, given, **options)
    run = tf.function(lambda x, mask: built(x, mask=mask), autograph=False)
    x, mask = tf.constant(given.x), None if lengths is None else tf.constant(steps_of(layer, lengths))
    return lambda: run(x, mask)


def steps_of(layer: Layer, lengths: np.ndarray) -> np.ndarray:
    """The mask of rows of these lengths."""
    return np.arange(layer.time) < lengths[:, np.newaxis]


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


def lengths_rows(layer: Layer, ours: Any, engine: str, rounds: int) -> list[dict[str, Any]]:
    """Time of a batch of a quarter of the steps over a quarter of the time of the full one."""
    random = np.random.default_rng(0)
    lengths = random.integers(1, layer.time // 2, layer.batch)
    share = float(lengths.sum()) / (layer.batch * layer.time)
    title = f"{layer.title}, lengths of {lengths.mean():.1f} on average"
    report(f"{title}: compiling")
    full = np.full(layer.batch, layer.time)
    calls = {
        "forward, full": forward(ours, layer, full, engine=engine),
        "forward": forward(ours, layer, lengths, engine=engine),
        "both, full": training(ours, layer, steps_of(layer, full), engine=engine),
        "both": training(ours, layer, steps_of(layer, lengths), engine=engine),
    }
    ms = measure(calls, rounds, title)
    rows = [check(f"{title}: time", ms, "ms", None, "")]
    for part in ("forward", "both"):
        over = ms[part] / ms[f"{part}, full"] / share
        most = WANTED_OVER_SHARE
        rows.append(
            check(f"{part}: over the share of steps", {"cost": over}, "×", over <= most, f"≤ {most} ×")
        )
    return rows


def activations(layer: Layer, ours: Any, engine: str, rounds: int) -> list[dict[str, Any]]:
    """Each activation in each place, over tanh and sigmoid."""
    from ostinato.engines.activations import FUNCTIONS
    from ostinato.interop.keras.legacy import keras2_hard_sigmoid

    given: dict[str, Any] = {name: name for name in FUNCTIONS}
    given["keras2_hard_sigmoid"] = keras2_hard_sigmoid
    rows = []
    for how, make in (("forward", forward), ("forward + backward", training)):
        title = f"{layer.title}, {how}"
        report(f"{title}: compiling")
        calls = {"tanh, sigmoid": make(ours, layer, engine=engine)}
        for option in ("activation", "recurrent_activation"):
            for name, function in given.items():
                if (option, name) not in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
                    calls[f"{option}={name}"] = make(ours, layer, engine=engine, **{option: function})
        ms = measure(calls, rounds, title)
        usual = ms.pop("tanh, sigmoid")
        costs = {name: value / usual for name, value in ms.items()}
        slowest = max(costs, key=costs.__getitem__)
        most = WANTED_ACTIVATION_COST
        rows.append(
            check(
                f"{title}: activations over tanh and sigmoid",
                costs,
                "×",
                costs[slowest] <= most,
                f"≤ {most} ×",
            )
        )
    return rows


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What options of layers cost, and what a mask saves.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, help="what to measure")
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
    rows = recurrent_dropout(*given) if "dropout" in options.only else []
    for layer in PADDED_LAYERS if "padded" in options.only else ():
        rows += padded(layer, *given)
    for layer in LENGTHS_LAYERS if "lengths" in options.only else ():
        rows += lengths_rows(layer, ostinato.layers, options.engine, options.rounds)
    for layer in ACTIVATION_LAYERS if "activations" in options.only else ():
        rows += activations(layer, ostinato.layers, options.engine, options.rounds)
    print(check_table(rows))
    if set(options.only) != set(PARTS):
        return
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
