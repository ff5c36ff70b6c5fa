"""What cells can and cannot do, as theory says: parity, adding and recall.

    python benchmarks/abilities.py              # three quarters of an hour, in results/abilities.json
    python benchmarks/abilities.py --only parity --cells lstm,mingru

Parity: a sequence of bits, and after each whether the ones so far are odd. Trained on lengths of 3 to 24,
asked after 250 bits. One layer of a recurrence whose state changes by factors between 0 and 1 that do not
depend on the state cannot do it at all lengths (Merrill et al. 2024, arXiv:2404.08819; Grazzi et al. 2024,
arXiv:2411.12537): its share of right answers stays near a half. A recurrence whose gates read the state
can.

Adding (Hochreiter & Schmidhuber 1997): 200 pairs of a number in [0, 1] and a mark, of which two are 1;
after the last the answer is the sum of the two marked numbers. Always answering 1 has a mean squared error
of 0.167. A layer with relu reads the pairs before the recurrence, the same for all cells, since a linear
recurrence cannot multiply.

Recall: 8 pairs of a key and a value, of 32 each, a pair at each step, and then one of the keys; the answer is
its value. A memory that keys address has a place for each pair. An LSTM with as many weights has to learn
where to put what.

Layers, units, steps and seeds are the same for all cells; in recall the number of weights is, and so the
units are not.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from comparison.machine import environment, processor
from comparison.tables import check, check_table, report
from keras_fit import RESULTS

ABLE = ("rnn", "gru", "lstm", "ln-lstm", "ln-gru", "peephole", "cifg", "slstm")
UNABLE = ("mingru", "minlstm", "rg-lru", "lru", "mlstm", "gated-delta")
ADDERS = ("lstm", "gru", "indrnn", "lru")
RECALLERS = ("gated-delta", "mlstm", "lstm")
PARITY_RIGHT, PARITY_WRONG, ADDING_ERROR = 0.99, 0.65, 0.01
RECALLED = {"gated-delta": (">=", 0.99), "lstm": ("<=", 0.6)}
OPTIONS: dict[str, dict[str, Any]] = {"lru": {"r_min": 0.9, "r_max": 0.999, "max_phase": 0.314}}
"""Beginnings for long memories, of cells that have a choice; the same in both tasks."""


class Settings(NamedTuple):
    """How a task is learnt."""

    units: int
    steps: int
    batch: int
    learning_rate: float
    seed: int = 1


PARITY = Settings(units=64, steps=4000, batch=64, learning_rate=3e-3)
ADDING = Settings(units=64, steps=3000, batch=64, learning_rate=3e-3)
RECALL = Settings(units=64, steps=2000, batch=64, learning_rate=3e-3)
LENGTHS, ASKED_AT, ADDED_STEPS = (3, 24), 250, 200
PAIRS, KEYS = 8, 32

Batches = Iterator[tuple[np.ndarray, np.ndarray]]


def bits(settings: Settings, lengths: tuple[int, int], seed: int) -> Batches:
    """Bits (batch, time, 2), one-hot, and the parity after each, (batch, time, 1)."""
    draw = np.random.default_rng(seed)
    while True:
        ones = draw.integers(0, 2, (settings.batch, draw.integers(lengths[0], lengths[1] + 1)))
        yield np.eye(2, dtype="float32")[ones], (ones.cumsum(1) % 2)[..., np.newaxis].astype("float32")


def pairs(settings: Settings, seed: int) -> Batches:
    """Numbers and marks, (batch, time, 2), and the sums, (batch, 1)."""
    draw = np.random.default_rng(seed)
    half = ADDED_STEPS // 2
    while True:
        numbers = draw.random((settings.batch, ADDED_STEPS))
        marks = np.zeros_like(numbers)
        rows = np.arange(settings.batch)
        marks[rows, draw.integers(0, half, settings.batch)] = 1
        marks[rows, draw.integers(half, ADDED_STEPS, settings.batch)] = 1
        sums = (numbers * marks).sum(1, keepdims=True)
        yield np.stack([numbers, marks], -1).astype("float32"), sums.astype("float32")


def keys_and_values(settings: Settings, seed: int) -> Batches:
    """Keys and values, (batch, 9, 64), one-hot, the last without a value; and that one, (batch, 1)."""
    draw = np.random.default_rng(seed)
    one_hot, rows = np.eye(KEYS, dtype="float32"), np.arange(settings.batch)
    while True:
        keys = draw.permuted(np.tile(np.arange(KEYS), (settings.batch, 1)), axis=1)[:, :PAIRS]
        values, asked = (
            draw.integers(0, KEYS, (settings.batch, PAIRS)),
            draw.integers(0, PAIRS, settings.batch),
        )
        read = np.concatenate([one_hot[keys], one_hot[keys[rows, asked]][:, np.newaxis]], 1)
        found = np.concatenate([one_hot[values], np.zeros((settings.batch, 1, KEYS), "float32")], 1)
        yield np.concatenate([read, found], -1), values[rows, asked][:, np.newaxis].astype("float32")


class Network:
    """A recurrent layer and a linear output.

    Args:
        cell: the recurrence.
        settings: how it learns.
        task: "parity", which answers at every step whether a number is odd; "adding", which answers once,
            with a number; or "recall", which answers once, with one of the values.
    """

    def __init__(self, cell: str, settings: Settings, task: str):
        import keras
        import tensorflow as tf

        from ostinato.cells import registry

        keras.utils.set_random_seed(settings.seed)
        self.task, seed = task, settings.seed
        parity, width, answers = task == "parity", *((2 * KEYS, KEYS) if task == "recall" else (2, 1))
        layer = registry.recurrent(
            cell, settings.units, return_sequences=parity, seed=seed, **OPTIONS.get(cell, {})
        )
        before = [keras.layers.Dense(settings.units, activation="relu")] if task == "adding" else []
        stack = [keras.Input((None, width)), *before, layer, keras.layers.Dense(answers)]
        self.model = keras.Sequential(stack)
        schedule: Any = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps)
        self.optimizer = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
        self.optimizer.build(self.model.trainable_variables)
        wanted = (None, None, 1) if parity else (None, 1)
        signature = [tf.TensorSpec((None, None, width)), tf.TensorSpec(wanted)]
        self.learn = tf.function(self._learn, input_signature=signature, autograph=False)

    def _learn(self, x: Any, answers: Any) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            scores = self.model(x, training=True)
            if self.task == "parity":
                losses = tf.nn.sigmoid_cross_entropy_with_logits(answers, scores)
            elif self.task == "recall":
                labels = tf.cast(answers[:, 0], tf.int32)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
            else:
                losses = (scores - answers) ** 2
            loss = tf.reduce_mean(losses)
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return loss


def parity(cell: str, settings: Settings = PARITY) -> float:
    """The share of right answers after 250 bits, of 2,048 sequences."""
    network, batches = Network(cell, settings, "parity"), bits(settings, LENGTHS, settings.seed)
    for step in range(settings.steps):
        loss = network.learn(*next(batches))
        if step % 100 == 0:
            report(f"parity, {cell}: step {step}, {float(loss):.3f} nats")
    x, answers = next(bits(settings._replace(batch=2048), (ASKED_AT, ASKED_AT), settings.seed + 1000))
    return float(((np.asarray(network.model(x)) > 0) == (answers > 0.5))[:, -1].mean())


def adding(cell: str, settings: Settings = ADDING) -> float:
    """The mean squared error of 2,048 sequences."""
    network, batches = Network(cell, settings, "adding"), pairs(settings, settings.seed)
    for step in range(settings.steps):
        loss = network.learn(*next(batches))
        if step % 100 == 0:
            report(f"adding, {cell}: step {step}, error {float(loss):.4f}")
    x, answers = next(pairs(settings._replace(batch=2048), settings.seed + 1000))
    return float(((np.asarray(network.model(x)) - answers) ** 2).mean())


def weights_of(cell: str, units: int) -> int:
    """The weights of a cell's network for recall."""
    return Network(cell, RECALL._replace(units=units), "recall").model.count_params()


