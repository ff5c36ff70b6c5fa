"""Figures of tiny trainings and of the engine, exact to the last bit: what a change of shape must keep.

    python tests/golden/figures.py before.json --package DIR    the ostinato in DIR, such as a build of before
    python tests/golden/figures.py after.json                   the one that is installed
    diff before.json after.json

Both on one machine: other processors round differently. A training is told by the SHA-256 of its first and of
its final weights and by its rows of metrics; it is interrupted in the middle of an epoch, and resumed. With
--keep FOLDER it also writes what `test_golden.py` reads: runs, models and figures. With --continue FOLDER it
only resumes the runs that are kept there, and keeps what comes of them. GOLDEN_WITHOUT_MASKS=1 leaves out all
dropout, whose masks are drawn by the names of their sites now and were drawn by numbers before.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

TIMES = ("seconds", "_per_second")
WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "rain", "fall", "over", "hills")
SOURCE = "the source's path"
"""What stands for it in the settings of the runs that are kept."""
LABELS = ("good", "bad", "odd")


def texts(count: int, seed: int) -> list[str]:
    """Texts of 2 to 9 words."""
    draws = np.random.default_rng(seed)
    return [" ".join(draws.choice(WORDS, size=draws.integers(2, 10))) for _ in range(count)]


RATES = ("dropout", "recurrent_dropout", "output_dropout")
RATES += ("input_dropout", "word_dropout", "embedding_dropout")


def trainings() -> dict[str, tuple[str, dict[str, Any], Any, dict[str, Any]]]:
    """By name: the config's class, its settings, the lines of its source, the settings of the training."""
    rows, draws = texts(60, 1), np.random.default_rng(2)
    labels = [draws.choice(LABELS, size=2).tolist() for _ in rows]
    single = ["text\tlabel", *(f"{text}\t{first}" for text, (first, _) in zip(rows, labels, strict=True))]
    several = ["text\tlabel"]
    several += [f"{text}\t{'|'.join(sorted({*both}))}" for text, both in zip(rows, labels, strict=True)]
    pairs = [f"{text}\t{' '.join(word[::-1] for word in text.split()[::-1])}" for text in rows]
    rates = {"dropout": 0.1, "recurrent_dropout": 0.2, "output_dropout": 0.3}
    adam = {"steps": 23, "evaluations": 4, "learning_rate": 0.01, "log_every": 5}
    sgd = adam | {"optimizer": "sgd", "learning_rate": 0.5, "schedule": "cosine", "warmup": 0.2, "clip": 0.5}
    adamw = adam | {"optimizer": "adamw", "schedule": "step", "weight_decay": 0.1}
    lm, classifier, translator = "LanguageModelConfig", "ClassifierConfig", "TranslatorConfig"
    return {
        "lm-char": (
            lm,
            {"cell": "gru", "units": (8, 6), "seq_len": 10, "batch": 4, "input_dropout": 0.1, **rates},
            rows,
            adamw,
        ),
        "lm-word": (
            lm,
            {
                "encoder": "word",
                "cell": "lstm",
                "units": (8, 8),
                "seq_len": 7,
                "batch": 3,
                "embedding": 8,
                "tied": True,
                "sampling": "random",
                "init_stddev": 0.1,
                **rates,
            },
            rows,
            sgd,
        ),
        "classify-attention": (
            classifier,
            {
                "units": (8, 6),
                "batch": 8,
                "embedding": 6,
                "bidirectional": True,
                "pooling": "attention",
                "class_weights": "balanced",
                "validation_fraction": 0.2,
                "word_dropout": 0.1,
                "embedding_dropout": 0.1,
                **rates,
            },
            single,
            adam,
        ),
        "classify-several": (
            classifier,
            {
                "cell": "lstm",
                "encoder": "char",
                "units": (8,),
                "batch": 8,
                "embedding": 6,
                "pooling": "mean",
                "masked": False,
                "max_tokens": 30,
                "label_separator": "|",
                "validation_fraction": 0.2,
                **rates,
            },
            several,
            sgd,
        ),
        "translate-additive": (
            translator,
            {
                "units": (8,),
                "batch": 8,
                "embedding": 6,
                "bidirectional": True,
                "attention": "additive",
                "bridge": "dense",
                "source_encoder": "word",
                "target_encoder": "word",
                "validation_fraction": 0.2,
                "label_smoothing": 0.1,
                "scheduled_sampling": 0.5,
                "scheduled_sampling_steps": 10,
                "word_dropout": 0.1,
                **rates,
            },
            pairs,
            adam,
        ),
        "translate-fed": (
            translator,
            {
                "cell": "gru",
                "reset_before": True,
                "units": (8, 8),
                "batch": 8,
                "embedding": 8,
                "attention": "multiplicative",
                "input_feeding": True,
                "tied": True,
                "source_encoder": "char",
                "target_encoder": "char",
                "validation_fraction": 0.2,
                "embedding_dropout": 0.1,
                **rates,
            },
            pairs,
            adamw,
        ),
    }


