"""A small training of each task, as the files and the arguments that `ostinato train` takes.

The settings are those in which most can go wrong: dropout everywhere, Adam, a schedule with a warm-up, early
stopping, evaluations, a checkpoint after every step of which two are kept.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TASKS = {"lm": "language_model", "classify": "classifier", "translate": "translator", "music": "music"}
FILES = {"lm": "text.txt", "classify": "table.tsv", "translate": "table.tsv", "music": "rolls.npz"}
NETWORK = {"units": 8, "layers": 2, "dropout": 0.1, "recurrent_dropout": 0.1}
TEXTS = {
    "output_dropout": 0.2,
    "embedding": 6,
    "batch": 8,
    "word_dropout": 0.1,
    "embedding_dropout": 0.1,
    "validation_fraction": 0.3,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "lm": {
        "cell": "gru", "seq_len": 20, "batch": 4, "input_dropout": 0.1, "output_dropout": 0.2,
        "validation_fraction": 0.2,
    },
    "classify": {"cell": "lstm", "bidirectional": True, "pooling": "attention", **TEXTS},
    "translate": {"cell": "gru", "source_encoder": "word", "target_encoder": "word", **TEXTS},
    "music": {"cell": "lstm", "seq_len": 20, "batch": 4, "input_dropout": 0.1, "hidden": 12, "transpose": 5},
}  # fmt: skip
TRAINING = {
    "steps": 60,
    "optimizer": "adam",
    "learning_rate": 0.02,
    "schedule": "cosine",
    "warmup": 0.1,
    "clip": 0.5,
    "evaluations": 12,
    "patience": 4,
    "log_every": 3,
    "checkpoint_minutes": 0,
    "keep": 2,
}
WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "rain", "fall", "over", "hills")


@dataclass(frozen=True)
class Plan:
    """What is trained: its source and its settings are files in a folder.

    Attributes:
        task: as the command line calls it.
        source: the text, the table or the pairs.
        settings: a recipe.
    """

    task: str
    source: Path
    settings: Path

    @classmethod
    def written(cls, task: str, folder: Path, **training: Any) -> Plan:
        """Writes source and settings; further training settings override those above; None is left out."""
        plan = cls(task, folder / FILES[task], folder / "settings.toml")
        if task == "music":
            np.savez(plan.source, **_pieces())
        else:
            plan.source.write_text(_source(task))
        tables = {TASKS[task]: NETWORK | SETTINGS[task], "training": TRAINING | training}
        lines = (
            line
            for name, table in tables.items()
            for line in (
                f"[{name}]",
                *(f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None),
            )
        )
        plan.settings.write_text("\n".join(lines) + "\n")
        return plan

    def start(self, run: Path) -> list[str]:
        """The arguments of `ostinato` that train it."""
        return ["train", self.task, str(self.source), "--config", str(self.settings), "--out", str(run)]


def _pieces() -> dict[str, np.ndarray]:
    """Pieces of random chords, of which each is played for a while."""
    draw = np.random.default_rng(0)
    chords = draw.random((20, 88)) < 0.04
    return {
        f"{part}_{number}": chords[np.repeat(draw.integers(20, size=15), 3)]
        for part in ("train", "valid")
        for number in range(12)
    }


def _source(task: str) -> str:
    """Sentences; beside each a label, which follows from nothing, or the sentence backwards."""
    draw = random.Random(0)
    sentences = [" ".join(draw.choices(WORDS, k=draw.randint(3, 8))) for _ in range(120)]
    if task == "lm":
        return "\n".join(sentences)
    if task == "classify":
        rows = ["text\tlabel", *(f"{sentence}\t{draw.choice(('good', 'bad'))}" for sentence in sentences)]
    else:
        rows = [f"{sentence}\t{' '.join(reversed(sentence.split()))}" for sentence in sentences]
    return "\n".join(rows) + "\n"
