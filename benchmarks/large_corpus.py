"""A text of 4 GiB beside a small one: what memory and what time it takes until the first step.

    python benchmarks/large_corpus.py                                      # characters, a few minutes
    python benchmarks/large_corpus.py --size 1 --encoders word bpe         # GiB; these read more slowly
    TMPDIR=/large/disk python benchmarks/large_corpus.py book.txt

The large text is the small one over and over, so that both have the same vocabulary and train the same
network. Each training is a process of its own. The first with an empty cache reads the text for its hash, its
vocabulary and its ids (cold); those after it find all that in the cache (warm), small and large in turn. Text
and cache are in a temporary folder that is removed at the end; Linux keeps some of them in its page cache, as
it does for everybody.

    memory    the highest anonymous memory (RssAnon) of the process; the memory-mapped ids do not count, which
              the system can drop at any time
    start-up  from the start of the process to the end of the first step; warm, the median of all rounds
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from comparison.machine import THREADS, environment, processor
from comparison.tables import check, check_table, report
from keras_fit import RESULTS
from language_model import MEBIBYTE, peak_anonymous_memory

import ostinato
from ostinato.data.encoders.registry import ENCODERS
from ostinato.data.sources.corpora import open_corpus
from ostinato.training.events import StepDone

GIBIBYTE = 1024 * MEBIBYTE
SAMPLINGS = ("sequential", "random")
STEPS, VALIDATION_TOKENS = 40, 20_000
WANTED_MEMORY, WANTED_SECONDS = 300, 5


def train(text: Path, encoder: str, sampling: Any, out: Path) -> None:
    """Trains for some steps, and leaves the time of the first one (monotonic clock) in a file beside."""

    def on_event(event: Any) -> None:
        if isinstance(event, StepDone) and event.step == 1:
            first_step_of(out).write_text(str(time.monotonic()))

    config = ostinato.LanguageModelConfig(
        encoder=encoder,  # pyright: ignore[reportArgumentType]
        sampling=sampling,
        units=(64,),
        embedding=64,
        batch=32,
        seq_len=35,
        validation_tokens=VALIDATION_TOKENS,
    )
    training = ostinato.TrainingConfig(steps=STEPS, evaluations=1)
    ostinato.train(config, text, training=training, out=out, overwrite=True, on_event=on_event)


def first_step_of(out: Path) -> Path:
    return out.with_suffix(".first_step")


def measure(text: Path, encoder: str, sampling: str) -> dict[str, float]:
    """Peak anonymous memory in MiB, and seconds to the first step, of a training in a process of its own."""
    out = text.with_suffix(".run")
    command = [sys.executable, __file__, "--train", text, encoder, sampling, out]
    began = time.monotonic()
    peak = peak_anonymous_memory(command)
    return {
        "memory": peak / MEBIBYTE,
        "seconds": float(first_step_of(out).read_text()) - began,
    }


def write_texts(source: str | None, size: int, folder: Path) -> dict[str, Path]:
    """The small text, and the large one: as often that one as gives `size` bytes or a little more."""
    data = b"".join(open_corpus(source).byte_chunks())
    copies = max(-(-size // len(data)), 1)
    needed = 3 * (copies + 1) * len(data)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise SystemExit(
            f"Error: {folder.parent} has {free / GIBIBYTE:.1f} GiB free, but the text and its ids may need "
            f"{needed / GIBIBYTE:.1f} GiB; give a smaller --size, or set TMPDIR to a folder on another disk"
        )
    texts = {"small": folder / "small.txt", "large": folder / "large.txt"}
    texts["small"].write_bytes(data)
    with open(texts["large"], "wb") as file:
        for _ in range(copies):
            file.write(data)
    return texts


def compare(texts: dict[str, Path], encoder: str, sampling: str, rounds: int) -> list[dict[str, Any]]:
    """The table's rows for one encoder and sampling."""
    cold, warm = {}, {name: [] for name in texts}
    shutil.rmtree(os.environ["OSTINATO_CACHE"], ignore_errors=True)
    for name, text in texts.items():
        report(f"{encoder}, {sampling}: {name}, cold")
        cold[name] = measure(text, encoder, sampling)
    for number in range(rounds):
        for name, text in texts.items():
            report(f"{encoder}, {sampling}: {name}, warm, round {number + 1} of {rounds}")
            warm[name].append(measure(text, encoder, sampling))
    report("")
    memory = {
        "cold": {name: cold[name]["memory"] for name in texts},
        "warm": {name: max(one["memory"] for one in warm[name]) for name in texts},
    }
    seconds = {
        "cold": {name: cold[name]["seconds"] for name in texts},
        "warm": {name: statistics.median(one["seconds"] for one in warm[name]) for name in texts},
    }
    rows = []
    for state in ("cold", "warm"):
        title = f"{encoder}, {sampling}, {state}"
        more = memory[state]["large"] - memory[state]["small"]
        figures = memory[state] | {"more": more}
        rows.append(
            check(f"{title}: memory", figures, "MiB", more <= WANTED_MEMORY, f"≤ {WANTED_MEMORY} MiB more")
        )
        later = seconds[state]["large"] - seconds[state]["small"]
        figures = seconds[state] | {"more": later}
        held, wanted = (
            (later <= WANTED_SECONDS, f"≤ {WANTED_SECONDS} s more") if state == "warm" else (None, "")
        )
        rows.append(check(f"{title}: start-up", figures, "s", held, wanted))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on a text of some GiB and on a small one.")
    parser.add_argument("source", nargs="?", help="the text that is repeated; Python's documentation if none")
    parser.add_argument("--size", type=float, default=4, help="of the large text, in GiB")
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=["char"])
    parser.add_argument("--samplings", nargs="+", choices=SAMPLINGS, default=SAMPLINGS)
    parser.add_argument("--rounds", type=int, default=3, help="trainings with a warm cache, of each text")
    parser.add_argument("--out", type=Path, default=RESULTS / "large_corpus.json", metavar="FILE.json")
    parser.add_argument("--train", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        text, encoder, sampling, out = options.train
        return train(Path(text), encoder, sampling, Path(out))
    os.environ.update(environment("ostinato"))
    checks: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OSTINATO_CACHE"] = str(Path(folder) / "cache")
        report("writing the large text")
        texts = write_texts(options.source, round(options.size * GIBIBYTE), Path(folder))
        for encoder in options.encoders:
            checks[encoder] = [
                row
                for sampling in options.samplings
                for row in compare(texts, encoder, sampling, options.rounds)
            ]
        sizes = {name: text.stat().st_size for name, text in texts.items()}
    rows = [row for each in checks.values() for row in each]
    print(f"{sizes['small']:,} bytes, and {sizes['large']:,}:\n")
    print(check_table(rows))
    missed = [row["title"] for row in rows if row["held"] is False]
    print(f"\nHeld: {'all' if not missed else 'all but ' + '; '.join(missed)}.")
    machine = {"processor": processor(), "threads": THREADS}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine, "bytes": sizes, "checks": checks}
    options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