def digest(arrays: dict[str, Any]) -> str:
    """SHA-256 of named arrays: names, shapes, types and every bit."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name} {array.shape} {array.dtype}".encode() + array.tobytes())
    return found.hexdigest()


def source_name(name: str) -> str:
    return f"{name}.txt" if name.startswith("lm") else f"{name}.tsv"


def write_source(name: str, folder: Path) -> Path:
    """The file that one of `trainings` reads."""
    path = folder / source_name(name)
    path.write_text("\n".join(trainings()[name][2]) + "\n")
    return path


def train(name: str, path: Path, *, stop_at: int | None = 13, resumed: bool = True) -> Any:
    """The run of one of `trainings`, interrupted at a step and resumed; with None, it is not interrupted.

    Its source is written beside it.
    """
    import ostinato
    from ostinato.training.events import StepDone

    kind, settings, _, training = trainings()[name]
    if os.environ.get("GOLDEN_WITHOUT_MASKS"):  # they are drawn otherwise since sites have names
        settings |= {name: 0.0 for name in (*RATES, "scheduled_sampling") if name in settings}
    path.parent.mkdir(parents=True, exist_ok=True)
    source = write_source(name, path.parent)
    config_class = getattr(ostinato, kind)
    if "reset_before" in settings and "reset_after" in config_class.model_fields:
        settings["reset_after"] = not settings.pop("reset_before")

    def interrupt(event: Any) -> None:
        if isinstance(event, StepDone) and event.step == stop_at:
            signal.raise_signal(signal.SIGINT)

    config, how = config_class(**settings), ostinato.TrainingConfig(**training)
    try:
        return ostinato.train(config, source, training=how, out=path, on_event=interrupt)
    except KeyboardInterrupt:
        return ostinato.resume(path) if resumed else None


def weights_of(run: Any) -> dict[str, np.ndarray]:
    """The arrays of a run's last checkpoint."""
    from ostinato.runs import checkpoints

    folder = run.directory.checkpoints
    return checkpoints.load(folder, checkpoints.steps(folder)[-1]).groups["weights"]


def figures_of(run: Any) -> dict[str, Any]:
    """What is compared of a run."""
    from ostinato.runs import checkpoints

    folder, rows = run.directory.checkpoints, run.directory.rows()
    saved = checkpoints.load(folder, checkpoints.steps(folder)[-1])
    kept = [{k: v for k, v in row.items() if not k.endswith(TIMES)} for row in rows]
    new = "vocabulary" in inspect.signature(run.task.build).parameters
    model = run.task.build(run.directory.vocabulary) if new else run.task.build()
    first = [variable.numpy() for variable in model.trainable_variables]
    figures = {
        "first weights": digest({str(number): array for number, array in enumerate(first)}),
        "names": sorted(saved.groups["weights"]),
        "final weights": digest(saved.groups["weights"]),
        "optimizer": digest(saved.groups["optimizer"]),
        "rows": kept,
        "vocabulary": hashlib.sha256(json.dumps(run.directory.vocabulary).encode()).hexdigest(),
        "uses": uses_of(run),
    }
    import ostinato

    figures["evaluation"] = ostinato.evaluate(run, split="validation")
    return figures


def uses_of(run: Any) -> Any:
    """What the run says or writes."""
    if run.directory.task == "language_model":
        return [
            run.generate(prompt=" cat", length=40, seed=3, count=2),
            run.generate(prompt=" cat", length=10, beam=3),
        ]
    answers = run.predict(texts(5, 7))
    if run.directory.task == "classifier":
        return [[answer.label, answer.probability] for answer in answers]
    return [[answer.text, answer.score] for answer in answers]


def engine_figures() -> dict[str, str]:
    """Hashes of the layers' outputs, states and gradients over shapes and options."""
    import keras
    import tensorflow as tf

    from ostinato import layers

    shapes = [(1, 1, 1, 1), (2, 3, 5, 7), (8, 35, 28, 33), (5, 64, 16, 128), (33, 2, 3, 65), (64, 9, 130, 16)]
    options: list[dict[str, Any]] = [
        {},
        {"go_backwards": True, "return_sequences": True},
        {"dropout": 0.2, "recurrent_dropout": 0.3, "return_sequences": True, "seed": 4},
        {"use_bias": False, "activation": "tanh"},
        {"masked": True, "return_sequences": True},
    ]
    kinds: list[tuple[str, Any, dict[str, Any]]] = [
        ("rnn", layers.SimpleRNN, {}),
        ("gru", layers.GRU, {}),
        ("gru before", layers.GRU, {"reset_after": False}),
        ("lstm", layers.LSTM, {}),
    ]
    found = {}
    for name, layer_class, own in kinds:
        for batch, time, features, units in shapes:
            for chosen in options:
                chosen = {**chosen, **own}
                masked = chosen.pop("masked", False)
                keras.utils.set_random_seed(5)
                layer = layer_class(units, engine="native", return_state=True, **chosen)
                x = tf.random.stateless_normal((batch, time, features), (1, 2))
                mask = tf.random.stateless_uniform((batch, time), (3, 4)) > 0.3 if masked else None
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    y, *states = layer(x, mask=mask, training=True)
                    weighed = tf.reduce_sum(y * tf.random.stateless_normal(y.shape, (5, 6)))
                    loss = tf.add_n([weighed, *(tf.reduce_sum(state * state) for state in states)])
                gradients = tape.gradient(loss, [x, *layer.trainable_variables])
                arrays = [y, *states, *gradients]
                key = f"{name} {batch}x{time}x{features}->{units} {chosen} {'masked' if masked else ''}"
                found[key.strip()] = digest({str(n): each.numpy() for n, each in enumerate(arrays)})
    return found


