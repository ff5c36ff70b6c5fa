"""What is left of the engine's gain inside `model.fit`: Keras' layers and ostinato's, with a Dense head.

    python benchmarks/keras_fit.py                             # the layers of benchmarks/engine.py, 5 minutes
    python benchmarks/keras_fit.py --layers lstm-32x35x28-256 --rounds 3
    python benchmarks/keras_fit.py --from-json                 # measures nothing: shares of new results

A model is the layer, with all its outputs, and `Dense(1)`; Adam, mean squared error, one batch over and over
from a `tf.data.Dataset`, `steps_per_execution=16`. Everything else is Keras' default. Versions of Keras that
have XLA compile a model on CPU do so here too (Keras 3.15 does not), and the engine's gain over `keras-jit`
is then the one to compare with. Both models live in one process and train in turn, round after round; every
other round goes backwards. A turn is one call of `fit`, its time a step the median over its executions of 16
steps, without the first; a figure is the median over the rounds.

The gain of the engine, forward + backward of the layer alone, is read from `results/engine-PROCESSOR.json`;
one that is not there is measured here too, as in `benchmarks/engine.py`. On a machine that others use as
well, two runs do not compare: `--alone` measures it here for every layer.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from comparison.layers import LAYERS, Layer, keras_layer, problem
from comparison.machine import RESULTS, THREADS, environment, processor, results_file
from comparison.tables import report
from comparison.workers import TURN_SECONDS
from engine import layer_named
from peers import PEERS, median_seconds, versions

STEPS_PER_EXECUTION = 16
FIT_SECONDS, LEAST_EXECUTIONS = 1.0, 3
# The share of the engine's gain that is to be left, and from which step of Keras on it is to be more.
LONG_STEP_MS, WANTED_LONG, WANTED_SHORT = 150.0, 0.8, 0.5
VARIANTS = ("keras", "ostinato")


def in_turn(turns: Mapping[str, Callable[[], float]], rounds: int, title: str) -> dict[str, float]:
    """Milliseconds: the median over the rounds of what each turn returns in seconds.

    Args:
        turns: each measures something once.
        rounds: how often; every other round goes backwards.
        title: what is shown meanwhile.
    """
    seconds: dict[str, list[float]] = {key: [] for key in turns}
    for number in range(rounds):
        report(f"{title}: round {number + 1} of {rounds}")
        for key in list(turns) if number % 2 == 0 else list(turns)[::-1]:
            seconds[key].append(turns[key]())
    report("")
    return {key: 1e3 * statistics.median(times) for key, times in seconds.items()}


class Fit:
    """A compiled model and its data.

    Args:
        layer: the recurrent layer.
        variant: "keras" or "ostinato".
        engine: what runs ostinato's layers.
    """

    def __init__(self, layer: Layer, variant: str, engine: str):
        import keras
        import tensorflow as tf

        import ostinato.layers

        given = problem(layer)
        options = {"engine": engine} if variant == "ostinato" else {}
        layers: Any = ostinato.layers if variant == "ostinato" else keras.layers
        inputs = keras.Input((layer.time, layer.features), batch_size=layer.batch)
        outputs = keras_layer(layers, layer, given, **options)(inputs)
        initializer: Any = keras.initializers.GlorotUniform(seed=0)
        head = keras.layers.Dense(1, kernel_initializer=initializer)
        self.model: Any = keras.Model(inputs, head(outputs))
        self.model.compile("adam", "mse", steps_per_execution=STEPS_PER_EXECUTION)
        batch = given.x, given.upstream[..., :1]
        self._data = tf.data.Dataset.from_tensors(batch).repeat()
        self._executions = LEAST_EXECUTIONS

    def first_loss(self) -> float:
        """The loss of the first steps, which compiles; the number of executions in a turn follows."""
        loss = self._fit(1)[0]
        _, times = self._fit(LEAST_EXECUTIONS)
        self._executions = max(LEAST_EXECUTIONS, math.ceil(FIT_SECONDS / statistics.median(times)))
        return loss

    def step_seconds(self) -> float:
        _, times = self._fit(self._executions)
        return statistics.median(times) / STEPS_PER_EXECUTION

    def _fit(self, executions: int) -> tuple[float, list[float]]:
        """The loss, and the seconds of each execution after one that finds `fit` still starting up."""
        import keras

        ends: list[float] = []
        clock = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
        )
        steps = STEPS_PER_EXECUTION * (executions + 1)
        options = {"steps_per_epoch": steps, "shuffle": False, "verbose": 0, "callbacks": [clock]}
        history = self.model.fit(self._data, **options)
        return history.history["loss"][0], np.diff(ends).tolist()


def row(layer: Layer, engine: str, rounds: int, gains: dict[tuple[str, str], float]) -> dict[str, Any]:
    """The figures of a layer.

    Raises:
        SystemExit: the two models do not learn the same.
    """
    report(f"{layer.name}: compiling")
    fits = {variant: Fit(layer, variant, engine) for variant in VARIANTS}
    losses = [fit.first_loss() for fit in fits.values()]
    if abs(losses[0] - losses[1]) > 2e-3 * abs(losses[0]):
        raise SystemExit(f"{layer.name}: the losses of the first steps are {losses[0]} and {losses[1]}")
    ms = in_turn({variant: fit.step_seconds for variant, fit in fits.items()}, rounds, layer.name)
    xla = bool(fits["keras"].model.jit_compile)
    rival = "keras-jit" if xla else "keras"
    gain = gains.get((layer.name, rival))
    read = gain is not None
    if gain is None:
        gain = measured_gain(layer, rival, engine, rounds)
    return {
        "layer": layer.name,
        "title": layer.title,
        "keras_ms": ms["keras"],
        "ostinato_ms": ms["ostinato"],
        "keras_compiled_by_xla": xla,
        **share_left(ms["keras"], ms["ostinato"], gain),
        "engine_ratio_from": results_file().name if read else "this run",
    }


def share_left(keras_ms: float, ostinato_ms: float, gain: float) -> dict[str, Any]:
    """What of the engine's gain is left within `fit`, and whether that is enough."""
    ratio, wanted = keras_ms / ostinato_ms, WANTED_LONG if keras_ms > LONG_STEP_MS else WANTED_SHORT
    share = ratio / gain
    return {"ratio": ratio, "engine_ratio": gain, "share": share, "wanted": wanted, "held": share >= wanted}


