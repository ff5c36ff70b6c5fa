"""The music model beside the same network in plain Keras, and what it draws beside what it learned from.

    python benchmarks/music.py training jsb                      # or the path of JSB_Chorales.mat
    python benchmarks/music.py drawing runs/music-001

`training` is steps of pieces a second of ostinato's training step, and of the same network in Keras' layers,
on the same batches and from equal weights: the recipe `independent`, whose output is a Dense layer, without
its recurrent dropout, which costs Keras more. Both must first find the same loss and gradients, without any
dropout.

`drawing` draws twenty pieces of 128 steps at temperature 1 and counts: the keys that sound at a step beside
those of the training part, the longest time that a key is down beside the longest there, pieces without a
key, and the longest run of steps that occurs in the training part in any transposition.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from itertools import islice
from operator import truediv
from typing import Any

from comparison.machine import THREADS, environment, processor
from comparison.tables import check, check_table, report
from keras_fit import in_turn
from translation import check_alike, turn

os.environ.update(environment("ostinato"))

import keras
import numpy as np
import tensorflow as tf

import ostinato
from ostinato.cells.base import initial_state
from ostinato.heads.chord import LOUD
from ostinato.runs import weights
from ostinato.tasks.music import MusicConfig, MusicModel, RecurrentMusicModel
from ostinato.tasks.music import data as music_data
from ostinato.tasks.music.source import open_source
from ostinato.training.optimizers import Optimizer
from ostinato.training.recipes import read_recipe
from ostinato.training.step import as_tensors, make_train_step

Tensors = dict[str, tf.Tensor]
ZERO: Any = tf.constant(0)
BATCHES, SEEDS, STEPS = 40, 20, 128
WANTED_RATIO, NEAR, LONGEST_COPY = 1.5, 0.1, 16


class PlainKeras(keras.Model):
    """Which keys sound next, from an LSTM and a Dense layer of Keras."""

    def __init__(self, config: MusicConfig, keys: int):
        super().__init__()
        layers: Any = keras.layers
        self.lstm = layers.LSTM(config.units[0], return_sequences=True, return_state=True)
        self.drop, self.dense = layers.Dropout(config.dropout), layers.Dense(keys)

    def call(self, chords: tf.Tensor, state: Any, training: bool = False) -> Any:
        y, *state = self.lstm(chords, initial_state=list(state))
        return self.dense(self.drop(y, training=training)), tuple(state)

    def loss_of(self, batch: Tensors, state: Any) -> tuple[Any, Any]:
        """The mean nats of a step in training, and the state for the next batch."""
        begins, weights = batch["begins"][:, tf.newaxis], batch["weights"]
        state = tuple(each * (1.0 - begins) for each in state)
        scores, state = self(as_read(batch), state, training=True)
        nats = tf.nn.sigmoid_cross_entropy_with_logits(batch["chords"][:, 1:], scores)
        return tf.reduce_sum(tf.expand_dims(weights, 2) * nats) / tf.reduce_sum(weights), state


def as_read(batch: Tensors) -> tf.Tensor:
    """The chords as ostinato's network reads them: scaled, with a mark where a piece begins."""
    chords = LOUD * batch["chords"][:, :-1]
    first = tf.one_hot(tf.zeros_like(batch["begins"], tf.int32), tf.shape(chords)[1])
    return tf.concat([chords, (first * batch["begins"][:, tf.newaxis])[..., tf.newaxis]], axis=2)


def plain_copy(model: RecurrentMusicModel, batch: Tensors) -> PlainKeras:
    """The plain network with the weights of ostinato's."""
    plain = PlainKeras(model.config, model.keys)
    plain.loss_of(batch, initial_state(model.stack.states, len(batch["begins"])))
    for ours, theirs in zip(model.trainable_variables, parameters(plain), strict=True):
        theirs.assign(ours)
    return plain


def parameters(plain: PlainKeras) -> list[Any]:
    """Its variables in the order of ostinato's."""
    dense: Any = plain.dense
    return [*plain.lstm.trainable_variables, dense.kernel, dense.bias]


def same_function(config: MusicConfig, vocabulary: Any, batch: Tensors) -> None:
    """Sees that both find the same loss and gradients without dropout; SystemExit if they do not."""
    task = MusicModel(config.model_copy(update={"dropout": 0.0}))
    model = task.build(vocabulary)
    plain, state = plain_copy(model, batch), initial_state(model.stack.states, len(batch["begins"]))
    networks = (
        (lambda: truediv(*task.loss(model, batch, state, step=ZERO)[:2]), model.trainable_variables),
        (lambda: plain.loss_of(batch, state)[0], parameters(plain)),
    )
    check_alike(networks, "music")


