"""What ostinato makes of a folder of other people's recurrent Keras models: which load, and what is gained.

    python benchmarks/real_models.py FOLDER                        # about half a minute a file
    python benchmarks/real_models.py FOLDER --rounds 0             # loads and compares, times nothing
    python benchmarks/real_models.py FOLDER --json FILE.json

A model is a `.keras`, `.h5` or `.hdf5` file, a `.json` with its weights beside it (a `.h5` or `.hdf5` of the
same name), or a SavedModel folder. Each is loaded in a process of its own, by Keras alone and by
`ostinato.accelerate`, so a crash costs one row. Both keep their safe mode on: no file runs code.

Outputs and speed are compared with the model that Keras loads; if it loads none, with the copy that
`ostinato.to_keras` makes. In files of Keras 1 and 2 with hard_sigmoid, which Keras 3 computes with another
slope, it is Keras' model with the former slope. Where outputs differ by more than rounding, both are compared
with the model in float64. Inputs are made up; batch and time are those of `--batch` and `--time` where the
model leaves them open. One thread runs everything. All passes of a model take turns, round after round; a
turn is the median of what fits into `--seconds`, a figure the median over the rounds.

The share of the recurrent layers is what a forward pass of Keras' model takes less without them: their
outputs are then given, and all else is computed.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from comparison.machine import environment, processor
from peers import versions
from real_model import ROUNDING, TOLERANCE

FILES, WEIGHTS = (".keras", ".h5", ".hdf5", ".json"), (".h5", ".hdf5")
WORKER = Path(__file__).parent / "real_model.py"
CHANCE = 10
"""Where a network multiplies rounding a thousand times, two ways of rounding are so far apart by chance."""
WANTED_MEAN, LARGE_SHARE = 1.2, 0.5
LONGEST_CELL = 60

Row = dict[str, Any]


class Found(NamedTuple):
    """A model in the folder: its file or folder, and its weights where they are in another file."""

    path: Path
    weights: Path | None = None


def find(folder: Path) -> list[Found]:
    """The models in a folder and in those below it."""
    saved = [path.parent for path in sorted(folder.rglob("saved_model.pb"))]
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in FILES and path.is_file() and not any(each in path.parents for each in saved)
    ]
    configurations = [path for path in files if path.suffix == ".json" and is_configuration(path)]
    beside = {path: weights_beside(path) for path in configurations}
    models = [path for path in files if path.suffix != ".json" and path not in beside.values()]
    found = [*map(Found, saved), *map(Found, models), *(Found(path, beside[path]) for path in beside)]
    return sorted(found)


def is_configuration(path: Path) -> bool:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"class_name", "config"} <= content.keys()


def weights_beside(path: Path) -> Path | None:
    paths = (path.with_suffix(suffix) for suffix in WEIGHTS)
    return next((each for each in paths if each.exists()), None)


def look_at(found: Found, options: argparse.Namespace) -> Row:
    """The row of a model."""
    command = [sys.executable, str(WORKER), str(found.path)]
    command += [] if found.weights is None else ["--weights", str(found.weights)]
    command += ["--batch", *map(str, options.batch), "--time", str(options.time)]
    command += ["--rounds", str(options.rounds), "--seconds", str(options.seconds)]
    row: Row = {"file": found.path.relative_to(options.folder).as_posix(), "batches": []}
    try:
        done = subprocess.run(
            command,
            env=environment("ostinato", threads=1),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=options.timeout,
            check=False,
        )
        answers, ended = done.stdout, None if done.returncode == 0 else ending(done)
    except subprocess.TimeoutExpired as error:
        answers, ended = _text(error.stdout), f"it took longer than {options.timeout:g} seconds"
    for line in answers.splitlines(keepends=True):
        if not line.endswith("\n"):
            break  # the process ended in the middle of it
        answer = json.loads(line)
        row["batches"] += [answer.pop("batches")] if "batches" in answer else []
        row |= answer
    step = row.pop("step", "starting")
    if ended is not None:
        row["failed"] = f"{ended}, when {step}" if step else ended
    return without_paths(row, options.folder)


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def ending(done: subprocess.CompletedProcess[str]) -> str:
    """How a process that failed came to its end."""
    if done.returncode < 0:
        return f"it crashed with signal {-done.returncode}"
    last_line = (done.stderr.strip().splitlines() or ["nothing"])[-1]
    return f"it ended with code {done.returncode}, saying {last_line[:200]}"


def without_paths(thing: Any, folder: Path) -> Any:
    """The same without the folder's path, and without other paths of this machine."""
    if isinstance(thing, dict):
        return {name: without_paths(value, folder) for name, value in thing.items()}
    if isinstance(thing, list):
        return [without_paths(value, folder) for value in thing]
    if not isinstance(thing, str):
        return thing
    for path in dict.fromkeys((str(folder), str(folder.resolve()))):
        thing = thing.replace(f"{path}/", "")
    return re.sub(r"(?<![\w.])/(?:[\w.+@ -]+/)+", "…/", thing)


def is_wrong(row: Row) -> bool:
    return any(differs(each) for each in row["batches"])


def differs(figures: Row) -> bool:
    """Whether outputs are further apart than rounding explains: that of Keras from float64, if measured."""
    if figures["relative_difference"] <= TOLERANCE or figures["difference"] <= ROUNDING:
        return False
    to_float64 = figures.get("to_float64")
    return to_float64 is None or not to_float64["ostinato"] <= max(TOLERANCE, CHANCE * to_float64["keras"])


def with_large_share(rows: Sequence[Row], batch: int) -> list[tuple[str, float]]:
    """File and geometric mean of the models whose recurrent layers take over half of Keras' forward time."""
    figures = [(row["file"], each) for row in rows for each in row["batches"] if each["batch"] == batch]
    return [(file, each["mean"]) for file, each in figures if (each.get("share") or 0) > LARGE_SHARE]


