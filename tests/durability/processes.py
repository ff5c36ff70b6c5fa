"""Trainings in processes of their own, that are killed, or kill themselves, or end."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ostinato.runs import checkpoints

_POLL_SECONDS = 0.001


@dataclass(frozen=True)
class Place:
    """Where a run lies: in a folder that holds nothing but it and a cache of its own.

    Attributes:
        root: that folder.
    """

    root: Path

    @classmethod
    def made(cls, root: Path) -> Place:
        root.mkdir(parents=True)
        return cls(root)

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def newest_step(self) -> int:
        """The newest checkpoint's step; -1 when there is none."""
        return max(checkpoints.steps(self.run / "checkpoints"), default=-1)

    @property
    def leftovers(self) -> list[str]:
        """The folders of a checkpoint, or of a whole run, that was being written or removed."""
        found = [*self.root.glob(".*-*"), *(self.run / "checkpoints").glob(".*-*")]
        return sorted(str(path.relative_to(self.root)) for path in found)


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: its exit code; negative for a signal.
        cpu_seconds: the processor's time that it used.
        said: what it wrote on standard output and standard error.
        passed: how often it passed each place, see `places`; empty when it was killed.
        seen: when each newest checkpoint was first seen, in seconds of `time.perf_counter`, by step.
    """

    code: int
    cpu_seconds: float
    said: str
    passed: Counter[str]
    seen: dict[int, float]


class Nursery:
    """Runs `ostinato` in forks of a process that has imported everything, one after another."""

    def __init__(self, folder: Path):
        self._folder, self._jobs = folder, 0
        with open(folder / "nursery.log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("nursery.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                # A process that is killed leaves its temporary files.
                env=os.environ | {"TMPDIR": str(folder)},
            )
        assert self._answer() == "ready"

    def close(self) -> None:
        self._process.communicate()

    def run(
        self,
        place: Place,
        arguments: list[str],
        *,
        death: tuple[str, int] | None = None,
        strike: Callable[[int], bool] | None = None,
    ) -> Ended:
        """Runs `ostinato` to its end.

        Args:
            place: where the run lies.
            arguments: of `ostinato`.
            death: where it kills itself, see `places`.
            strike: called every millisecond with the process's number, until it returns True.
        """
        self._jobs += 1
        log, record = (self._folder / f"job-{self._jobs}.{kind}" for kind in ("log", "json"))
        job = {"arguments": arguments, "log": log, "record": record, "death": death}
        job |= {"root": place.root, "cache": place.root / "cache"}
        self._pipe("stdin").write(json.dumps(job, default=str).encode() + b"\n")
        process, seen = self._answer(), {}
        while not select.select([self._pipe("stdout")], [], [], _POLL_SECONDS)[0]:
            seen.setdefault(place.newest_step, time.perf_counter())
            if strike is not None and strike(process):
                strike = None
        passed = json.loads(record.read_text()) if record.exists() else {}
        return Ended(*self._answer(), log.read_text(errors="replace"), Counter(passed), seen)

    def _pipe(self, name: str) -> IO[bytes]:
        return getattr(self._process, name)

    def _answer(self) -> Any:
        return json.loads(self._pipe("stdout").readline())


class Killer:
    """Kills a training so many seconds after it has saved a step, or its next one if it had that."""

    def __init__(self, place: Place, step: int, seconds: float):
        self._place, self._seconds = place, seconds
        self._step, self._saved_at = max(step, place.newest_step + 1), math.inf

    def __call__(self, process: int) -> bool:
        now = time.perf_counter()
        if self._saved_at == math.inf and self._place.newest_step >= self._step:
            self._saved_at = now
        if now - self._saved_at < self._seconds:
            return False
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(process, signal.SIGKILL)
        return True