def training(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Steps of pieces a second of both."""
    report("reading the pieces and compiling")
    recipe = read_recipe("music", "independent")
    config = MusicConfig(**recipe.task).model_copy(update={"recurrent_dropout": 0.0})
    how = ostinato.TrainingConfig(**recipe.training)
    task = MusicModel(config)
    data = task.read(open_source(options.source))
    part = data.part("train")
    assert part is not None
    batches = [as_tensors(batch) for batch in islice(part.batches(epoch=0), BATCHES)]
    same_function(config, data.vocabulary, batches[0])
    model = task.build(data.vocabulary)
    turns = {
        "ostinato": turn(ours_step(task, model, how, batches[0]), batches),
        "Keras": turn(keras_step(plain_copy(model, batches[0]), model, how), batches),
    }
    ms = in_turn(turns, options.rounds, "training")
    steps = sum(float(tf.reduce_sum(batch["weights"])) for batch in batches) / len(batches)
    ratio = ms["Keras"] / ms["ostinato"]
    return [
        check("training", {each: 1e3 * steps / time for each, time in ms.items()}, "steps/s", None, ""),
        check("ostinato over Keras", {"ratio": ratio}, "×", ratio >= WANTED_RATIO, f"≥ {WANTED_RATIO:g} ×"),
    ]


def ours_step(
    task: MusicModel, model: RecurrentMusicModel, how: ostinato.TrainingConfig, batch: Tensors
) -> Callable[..., Any]:
    """Learns from a batch as `ostinato.train` does."""
    optimizer = Optimizer(how, weights.names(model, model.trainable_variables), model.trainable_variables)
    step = make_train_step(task, model, None, optimizer)
    rate, no_signals = tf.constant(how.learning_rate, tf.float32), tf.zeros(4)
    state = initial_state(model.stack.states, len(batch["begins"]))

    def learn(batch: Tensors, number: int) -> float:
        nonlocal state
        found = step((batch,), (state,), tf.constant(number), rate, no_signals)
        (state,) = found.states
        return float(found.loss)

    return learn


def keras_step(
    model: PlainKeras, ours: RecurrentMusicModel, how: ostinato.TrainingConfig
) -> Callable[..., Any]:
    """Learns from a batch as the guides of Keras do."""
    optimizer: Any = keras.optimizers.AdamW(
        how.learning_rate, weight_decay=how.weight_decay, global_clipnorm=how.clip
    )
    state: Any = None

    @tf.function
    def step(batch, state):
        with tf.GradientTape() as tape:
            loss, state = model.loss_of(batch, state)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss, state

    def learn(batch: Tensors, number: int) -> float:
        nonlocal state
        state = initial_state(ours.stack.states, len(batch["begins"])) if state is None else state
        loss, state = step(batch, state)
        return float(loss)

    return learn


def drawing(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Twenty pieces beside the training part."""
    run = ostinato.load(options.run)
    use = run.use
    music = open_source(run.directory.source["description"])
    found = music_data.read(MusicConfig(**run.directory.task_config), music, use.keyboard, False, None)
    size = use.keyboard.size
    learned = [chords[:, :size] for chords in found.parts["train"]]
    usual, longest_down = float(np.concatenate(learned).sum(axis=1).mean()), max(map(down, learned))
    counts, held, empty, copied = [], 0, 0, 0
    for seed in range(SEEDS):
        piece = use.generate(steps=STEPS, seed=seed)
        chords = use.keyboard.chords(piece.roll)[:, :size]
        counts.append(float(chords.sum(axis=1).mean()))
        held, empty = max(held, down(chords)), empty + int(not chords.any())
        copied = max(copied, use.copied(piece).steps)
        report(f"seed {seed}: {counts[-1]:.2f} keys a step, down for {down(chords)}, copied {copied}")
    mean = float(np.mean(counts))
    near = abs(mean / usual - 1) <= NEAR
    at_most = f"≤ {LONGEST_COPY}"
    return [
        check("keys a step", {"drawn": mean, "data": usual}, "", near, "within 10 %"),
        check(
            "a key is down", {"drawn": held, "data": longest_down}, "steps", held <= longest_down, "≤ data"
        ),
        check("pieces without a key", {"drawn": empty}, "", empty == 0, "none"),
        check("longest copied run", {"drawn": copied}, "steps", copied <= LONGEST_COPY, at_most),
    ]


def down(chords: np.ndarray) -> int:
    """The most steps in a row for which a key sounds."""
    most, now = 0, np.zeros(chords.shape[1], int)
    for step in chords:
        now = (now + 1) * step
        most = max(most, int(now.max()))
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the music model.")
    questions = parser.add_subparsers(dest="question", required=True)
    of_training = questions.add_parser("training", help="beside plain Keras")
    of_training.add_argument("source", help="piano rolls, or the name of a set")
    of_training.add_argument("--rounds", type=int, default=7)
    of_drawing = questions.add_parser("drawing", help="twenty pieces beside the training part")
    of_drawing.add_argument("run", help="a run of ostinato train music")
    options = parser.parse_args()
    found = {"training": training, "drawing": drawing}[options.question](options)
    print(f"{processor()}, {THREADS} threads, TensorFlow {tf.__version__}, Keras {keras.__version__}")
    print(check_table(found))


if __name__ == "__main__":
    main()