def grouped(rows: Sequence[Row], sentence: Callable[[Row], str | None]) -> Iterator[str]:
    """Lines that name the files with the same sentence, their own names left out of it."""
    files = collections.defaultdict(list)
    for row in rows:
        said = sentence(row)
        if said is not None:
            files[said.replace(row["file"], "FILE")].append(row["file"])
    for said, names in sorted(files.items(), key=lambda item: -len(item[1])):
        yield f"- {said}: {', '.join(names)}"


def unless_yes(key: str) -> Callable[[Row], str | None]:
    return lambda row: None if row.get(key, "yes") == "yes" else row[key]


def summary(rows: Sequence[Row], batches: Sequence[int]) -> str:
    """How many load, which are refused and why, which are wrong, and how many gain enough."""
    here = [row for row in rows if row.get("here") == "yes"]
    stock = [row for row in rows if row.get("stock") == "yes"]
    wrong = [row["file"] for row in rows if is_wrong(row)]
    parts = [row for row in here if row["native"] < row["recurrent"]]
    lines = [
        f"{len(rows)} models; Keras 3 loads {len(stock)}, ostinato {len(here)}",
        f"of {sum(row['recurrent'] for row in here)} recurrent layers the native engine runs "
        f"{sum(row['native'] for row in here)}",
        f"wrong (outputs differ by more than {TOLERANCE:g} of the largest, and ours are more than {CHANCE} "
        f"times as far from float64 as Keras'): {', '.join(wrong) or 'none'}",
    ]
    for batch in batches:
        large = with_large_share(rows, batch)
        slow = [f"{file} ({mean:.2f})" for file, mean in large if mean < WANTED_MEAN]
        if large:
            middle = statistics.median(mean for _, mean in large)
            lines.append(
                f"batch {batch}: in {len(large)} models recurrent layers take over half of Keras' forward "
                f"time; the geometric mean of forward and training is at least {WANTED_MEAN} × in "
                f"{len(large) - len(slow)} of them (median {middle:.2f} ×), not in "
                f"{', '.join(slow) or 'none'}"
            )
    lines += ["", "Not loaded here:", *grouped(rows, unless_yes("here"))]
    lines += ["", "Not loaded by Keras 3:", *grouped(rows, unless_yes("stock"))]
    lines += ["", "Not run:", *grouped(rows, lambda row: row.get("failed"))]
    lines += ["", "Not native:", *grouped(parts, lambda row: "; ".join(row["not_native"]))]
    return "\n".join(lines)


def short(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"


def times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def cells(row: Row, batches: Sequence[int]) -> list[str]:
    """The cells of a row of the table."""
    figures = {each["batch"]: each for each in row["batches"]}
    apart = max((each["difference"] for each in figures.values()), default=None)
    found = [
        row["file"],
        row.get("keras", ""),
        short(row.get("stock", "")),
        short(row.get("failed") or row.get("here", "")),
        f"{row['native']}/{row['recurrent']}" if "native" in row else "",
        "" if apart is None else f"{apart:.1e}",
        row.get("reference", ""),
    ]
    for batch in batches:
        each = figures.get(batch, {})
        ratios, share = each.get("ratios", {}), each.get("share")
        found += [times(ratios.get("forward")), times(ratios.get("training")), times(each.get("mean"))]
        found.append("" if share is None else f"{share:.0%}")
    return [cell.replace("|", "/") for cell in found]


def table(rows: Sequence[Row], batches: Sequence[int]) -> str:
    headings = ["file", "Keras", "loads in Keras 3", "loads here", "native", "difference", "to"]
    for batch in batches:
        headings += [f"{name}, batch {batch}" for name in ("forward ×", "training ×", "mean ×", "share")]
    lines = [headings, ["---"] * len(headings), *(cells(row, batches) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Which models of a folder load, and what is gained.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32], help="batch sizes")
    parser.add_argument("--time", type=int, default=32, help="the length where a model leaves it open")
    parser.add_argument("--rounds", type=int, default=5, help="0 times nothing")
    parser.add_argument("--seconds", type=float, default=0.2, help="the length of a turn")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds that one model may take")
    parser.add_argument("--json", type=Path, metavar="FILE.json")
    options = parser.parse_args()
    if not options.folder.is_dir():
        parser.error(f"FOLDER must be a folder, got {options.folder}")
    return options


def save(rows: Sequence[Row], options: argparse.Namespace) -> None:
    """Writes what is known so far, so that a run that is stopped is not lost."""
    settings = ("batch", "time", "rounds", "seconds", "timeout")
    results = {
        "machine": {"processor": processor(), "threads": 1},
        "versions": versions(("ostinato", "tensorflow-cpu", "tensorflow", "keras")),
        "settings": {name: getattr(options, name) for name in settings},
        "models": rows,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(finite(results), indent=2, allow_nan=False) + "\n")


def finite(thing: Any) -> Any:
    """The same for JSON: None instead of infinity and NaN."""
    if isinstance(thing, dict):
        return {name: finite(value) for name, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [finite(value) for value in thing]
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing


def main() -> None:
    options = parse_arguments()
    models = find(options.folder)
    rows: list[Row] = []
    for number, found in enumerate(models):
        row = look_at(found, options)
        rows.append(row)
        said = short(row.get("failed") or row.get("here", ""))
        print(f"{number + 1} of {len(models)}: {row['file']}: {said}", file=sys.stderr, flush=True)
        if options.json:
            save(rows, options)
    print(table(rows, options.batch))
    print()
    print(summary(rows, options.batch))


if __name__ == "__main__":
    main()
