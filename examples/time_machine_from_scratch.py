"""Train the textbook's character model with nothing but `ostinato.scratch`, and let it write.

    python examples/time_machine_from_scratch.py gru timemachine.txt --epochs 500

The setting is that of "Dive into Deep Learning" (d2l.ai), chapters 9 and 10: letters a to z and space, the
first 10,000 of them, batches of 32 rows × 35 steps read in order with the state carried over, 256 units, SGD
at learning rate 1, gradients clipped at norm 1. Without a file it reads the reference inside every Python.
"""

import argparse
import re
import time
from collections.abc import Iterator
from pathlib import Path
from pydoc_data import topics

import numpy as np
import tensorflow as tf

from ostinato import scratch

SYMBOLS = " abcdefghijklmnopqrstuvwxyz"
BATCH, STEPS, UNITS, LEARNING_RATE = 32, 35, 256, 1.0


def tokens_of(text: str) -> np.ndarray:
    """The text's letters as numbers; whatever stands between words becomes one space."""
    return np.array([SYMBOLS.index(letter) for letter in re.sub("[^a-z]+", " ", text.lower()).strip()])


def sequential_batches(tokens: np.ndarray, start: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets, (batch, time). Each row goes on where it stopped in the batch before."""
    width = (len(tokens) - start - 1) // BATCH
    inputs = tokens[start : start + BATCH * width].reshape(BATCH, width)
    targets = tokens[start + 1 : start + 1 + BATCH * width].reshape(BATCH, width)
    for t in range(0, width - STEPS + 1, STEPS):
        yield inputs[:, t : t + STEPS], targets[:, t : t + STEPS]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a character model written out by hand.")
    parser.add_argument("cell", choices=scratch.CELLS, nargs="?", default="gru")
    parser.add_argument("file", type=Path, nargs="?", help="a text to learn (default: the Python reference)")
    parser.add_argument("--epochs", type=int, default=500)
    options = parser.parse_args()

    text = options.file.read_text("utf-8") if options.file else "\n".join(topics.topics.values())
    tokens, random = tokens_of(text)[:10_000], np.random.default_rng(0)
    network = {"rnn": scratch.rnn, "gru": scratch.gru, "lstm": scratch.lstm}[options.cell]
    params = scratch.get_params(options.cell, len(SYMBOLS), UNITS, seed=0)

    @tf.function
    def train_step(inputs, targets, state):
        with tf.GradientTape() as tape:
            logits, state = network(scratch.one_hot(inputs, len(SYMBOLS)), state, params)
            loss = scratch.cross_entropy(logits, targets)
        gradients = scratch.clip_by_global_norm(tape.gradient(loss, params), 1.0)
        scratch.sgd(params, gradients, LEARNING_RATE)
        return loss, state

    began = time.monotonic()
    for epoch in range(1, options.epochs + 1):
        state = scratch.init_state(options.cell, BATCH, UNITS)
        losses = []
        for inputs, targets in sequential_batches(tokens, int(random.integers(STEPS))):
            loss, state = train_step(tf.constant(inputs), tf.constant(targets), state)
            losses.append(float(loss))
        if epoch in (1, options.epochs) or epoch % 10 == 0:
            perplexity = float(scratch.perplexity(np.mean(losses)))
            print(f"epoch {epoch}: perplexity {perplexity:.2f}, {time.monotonic() - began:.0f} s", flush=True)

    tokens = scratch.sample([SYMBOLS.index(s) for s in "time traveller"], 80, params)
    print("".join(SYMBOLS[token] for token in tokens))


if __name__ == "__main__":
    main()
