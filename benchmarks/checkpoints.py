"""What checkpoints cost a training of the default recipe of `ostinato train lm`, at one save a minute.

    python benchmarks/checkpoints.py                      # two minutes
    python benchmarks/checkpoints.py --folder /mnt/disk   # on another disk

It trains as the command does, but saves every few seconds, and times every save (with its flushes to the disk
and the removal of older checkpoints) and every step. A save may also slow down the steps after it, while the
system still writes: what these take longer than others is counted, too. The figures are medians over the
saves. Results are printed and saved as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

import ostinato
from ostinato.runs import checkpoints
from ostinato.training import run as runs
from ostinato.training.events import StepDone
from ostinato.training.loop import Trainer
from ostinato.training.recipes import read_recipe

SECONDS_BETWEEN_SAVES = 4
STEPS_AFTER = 10
"""So many steps after a save are compared with the others."""
WARM_UP_STEPS = 20
WANTED_PER_CENT = 2.0


class Clock:
    """Seconds of every save and step, and how many steps after the last save each was."""

    def __init__(self) -> None:
        self.saves: list[float] = []
        self.steps: list[tuple[int, float]] = []
        self._since_save = 0
        self._resumed_at = time.perf_counter()

    def saved(self, seconds: float) -> None:
        self.saves.append(seconds)
        self._since_save = 0
        self._resumed_at = time.perf_counter()

    def __call__(self, event: Any) -> None:
        if isinstance(event, StepDone):
            now = time.perf_counter()
            self._since_save += 1
            self.steps.append((self._since_save, now - self._resumed_at))
            self._resumed_at = now


def measure(minutes: float, folder: Path) -> dict[str, float]:
    """Trains for so long, and says what a save costs."""
    clock = Clock()

    class TimedTrainer(Trainer):
        def _save(self) -> None:
            began = time.perf_counter()
            super()._save()
            clock.saved(time.perf_counter() - began)

    recipe = read_recipe("language_model", "default")
    settings = recipe.training | {"minutes": minutes, "evaluations": 1}
    runs.Trainer = TimedTrainer
    trained = runs.train(
        ostinato.LanguageModelConfig(**recipe.task),
        training=ostinato.TrainingConfig(**settings, checkpoint_minutes=SECONDS_BETWEEN_SAVES / 60),
        out=folder / "run",
        on_event=clock,
    )
    # The first is of step 0, the last after the evaluation; in between they are saves while it trains.
    saves, steps = clock.saves[1:-1], clock.steps[WARM_UP_STEPS:]
    others = [seconds for after, seconds in steps if after > STEPS_AFTER]
    if not saves or not others:
        raise SystemExit("too few steps or saves in that time; take more --minutes")
    usual = statistics.median(others)
    slower = [seconds - usual for after, seconds in steps if after <= STEPS_AFTER]
    newest = checkpoints.steps(trained.directory.checkpoints)[-1]
    written = checkpoints.path_of(trained.directory.checkpoints, newest)
    save, after = statistics.median(saves), STEPS_AFTER * statistics.median(slower)
    return {
        "saves": len(saves),
        "bytes_written": sum(file.stat().st_size for file in written.iterdir()),
        "median_save_ms": 1e3 * save,
        "longest_save_ms": 1e3 * max(saves),
        "step_ms": 1e3 * usual,
        "steps_after_a_save_ms_more": 1e3 * after,
        "per_cent_of_the_time": 100 * (save + max(0.0, after)) / 60,
        "per_cent_if_all_took_the_longest": 100 * (max(saves) + max(0.0, after)) / 60,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a checkpoint a minute costs a training.")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument(
        "--folder", type=Path, help="where to save; the default is the system's temporary one"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "results" / "checkpoints.json",
        metavar="FILE.json",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        os.environ["OSTINATO_CACHE"] = str(Path(folder) / "cache")
        figures = measure(options.minutes, Path(folder))
    print("| what a save costs | |\n|---|---:|")
    for name, value in figures.items():
        print(f"| {name.replace('_', ' ')} | {value:,.4g} |")
    print(
        f"\nWanted: at most {WANTED_PER_CENT:g} per cent of the time of a training that saves once a minute."
    )
    facts = {
        "processors": len(os.sched_getaffinity(0)),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    results = {"machine": facts, "results": figures, "wanted_per_cent": WANTED_PER_CENT}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
