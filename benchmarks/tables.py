"""The default classifier beside TF-IDF and logistic regression, on tables in the shapes that people have.

    python benchmarks/tables.py                        # twelve made-up tables
    python benchmarks/tables.py reviews.csv mail/      # real ones, by path
    python benchmarks/tables.py --only spam opinions --json FILE.json

Each table is trained on with one command, `ostinato train classify TABLE`, without any flag. A fifth of the
rows, drawn from a seed, is kept for the test and is not in that table. Tables of fewer than 2,000 rows are
split five times. The linear model (see `ostinato.tasks.classifier.baseline`) chooses its C on a tenth of the
training rows, and then learns from all of them. "worse" is whether ours is more than a point behind beyond
chance: a paired test of the differences text by text, one-sided, at 5 %.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from comparison.machine import processor
from made_up_tables import SHAPES, Rows

from ostinato.data.sources.tables import open_table
from ostinato.tasks.classifier import baseline, metrics

SMALL, SPLITS = 2000, 5
MARGIN, ONE_SIDED = 0.01, 1.645
Row = dict[str, Any]


def ostinato(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from ostinato.cli import main; sys.exit(main())"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def cut(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Rows to train on, and a fifth of them to test on."""
    shuffled = random.Random(seed).sample(rows, len(rows))
    return shuffled[len(rows) // 5 :], shuffled[: len(rows) // 5]


def predicted(table: Path, texts: Sequence[str], folder: Path) -> tuple[list[str], float, str]:
    """The labels of some texts after one command, its seconds, and what it said if it failed."""
    run, asked = folder / "run", folder / "asked.jsonl"
    began = time.perf_counter()
    done = ostinato("train", "classify", str(table), "--out", str(run), "--overwrite")
    seconds = time.perf_counter() - began
    if done.returncode:
        return [], seconds, done.stderr.strip().splitlines()[-1]
    asked.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    answer = ostinato(
        "predict", str(run), "--file", str(asked), "--text", "text", "--out", str(folder / "a.csv")
    )
    if answer.returncode:
        return [], seconds, answer.stderr.strip().splitlines()[-1]
    with open(folder / "a.csv", newline="") as file:
        return [row["prediction"] for row in csv.DictReader(file)], seconds, ""


def linear(train: Rows, test: Rows, labels: list[str]) -> list[str]:
    """The labels that the linear model gives."""
    place = {label: at for at, label in enumerate(labels)}
    validation = [row for at, row in enumerate(train) if at % 10 == 0]
    rest = [row for at, row in enumerate(train) if at % 10]

    def arrays(rows: Rows) -> tuple[list[str], np.ndarray]:
        return [text for text, _ in rows], np.array([place.get(label, -1) for _, label in rows])

    chosen = baseline.predictions(arrays(rest), arrays(validation), [text for text, _ in test])
    return [labels[at] for at in chosen]


def measure(name: str, train: Rows, test: Rows, table: Path, folder: Path) -> Row:
    """The figures of one split."""
    labels = sorted({label for _, label in train})
    truth = [label for _, label in test]
    theirs = linear(train, test, labels)
    ours, seconds, failed = predicted(table, [text for text, _ in test], folder)
    row: Row = {
        "name": name,
        "train": len(train),
        "test": len(test),
        "labels": len(labels),
        "seconds": seconds,
    }
    if failed:
        return row | {"failed": failed}
    right, other = (
        np.array([a == b for a, b in zip(found, truth, strict=True)], float) for found in (ours, theirs)
    )
    names = np.array(sorted({*labels, *truth}))

    def macro_f1(found: list[str]) -> float:
        return metrics.macro_f1(np.array(truth)[:, None] == names, np.array(found)[:, None] == names)

    return row | {
        "accuracy": right.mean(),
        "f1": macro_f1(ours),
        "linear_accuracy": other.mean(),
        "linear_f1": macro_f1(theirs),
        "differences": (right - other).tolist(),
    }


def joined(splits: list[Row]) -> Row:
    """The mean of the splits, and whether ours is worse beyond chance."""
    done = [split for split in splits if "failed" not in split]
    row = {key: splits[0][key] for key in ("name", "train", "test", "labels")}
    if not done:
        return row | {"failed": splits[0]["failed"]}
    for key in ("seconds", "accuracy", "f1", "linear_accuracy", "linear_f1"):
        row[key] = statistics.fmean(split[key] for split in done)
    every = np.concatenate([split["differences"] for split in done])
    row["difference"] = statistics.fmean(np.mean(split["differences"]) for split in done)
    error = float(every.std()) / math.sqrt(len(every))
    row["worse"] = bool(row["difference"] + MARGIN < -ONE_SIDED * error)
    row["attempts"] = f"{len(done)}/{len(splits)}"
    return row


def made_up(only: Sequence[str], folder: Path) -> list[Row]:
    rows = []
    for shape in SHAPES:
        if only and shape.name not in only:
            continue
        splits = []
        for seed in range(SPLITS if shape.size < SMALL else 1):
            train, test = cut(shape.rows(random.Random(f"{shape.name} {seed}"), shape.size), seed)
            place = Path(tempfile.mkdtemp(dir=folder))
            table = shape.write(train, place / shape.name)
            # What the file holds, not what was drawn: an encoding, a name of a label may change it.
            kept = [(row.text, row.label) for row in open_table(table).rows()]
            known = dict(zip([label for _, label in train], [label for _, label in train], strict=True))
            if shape.write.__name__ == "_fast_text":
                known = {label: label.replace(" ", "_") for label in known}
            tests = [(text, known.get(label, label)) for text, label in test]
            splits.append(measure(shape.name, kept, tests, table, place))
        rows.append(joined(splits))
        show(rows[-1:], header=len(rows) == 1)
    return rows


def real(paths: Sequence[Path], folder: Path) -> list[Row]:
    rows = []
    for path in paths:
        table = open_table(path, skip_bad_rows=True)
        every = [(row.text, row.label) for row in table.rows()]
        splits = []
        for seed in range(SPLITS if len(every) < SMALL else 1):
            train, test = cut(every, seed)
            place = Path(tempfile.mkdtemp(dir=folder))
            file = place / "table.jsonl"
            lines = (json.dumps({"text": text, "label": label}) + "\n" for text, label in train)
            file.write_text("".join(lines))
            splits.append(measure(path.name, train, test, file, place))
        rows.append(joined(splits))
        show(rows[-1:], header=len(rows) == 1)
    return rows


HEADINGS = (
    "table",
    "rows",
    "labels",
    "accuracy",
    "linear",
    "difference",
    "F1",
    "linear F1",
    "seconds",
    "worse",
)


def show(rows: Sequence[Row], *, header: bool) -> None:
    if header:
        print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    for row in rows:
        size = row["train"] + row["test"]
        if "failed" in row:
            print(f"| {row['name']} | {size:,} | {row['labels']} | {row['failed']} |" + " |" * 6, flush=True)
            continue
        figures = (row[key] for key in ("accuracy", "linear_accuracy"))
        cells = [row["name"], f"{size:,}", str(row["labels"]), *(f"{each:.3f}" for each in figures)]
        cells += [f"{100 * row['difference']:+.1f}", f"{row['f1']:.3f}", f"{row['linear_f1']:.3f}"]
        cells += [f"{row['seconds']:.0f}", "yes" if row["worse"] else ""]
        print(f"| {' | '.join(cells)} |", flush=True)


def summary(rows: Sequence[Row]) -> str:
    done = [row for row in rows if "failed" not in row]
    above = sum(row["difference"] > 0 for row in done)
    differences = [row["difference"] for row in done] or [math.nan]
    mean, median = statistics.fmean(differences), statistics.median(differences)
    behind = [row["name"] for row in done if row["worse"]]
    low = [row["name"] for row in done if row["f1"] < row["linear_f1"] - 0.05]
    return (
        f"{len(done)} of {len(rows)} train at the first attempt; {above} above the linear model; mean "
        f"difference {100 * mean:+.2f} points, median {100 * median:+.2f}; more than a point behind "
        f"beyond chance: {', '.join(behind) or 'none'}; macro F1 more than 5 points behind: "
        f"{', '.join(low) or 'none'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The default classifier beside a linear model.")
    parser.add_argument(
        "paths", type=Path, nargs="*", help="tables of your own, in place of the made-up ones"
    )
    parser.add_argument("--only", nargs="+", default=[], help="names of made-up tables")
    parser.add_argument("--json", type=Path, metavar="FILE.json")
    options = parser.parse_args()
    if not baseline.available():
        parser.error("scikit-learn is needed: pip install scikit-learn")
    with tempfile.TemporaryDirectory() as folder:
        rows = real(options.paths, Path(folder)) if options.paths else made_up(options.only, Path(folder))
    print(f"\n{summary(rows)}")
    if options.json:
        options.json.write_text(json.dumps({"processor": processor(), "tables": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
