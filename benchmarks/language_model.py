"""The language model beside what one would write by hand with Keras: speed, overhead and memory.

    python benchmarks/language_model.py                     # everything, a few minutes
    python benchmarks/language_model.py --only training generation

Two things that are compared run in turn, block after block in one process, so that a noisy minute hits both
alike; the figures are medians over the blocks. Results are printed and saved as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import ostinato
from ostinato.data.sources.corpora import open_corpus
from ostinato.data.store.tokens import prepare_tokens
from ostinato.tasks.language_model import LanguageModel, LanguageModelConfig
from ostinato.tasks.language_model.source import open_source
from ostinato.training.events import StepDone
from ostinato.training.run import train

BATCH, SEQ_LEN, UNITS, SYMBOLS = 32, 35, 256, 28
BLOCK_STEPS, WARM_UP_BLOCKS = 10, 2
CHARACTERS = 512
MEBIBYTE = 1 << 20


class PlainKeras(keras.Model):
    """What a reader of the Keras guides would write: one-hot, LSTM, Dense."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = keras.layers.LSTM(UNITS, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(SYMBOLS)

    def call(self, tokens: tf.Tensor, state: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        outputs, h, c = self.lstm(tf.one_hot(tokens, SYMBOLS), initial_state=state)
        return self.dense(outputs), [h, c]


def zero_state(rows: int) -> list[tf.Tensor]:
    return [tf.zeros((rows, UNITS)), tf.zeros((rows, UNITS))]


def text_of(symbols: int, length: int) -> str:
    """Text with exactly so many different symbols."""
    drawn = np.random.default_rng(0).integers(symbols, size=length)
    drawn[:symbols] = np.arange(symbols)
    return "".join(chr(ord("a") + symbol) for symbol in drawn)


def config() -> LanguageModelConfig:
    return LanguageModelConfig(
        cell="lstm", units=(UNITS,), batch=BATCH, seq_len=SEQ_LEN, engine="keras", validation_fraction=0.0
    )


def training(rounds: int, folder: Path) -> dict[str, Any]:
    """Tokens a second of a whole `ostinato.train` (data, logging and all) and of a plain Keras loop."""
    model: Any = PlainKeras()
    optimizer = keras.optimizers.Adam(1e-3, global_clipnorm=1.0)
    loss_of: Any = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def keras_step(tokens, targets, state):
        with tf.GradientTape() as tape:
            logits, state = model(tokens, state)
            loss = loss_of(targets, logits)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss, state

    ids = np.random.default_rng(0).integers(SYMBOLS, size=(BATCH, SEQ_LEN * BLOCK_STEPS + 1)).astype(np.int32)
    keras_state = zero_state(BATCH)

    def keras_block() -> float:
        nonlocal keras_state
        began = time.perf_counter()
        for start in range(0, SEQ_LEN * BLOCK_STEPS, SEQ_LEN):
            tokens, targets = ids[:, start : start + SEQ_LEN], ids[:, start + 1 : start + SEQ_LEN + 1]
            loss, keras_state = keras_step(tf.constant(tokens), tf.constant(targets), keras_state)
            float(loss)
        return time.perf_counter() - began

    ours: list[float] = []
    theirs: list[float] = []
    resumed_at = time.perf_counter()

    def on_event(event: Any) -> None:
        nonlocal resumed_at
        if isinstance(event, StepDone) and event.step % BLOCK_STEPS == 0:
            ours.append(time.perf_counter() - resumed_at)
            theirs.append(keras_block())
            resumed_at = time.perf_counter()

    steps = BLOCK_STEPS * (rounds + WARM_UP_BLOCKS)
    train(
        config(),
        [text_of(SYMBOLS, BATCH * (SEQ_LEN * 200 + SEQ_LEN) + 1)],
        training=ostinato.TrainingConfig(steps=steps, checkpoint_minutes=60),
        out=folder / "training",
        on_event=on_event,
    )
    ours, theirs = ours[WARM_UP_BLOCKS:], theirs[WARM_UP_BLOCKS:]
    tokens = BATCH * SEQ_LEN * BLOCK_STEPS
    return {
        "ostinato_tokens_per_second": tokens / statistics.median(ours),
        "keras_tokens_per_second": tokens / statistics.median(theirs),
        "ratio": statistics.median(k / o for o, k in zip(ours, theirs, strict=True)),
        "ostinato_ms_per_step": 1e3 * statistics.median(ours) / BLOCK_STEPS,
    }


def outside(rounds: int, folder: Path) -> dict[str, Any]:
    """Milliseconds of a training step that are not the recurrent layer's forward and backward pass."""
    task = LanguageModel(config())
    data = task.read(open_source([text_of(SYMBOLS, BATCH * SEQ_LEN * 4)]))
    stack = task.build(data.vocabulary).stack
    inputs = tf.one_hot(np.random.default_rng(0).integers(SYMBOLS, size=(BATCH, SEQ_LEN)), SYMBOLS)
    upstream = tf.random.stateless_normal((BATCH, SEQ_LEN, UNITS), (0, 0))
    state = tuple(zero_state(BATCH))

    @tf.function
    def layer_alone():
        with tf.GradientTape() as tape:
            outputs, new_state = stack(inputs, state)
            loss = tf.reduce_sum(outputs * upstream)
        return tape.gradient(loss, stack.trainable_variables), new_state

    alone: list[float] = []
    whole: list[float] = []
    resumed_at = time.perf_counter()

    def on_event(event: Any) -> None:
        nonlocal resumed_at
        if isinstance(event, StepDone):
            whole.append(time.perf_counter() - resumed_at)
            began = time.perf_counter()
            layer_alone()
            alone.append(time.perf_counter() - began)
            resumed_at = time.perf_counter()

    train(
        config(),
        [text_of(SYMBOLS, BATCH * (SEQ_LEN * 200 + SEQ_LEN) + 1)],
        training=ostinato.TrainingConfig(steps=10 * rounds + 20, checkpoint_minutes=60),
        out=folder / "outside",
        on_event=on_event,
    )
    whole, alone = whole[20:], alone[20:]
    return {
        "step_ms": 1e3 * statistics.median(whole),
        "recurrent_layer_ms": 1e3 * statistics.median(alone),
        "outside_ms": 1e3 * statistics.median(w - a for w, a in zip(whole, alone, strict=True)),
    }


def generation(rounds: int, folder: Path) -> dict[str, Any]:
    """Characters a second of `generate` and of a one-step `tf.function` called for each character."""
    run = train(
        config(),
        [text_of(SYMBOLS, BATCH * SEQ_LEN * 4)],
        training=ostinato.TrainingConfig(steps=1),
        out=folder / "generation",
    )
    model: Any = PlainKeras()

    @tf.function
    def keras_step(token, state):
        logits, state = model(token, state)
        return tf.random.categorical(logits[:, 0] / 0.8, 1, dtype=tf.int32), state

    def theirs() -> None:
        token, state = tf.zeros((1, 1), tf.int32), zero_state(1)
        written = []
        for _ in range(CHARACTERS):
            token, state = keras_step(token, state)
            written.append(token.numpy().item())

    ratio, ours_seconds, theirs_seconds = in_turn(
        lambda: run.generate(prompt="a", length=CHARACTERS, temperature=0.8, seed=0), theirs, rounds
    )
    return {
        "ostinato_characters_per_second": CHARACTERS / ours_seconds,
        "keras_characters_per_second": CHARACTERS / theirs_seconds,
        "ratio": ratio,
    }


def in_turn(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> tuple[float, float, float]:
    """(median ratio theirs / ours, median seconds of ours, of theirs), after one warm-up of each."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for function, times in zip((ours, theirs), seconds, strict=True):
            began = time.perf_counter()
            function()
            times.append(time.perf_counter() - began)
    o, t = (times[1:] for times in seconds)
    return (
        statistics.median(b / a for a, b in zip(o, t, strict=True)),
        statistics.median(o),
        statistics.median(t),
    )


def encoding(rounds: int, folder: Path) -> dict[str, Any]:
    """MB a second of text turned into ids; and with hashing, counting and writing to the cache."""
    path = folder / "encoding.txt"
    write_text(path, 64 * MEBIBYTE)
    size, seconds, fitting = path.stat().st_size, [], []
    encoder = prepare_tokens(open_corpus(path)).encoder
    for _ in range(rounds):
        began = time.perf_counter()
        count = sum(len(ids) for ids in encoder.encode_chunks(open_corpus(path)))
        seconds.append(time.perf_counter() - began)
        assert count == size
        shutil.rmtree(os.environ["OSTINATO_CACHE"])
        began = time.perf_counter()
        prepare_tokens(open_corpus(path))
        fitting.append(time.perf_counter() - began)
    return {
        "encode_mb_per_second": size / 1e6 / statistics.median(seconds),
        "hash_fit_encode_mb_per_second": size / 1e6 / statistics.median(fitting),
    }


def memory(rounds: int, folder: Path) -> dict[str, Any]:
    """Peak anonymous memory (RssAnon) of `ostinato train lm` on 1 MiB and on 1 GiB of text."""
    peaks = {}
    for name, size in (("1_mib", MEBIBYTE), ("1_gib", 1024 * MEBIBYTE)):
        path = folder / f"{name}.txt"
        write_text(path, size)
        command = [Path(sys.executable).with_name("ostinato"), "train", "lm", path, "--steps", "40"]
        options = ["--out", folder / name, "--evaluations", "1", "--engine", "keras"]
        peak = peak_anonymous_memory([*command, *options])
        path.unlink()
        peaks[f"rss_anon_{name}_mib"] = peak / MEBIBYTE
    return peaks | {"difference_mib": peaks["rss_anon_1_gib_mib"] - peaks["rss_anon_1_mib_mib"]}


def peak_anonymous_memory(command: list[Any]) -> int:
    """The highest RssAnon of a command that must succeed, in bytes."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, anonymous_memory(process.pid))
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed with exit code {process.returncode}")
    return peak


def anonymous_memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def write_text(path: Path, size: int) -> None:
    letters = text_of(SYMBOLS, 4 * MEBIBYTE)
    piece = " ".join(letters[at : at + 7] for at in range(0, len(letters), 7)).encode()
    with open(path, "wb") as file:
        while (left := size - file.tell()) > 0:
            file.write(piece[:left])


def start_up(rounds: int, folder: Path) -> dict[str, Any]:
    """Seconds of `ostinato --help`."""
    command = [Path(sys.executable).with_name("ostinato"), "--help"]
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - began)
    return {"help_seconds": statistics.median(seconds[1:])}


QUESTIONS = {
    "training": (training, "ratio", "at least 1.0 times a plain Keras loop's tokens/s"),
    "outside": (outside, "outside_ms", "at most 5 ms a step outside the recurrent layer"),
    "generation": (generation, "ratio", "at least 3 times the characters/s of one call per character"),
    "encoding": (encoding, "encode_mb_per_second", "at least 20 MB/s"),
    "memory": (memory, "difference_mib", "at most 300 MiB more for 1 GiB of text than for 1 MiB"),
    "start_up": (start_up, "help_seconds", "under 0.4 s"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the language model with a plain Keras one.")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "results" / "language_model.json",
        metavar="FILE.json",
    )
    options = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OSTINATO_CACHE"] = str(Path(folder) / "cache")
        for name in options.only:
            results[name] = QUESTIONS[name][0](options.rounds, Path(folder))
    print("| question | figures | wanted |\n|---|---|---|")
    for name, figures in results.items():
        shown = ", ".join(f"{key.replace('_', ' ')} {value:,.4g}" for key, value in figures.items())
        print(f"| {name.replace('_', ' ')} | {shown} | {QUESTIONS[name][2]} |")
    facts = {
        "processors": len(os.sched_getaffinity(0)),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": facts, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
