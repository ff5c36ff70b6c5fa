"""What the optimizer is of a training step, and what one op for all weights saves of it.

    python benchmarks/optimizers.py                       # on all threads
    python benchmarks/optimizers.py --threads 1 --rounds 400

A step is the forward and backward pass of a small Keras model with ostinato's layers and the update, in one
`tf.function`: without an update, with Keras' Adam, and with `ostinato.optimizers.Adam`. The updates alone are
those of gradients that are there already. All take turns, round after round, every other round backwards. A
figure is the median over the rounds. Beside the time stands that of the processor, of all threads together,
which other programs on the machine disturb less; threads that wait for others count in it, too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from comparison.machine import RESULTS, THREADS, processor


def models() -> dict[str, tuple[Callable[[], Any], Any]]:
    """Networks and their inputs."""
    import keras
    import numpy as np

    import ostinato.layers

    def network(inputs: Any, x: Any, *units: int) -> Any:
        for number, count in enumerate(units, 1):
            x = ostinato.layers.GRU(count, return_sequences=number < len(units))(x)
        return keras.Model(inputs, keras.layers.Dense(1)(x))

    def of_words(words: int, width: int, *units: int) -> Callable[[], Any]:
        def make() -> Any:
            inputs = keras.Input((35,), batch_size=32, dtype="int32")
            return network(inputs, keras.layers.Embedding(words, width)(inputs), *units)

        return make

    def of_numbers() -> Any:
        inputs = keras.Input((100, 8), batch_size=64)
        return network(inputs, inputs, 16)

    random = np.random.default_rng(0)
    ids, numbers = (
        random.integers(5000, size=(32, 35)).astype("i4"),
        random.normal(size=(64, 100, 8)).astype("f4"),
    )
    return {
        "GRU 64x100x8 to 16": (of_numbers, numbers),
        "5,000 words x 32, GRU 16, 8, 4": (of_words(5000, 32, 16, 8, 4), ids),
        "20,000 words x 64, GRU 64": (of_words(20_000, 64, 64), ids),
    }


def measured(make: Callable[[], Any], x: Any, rounds: int) -> dict[str, Any]:
    """Milliseconds of each step and update, and of its processors."""
    import keras
    import tensorflow as tf

    import ostinato

    inputs, targets = tf.constant(x), tf.ones((len(x), 1))

    def turns_of(optimizer: Any) -> list[Callable[[], Any]]:
        model = make()
        weights = model.trainable_variables

        def gradients() -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(model(inputs, training=True) - targets))
            return tape.gradient(loss, weights)

        if optimizer is None:
            return [tf.function(gradients)]
        optimizer.build(weights)
        found = tf.function(gradients)()
        alone = tf.function(lambda: optimizer.apply(found, weights))
        return [tf.function(lambda: optimizer.apply(gradients(), weights)), alone]

    turns = {"no update": turns_of(None)[0]}
    for name, optimizer in (("keras", keras.optimizers.Adam()), ("ostinato", ostinato.optimizers.Adam())):
        turns[name], turns[f"{name} alone"] = turns_of(optimizer)
    seconds = {name: [] for name in turns}
    for number in range(-3, rounds):
        for name in list(turns) if number % 2 else list(turns)[::-1]:
            began, on_processors = time.perf_counter(), time.process_time()
            turns[name]()
            took = time.perf_counter() - began, time.process_time() - on_processors
            if number >= 0:
                seconds[name].append(took)
    figures = {
        name: {
            "ms": round(1e3 * statistics.median(each[0] for each in times), 3),
            "least ms": round(1e3 * min(each[0] for each in times), 3),
            "processor ms": round(1e3 * statistics.median(each[1] for each in times), 3),
        }
        for name, times in seconds.items()
    }

    def ratio(one: str, other: str, kind: int) -> float:
        pairs = zip(seconds[one], seconds[other], strict=True)
        return round(statistics.median(a[kind] / b[kind] for a, b in pairs), 2)

    figures["keras / ostinato"] = {
        "step": ratio("keras", "ostinato", 0),
        "step, processor": ratio("keras", "ostinato", 1),
        "update": ratio("keras alone", "ostinato alone", 0),
        "update, processor": ratio("keras alone", "ostinato alone", 1),
    }
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(given.threads)
    tf.config.threading.set_inter_op_parallelism_threads(given.threads)
    found: dict[str, Any] = {"processor": processor(), "threads": given.threads, "rounds": given.rounds}
    found["load before"] = os.getloadavg()[0]
    for title, (make, x) in models().items():
        found[title] = measured(make, x, given.rounds)
        print(title, json.dumps(found[title], indent=1), flush=True)
    found["load after"] = os.getloadavg()[0]
    path = RESULTS / f"optimizers-{given.threads}-threads.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
