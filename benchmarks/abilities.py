"""What cells can and cannot do, as theory says: parity and adding.

    python benchmarks/abilities.py                             # half an hour, in results/abilities.json
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

Layers, units, steps and seeds are the same for all cells.
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

ABLE = ("rnn", "gru", "lstm", "ln-lstm", "ln-gru", "peephole", "cifg")
UNABLE = ("mingru", "minlstm", "rg-lru", "lru")
ADDERS = ("lstm", "gru", "indrnn", "lru")
PARITY_RIGHT, PARITY_WRONG, ADDING_ERROR = 0.99, 0.65, 0.01
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
LENGTHS, ASKED_AT, ADDED_STEPS = (3, 24), 250, 200

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


class Network:
    """A recurrent layer and a linear output.

    Args:
        cell: the recurrence.
        settings: how it learns.
        parity: whether it answers at every step whether a number is odd; else once, with a number.
    """

    def __init__(self, cell: str, settings: Settings, *, parity: bool):
        import keras
        import tensorflow as tf

        from ostinato.cells import registry

        keras.utils.set_random_seed(settings.seed)
        self.parity, seed = parity, settings.seed
        layer = registry.recurrent(
            cell, settings.units, return_sequences=parity, seed=seed, **OPTIONS.get(cell, {})
        )
        before = [] if parity else [keras.layers.Dense(settings.units, activation="relu")]
        self.model = keras.Sequential([keras.Input((None, 2)), *before, layer, keras.layers.Dense(1)])
        schedule: Any = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps)
        self.optimizer = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
        self.optimizer.build(self.model.trainable_variables)
        wanted = (None, None, 1) if parity else (None, 1)
        signature = [tf.TensorSpec((None, None, 2)), tf.TensorSpec(wanted)]
        self.learn = tf.function(self._learn, input_signature=signature, autograph=False)

    def _learn(self, x: Any, answers: Any) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            scores = self.model(x, training=True)
            if self.parity:
                losses = tf.nn.sigmoid_cross_entropy_with_logits(answers, scores)
            else:
                losses = (scores - answers) ** 2
            loss = tf.reduce_mean(losses)
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return loss


def parity(cell: str, settings: Settings = PARITY) -> float:
    """The share of right answers after 250 bits, of 2,048 sequences."""
    network, batches = Network(cell, settings, parity=True), bits(settings, LENGTHS, settings.seed)
    for step in range(settings.steps):
        loss = network.learn(*next(batches))
        if step % 100 == 0:
            report(f"parity, {cell}: step {step}, {float(loss):.3f} nats")
    x, answers = next(bits(settings._replace(batch=2048), (ASKED_AT, ASKED_AT), settings.seed + 1000))
    return float(((np.asarray(network.model(x)) > 0) == (answers > 0.5))[:, -1].mean())


def adding(cell: str, settings: Settings = ADDING) -> float:
    """The mean squared error of 2,048 sequences."""
    network, batches = Network(cell, settings, parity=False), pairs(settings, settings.seed)
    for step in range(settings.steps):
        loss = network.learn(*next(batches))
        if step % 100 == 0:
            report(f"adding, {cell}: step {step}, error {float(loss):.4f}")
    x, answers = next(pairs(settings._replace(batch=2048), settings.seed + 1000))
    return float(((np.asarray(network.model(x)) - answers) ** 2).mean())


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument(
        "--only", choices=("parity", "adding"), help="one task, which is printed and not written"
    )
    parser.add_argument("--cells", help="some cells, divided by commas; printed and not written")
    options = parser.parse_args()
    os.environ.update(environment("ostinato"))
    chosen = None if options.cells is None else options.cells.split(",")
    checks = []
    if options.only != "adding":
        for cell in chosen or (*ABLE, *UNABLE):
            right = parity(cell)
            held = (
                right >= PARITY_RIGHT if cell in ABLE else right <= PARITY_WRONG if cell in UNABLE else None
            )
            limit = f"≥ {PARITY_RIGHT}" if cell in ABLE else f"≤ {PARITY_WRONG}" if cell in UNABLE else ""
            checks.append(check(f"parity at {ASKED_AT}: {cell}", {"right": right}, "", held, limit))
            print(checks[-1], flush=True)
    if options.only != "parity":
        for cell in chosen or ADDERS:
            error = adding(cell)
            held = error < ADDING_ERROR if cell in ADDERS else None
            limit = f"< {ADDING_ERROR}" if cell in ADDERS else ""
            checks.append(check(f"adding, {ADDED_STEPS} steps: {cell}", {"error": error}, "", held, limit))
            print(checks[-1], flush=True)
    report("")
    print(check_table(checks))
    if options.only is None and chosen is None:
        settings = {"parity": PARITY._asdict(), "adding": ADDING._asdict()}
        result = {"processor": processor(), "settings": settings, "checks": checks}
        file = RESULTS / "abilities.json"
        file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        print(f"\nwritten to {file}")


if __name__ == "__main__":
    main()
