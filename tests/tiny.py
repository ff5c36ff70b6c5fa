"""Tiny texts and runs: a few seconds from beginning to end, and made once for all processes of a test run."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ostinato.training.events import Event

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "rain", "fall", "over", "hills")


def text(lines: int = 50) -> str:
    """Lines of eight words each, the same in every process."""
    return "\n".join(map(" ".join, np.random.default_rng(0).choice(WORDS, size=(lines, 8))))


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills for the first process of the test run that asks; the others wait for it.

    While it is made, `OSTINATO_CACHE` is a folder in it. A test that changes what is there takes a copy.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # that of each worker is within that of the test run
    folder = base / "made once" / name
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("OSTINATO_CACHE", str(folder / "cache"))
                make(folder)
            (folder / "made").touch()
    return folder


def copy_at(step: int, run: Path, copy: Path, kind: type[Event]) -> Callable[[Event], None]:
    """A listener that copies a run's folder at a step: to a training that was killed there, it is the same.

    Args:
        step: the step, or the first one after it with such an event.
        run, copy: the folder, and where to.
        kind: of the event.
    """

    def listen(event: Event) -> None:
        if isinstance(event, kind) and event.step >= step and not copy.exists():
            shutil.copytree(run, copy)

    return listen


def change(path, **changes):
    """Changes settings in the config.json of a run: objects key by key, everything else as a whole."""
    file = path / "config.json"
    config = json.loads(file.read_text())
    for name, value in changes.items():
        config[name] = config[name] | value if isinstance(value, dict) else value
    file.write_text(json.dumps(config))