def with_gains(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of an earlier run, their shares those of the engine's gains now."""
    found = []
    for each in rows:
        gains = engine_gains(RESULTS / each["engine_ratio_from"])
        gain = gains.get((each["layer"], "keras-jit" if each["keras_compiled_by_xla"] else "keras"))
        if gain is not None:
            each = each | share_left(each["keras_ms"], each["ostinato_ms"], gain)
        found.append(each)
    return found


def measured_gain(layer: Layer, rival: str, engine: str, rounds: int) -> float:
    """How many times faster the layer alone is, forward + backward."""
    calls = {peer: PEERS[peer](THREADS, engine).training(layer) for peer in ("ostinato", rival)}
    turns = {peer: lambda call=call: median_seconds(call, TURN_SECONDS) for peer, call in calls.items()}
    ms = in_turn(turns, rounds, f"{layer.name} alone")
    return ms[rival] / ms["ostinato"]


def engine_gains(path: Path) -> dict[tuple[str, str], float]:
    """The ratios of `benchmarks/engine.py`, by layer and rival; none where it has not run."""
    if not path.exists():
        return {}
    rows = json.loads(path.read_text())["layers"]
    threads = max((row["threads"] for row in rows), default=0)
    return {
        (found["layer"], rival): ratio
        for found in rows
        if found["pass"] == "training" and found["threads"] == threads
        for rival, ratio in found["ratios"].items()
    }


def table(rows: list[dict[str, Any]]) -> str:
    header = [
        "`model.fit`",
        "keras, ms a step",
        "ostinato",
        "ratio",
        "layer alone",
        "share of it left",
        "wanted",
        "held",
    ]
    lines = [header, ["---", *["---:"] * (len(header) - 2), "---"]]
    for each in rows:
        mark = " (XLA)" if each["keras_compiled_by_xla"] else ""
        figures = [f"{each['keras_ms']:.3g}{mark}", f"{each['ostinato_ms']:.3g}", f"{each['ratio']:.2f}"]
        share = f"{each['share']:.2f}" if each["held"] else f"**{each['share']:.2f}**"
        held = "yes" if each["held"] else "no"
        lines.append(
            [each["title"], *figures, f"{each['engine_ratio']:.2f}", share, f"{each['wanted']:g}", held]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Keras' layers and ostinato's inside model.fit.")

    parser.add_argument(
        "--layers",
        type=layer_named,
        nargs="+",
        default=[Layer.parse(name) for name in LAYERS],
        metavar="NAME",
        help="like lstm-32x35x28-256; cells are lstm, gru, gru-before, rnn",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="measure each layer alone too; read no file")
    parser.add_argument(
        "--from-json",
        action="store_true",
        help="measure nothing; shares of what --out has, by the engine's results",
    )
    parser.add_argument("--engine", default="native", help="what runs ostinato's layers")
    parser.add_argument("--out", type=Path, default=RESULTS / "keras_fit.json", metavar="FILE.json")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    if options.from_json:
        results = json.loads(options.out.read_text())
        results["layers"] = with_gains(results["layers"])
        print(table(results["layers"]))
        options.out.write_text(json.dumps(results, indent=2) + "\n")
        return
    os.environ.update(environment("ostinato"))
    # Made before anything runs on TensorFlow, which then has its number of threads.
    peer = PEERS["ostinato"](THREADS, options.engine)
    import keras

    gains = {} if options.alone else engine_gains(results_file())
    rows = []
    for layer in options.layers:
        rows.append(row(layer, options.engine, options.rounds, gains))
        keras.backend.clear_session()
    print(table(rows))
    held = sum(each["held"] for each in rows)
    print(
        f"\n{THREADS} threads, Adam, steps_per_execution={STEPS_PER_EXECUTION}, medians of {options.rounds} "
        f"rounds. {held} of {len(rows)} wanted shares hold."
    )
    results = {
        "machine": {"processor": processor(), "threads": THREADS},
        "versions": versions(peer.packages),
        "engine": {"name": options.engine, **peer.facts},
        "rounds": options.rounds,
        "steps_per_execution": STEPS_PER_EXECUTION,
        "layers": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
