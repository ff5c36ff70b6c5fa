"""What somebody who reads a run finds: whether anything is torn, and how it differs from another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.errors import RunError
from ostinato.runs import checkpoints
from ostinato.runs.checkpoints import Checkpoint
from ostinato.runs.directory import open_run

CLOCKS = {"seconds", "step_seconds", "evaluation_seconds", "all_evaluations_seconds"}
LENGTHS = {"metrics_bytes"}  # of the file that holds the clocks' digits


def torn(path: Path) -> list[str]:
    """What is wrong with a run, as it lies there at this moment; no run at all is nothing wrong."""
    if not path.exists():
        return []
    try:
        run = open_run(path)
        newest, problems = run.newest_checkpoint()
        for step in checkpoints.steps(run.checkpoints):
            checkpoints.load(run.checkpoints, step)
        run.weights("best")
    except RunError as error:
        return [str(error)]
    metrics = run.metrics.read_bytes() if run.metrics.exists() else b""
    if len(metrics) < newest.position["metrics_bytes"]:
        problems.append("metrics.jsonl is shorter than the checkpoint says")
    *lines, _ = metrics.split(b"\n")  # what comes after the last end of a line may be torn
    for file, text in [*_json_files(path), *((run.metrics, line) for line in lines)]:
        try:
            json.loads(text)
        except ValueError as error:
            problems.append(f"{file}: {error}")
    return problems


def _json_files(path: Path) -> list[tuple[Path, bytes]]:
    """The JSON files under names that a reader looks at."""
    files = [
        file
        for file in path.rglob("*.json")
        if ".writing-" not in str(file) and ".removing-" not in str(file)
    ]
    return [(file, file.read_bytes()) for file in files]


def differences(path: Path, expected_path: Path) -> list[str]:
    """How a finished run differs from another, clocks aside: everything is compared bit for bit."""
    run, expected = open_run(path), open_run(expected_path)
    last, expected_last = run.newest_checkpoint()[0], expected.newest_checkpoint()[0]
    found = _unlike("the last checkpoint", last, expected_last)
    best = last.position["best_step"]
    if best == expected_last.position["best_step"]:
        pair = (checkpoints.load(one.checkpoints, best) for one in (run, expected))
        found += _unlike("the best checkpoint", *pair)
    if checkpoints.steps(run.checkpoints) != checkpoints.steps(expected.checkpoints):
        found.append(f"checkpoints of steps {checkpoints.steps(run.checkpoints)} are kept")
    rows = run.rows()
    if _timeless(rows) != _timeless(expected.rows()):
        found.append("the rows of metrics.jsonl differ")
    if len({(row["split"], row["step"]) for row in rows}) != len(rows):
        found.append("metrics.jsonl has two rows of one step and split")
    if last.position["metrics_bytes"] != run.metrics.stat().st_size:
        found.append("metrics.jsonl has another length than the last checkpoint says")
    for name in ("task", "task_config", "training", "source", "vocabulary"):
        if getattr(run, name) != getattr(expected, name):
            found.append(f"the run's {name} differs")
    return found


def _unlike(what: str, one: Checkpoint, other: Checkpoint) -> list[str]:
    if one.step != other.step:
        return [f"{what} is of step {one.step}, not {other.step}"]
    found = [
        f"{what}: {name} is {one.position[name]!r}, not {other.position[name]!r}"
        for name in one.position
        if name not in CLOCKS | LENGTHS and one.position[name] != other.position[name]
    ]
    for group in sorted(one.groups.keys() | other.groups.keys()):
        arrays, others = one.groups[group], other.groups[group]
        if arrays.keys() != others.keys():
            found.append(f"{what}: {group} has other names")
        else:
            found += [
                f"{what}: {name} of {group} differs"
                for name in arrays
                if _bits(arrays[name]) != _bits(others[name])
            ]
    return found


def _bits(array: np.ndarray) -> tuple[Any, ...]:
    return array.shape, array.dtype, array.tobytes()


def _timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            name: value
            for name, value in row.items()
            if name not in CLOCKS and not name.endswith("_per_second")
        }
        for row in rows
    ]