def model_inputs(task: str) -> list[np.ndarray]:
    """Ids, and lengths where a network takes them, for the model of a task."""
    draws = np.random.default_rng(11)
    ids, lengths = draws.integers(4, 8, size=(3, 6)).astype(np.int32), np.array([6, 3, 1], np.int32)
    return {"language_model": [ids], "classifier": [ids, lengths], "translator": [ids, lengths, ids]}[task]


def outputs_of(model: Any, task: str) -> np.ndarray:
    """What a model says to `model_inputs`."""
    inputs = model_inputs(task)
    if task == "language_model":
        return np.asarray(model(*inputs, model.stack.initial_state(3))[0])
    if task == "translator":
        return np.asarray(model.decoder.scores(model(*inputs)[0]))
    return np.asarray(model(*inputs))


def keep(name: str, run: Any, figures: dict[str, Any], folder: Path) -> None:
    """The run when it was interrupted, the trained model with outputs, and the figures of the resumed run."""
    place = folder / name
    train(name, place / "run", resumed=False)
    for part in ("tensorboard", "report"):
        shutil.rmtree(place / "run" / part, ignore_errors=True)
    for checkpoint in sorted((place / "run" / "checkpoints").iterdir())[:-1]:
        shutil.rmtree(checkpoint)
    settings = place / "run" / "config.json"
    source = json.dumps(str((place / source_name(name)).absolute()))
    settings.write_text(settings.read_text().replace(source, f'"{SOURCE}"'))
    (place / source_name(name)).unlink()
    run.model.save(place / "model.keras")
    weights = {key.replace("/", ":"): value for key, value in weights_of(run).items()}
    np.savez_compressed(place / "arrays.npz", outputs=outputs_of(run.model, run.directory.task), **weights)
    told = {key: figures[key] for key in ("rows", "uses", "evaluation")}
    (place / "figures.json").write_text(json.dumps(told, indent=1) + "\n")


def continue_kept(folder: Path) -> None:
    """Resumes copies of the runs in a folder, and keeps the final weights and figures there."""
    for name in trainings():
        place = folder / name
        with tempfile.TemporaryDirectory() as elsewhere:
            path = Path(shutil.copytree(place / "run", Path(elsewhere) / "run"))
            source = write_source(name, Path(elsewhere))
            settings = (path / "config.json").read_text()
            (path / "config.json").write_text(settings.replace(f'"{SOURCE}"', json.dumps(str(source))))
            import ostinato

            run = ostinato.resume(path)
            figures = figures_of(run)
            outputs = np.load(place / "arrays.npz")["outputs"]
            weights = {key.replace("/", ":"): value for key, value in weights_of(run).items()}
        np.savez_compressed(place / "arrays.npz", outputs=outputs, **weights)
        told = {key: figures[key] for key in ("rows", "uses", "evaluation")}
        (place / "figures.json").write_text(json.dumps(told, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, nargs="?", default=Path(os.devnull))
    parser.add_argument("--package", type=Path, help="the folder that holds another `ostinato`")
    parser.add_argument("--keep", type=Path, help="write runs, models and figures into this folder, too")
    parser.add_argument("--continue", dest="kept", type=Path, help="only resume the runs of this folder")
    given = parser.parse_args()
    if given.package is not None:
        # The finder of an editable install comes before any path.
        sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
        sys.path.insert(0, str(given.package.absolute()))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import ostinato

    print(f"ostinato of {ostinato.__file__}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OSTINATO_CACHE"] = f"{folder}/cache"
        if given.kept is not None:
            continue_kept(given.kept)
            return
        found: dict[str, Any] = {"engine": engine_figures()}
        for name in trainings():
            run = train(name, Path(folder) / name)
            found[name] = figures_of(run)
            print(name, found[name]["final weights"][:12], file=sys.stderr)
            if given.keep is not None:
                keep(name, run, found[name], given.keep)
    given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