def recall(cell: str, settings: Settings = RECALL) -> tuple[float, int]:
    """The share of right answers, of 2,048 sequences, and the weights.

    Cells have as many units as leaves them no fewer weights than gated-delta has with the settings'.
    """
    units, wanted = settings.units, weights_of("gated-delta", settings.units)
    if cell != "gated-delta":
        units = next(count for count in range(8, 512, 2) if weights_of(cell, count) >= wanted)
    network = Network(cell, settings._replace(units=units), "recall")
    batches = keys_and_values(settings, settings.seed)
    for step in range(settings.steps):
        loss = network.learn(*next(batches))
        if step % 100 == 0:
            report(f"recall, {cell}: step {step}, {float(loss):.3f} nats")
    x, answers = next(keys_and_values(settings._replace(batch=2048), settings.seed + 1000))
    right = (np.asarray(network.model(x)).argmax(-1) == answers[:, 0]).mean()
    return float(right), network.model.count_params()


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument(
        "--only", choices=("parity", "adding", "recall"), help="one task, which is printed and not written"
    )
    parser.add_argument("--cells", help="some cells, divided by commas; printed and not written")
    options = parser.parse_args()
    os.environ.update(environment("ostinato"))
    chosen = None if options.cells is None else options.cells.split(",")
    checks = []
    if options.only in (None, "parity"):
        for cell in chosen or (*ABLE, *UNABLE):
            right = parity(cell)
            held = (
                right >= PARITY_RIGHT if cell in ABLE else right <= PARITY_WRONG if cell in UNABLE else None
            )
            limit = f"≥ {PARITY_RIGHT}" if cell in ABLE else f"≤ {PARITY_WRONG}" if cell in UNABLE else ""
            checks.append(check(f"parity at {ASKED_AT}: {cell}", {"right": right}, "", held, limit))
            print(checks[-1], flush=True)
    if options.only in (None, "adding"):
        for cell in chosen or ADDERS:
            error = adding(cell)
            held = error < ADDING_ERROR if cell in ADDERS else None
            limit = f"< {ADDING_ERROR}" if cell in ADDERS else ""
            checks.append(check(f"adding, {ADDED_STEPS} steps: {cell}", {"error": error}, "", held, limit))
            print(checks[-1], flush=True)
    if options.only in (None, "recall"):
        for cell in chosen or RECALLERS:
            right, weights = recall(cell)
            sign, limit = RECALLED.get(cell, ("", 0.0))
            held = None if not sign else right >= limit if sign == ">=" else right <= limit
            words = {"": "", ">=": f"≥ {limit}", "<=": f"≤ {limit}"}[sign]
            title = f"recall of {PAIRS} pairs, {weights:,} weights: {cell}"
            checks.append(check(title, {"right": right}, "", held, words))
            print(checks[-1], flush=True)
    report("")
    print(check_table(checks))
    if options.only is None and chosen is None:
        settings = {"parity": PARITY._asdict(), "adding": ADDING._asdict(), "recall": RECALL._asdict()}
        result = {"processor": processor(), "settings": settings, "checks": checks}
        file = RESULTS / "abilities.json"
        file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        print(f"\nwritten to {file}")


if __name__ == "__main__":
    main()
