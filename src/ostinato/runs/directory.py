"""The run directory, which a training writes and everything else reads.

config.json      all settings of the task and the training, and the source with its content hash
vocabulary.json  the encoder
checkpoints/     see `ostinato.runs.checkpoints`
metrics.jsonl    one JSON object a line
tensorboard/     TensorBoard events
report/          figures
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeGuard

import ostinato
from ostinato.errors import RunError, RunWarning, warn
from ostinato.files import atomic as files
from ostinato.files.plain import open_plain
from ostinato.runs import checkpoints, reading
from ostinato.runs.checkpoints import AVERAGE, Checkpoint, SavedJson
from ostinato.wording import either, option, shown

_FORMAT, _VERSION = "ostinato run", 1
_MASKS = 2
_TASK = re.compile(r"[a-z_]{1,99}")
_LONGEST_ROW, _LARGEST_METRICS = 1 << 20, 1 << 32  # bytes; a usual row has some hundred


@dataclass(frozen=True)
class RunDirectory:
    """A run on disk.

    Attributes:
        path: the directory.
        task: the task's name.
        task_config: the settings of the task.
        training: the settings of the training.
        source: {"description": …, "sha256": …}, see `ostinato.data.sources.corpora`.
        vocabulary: the encoder.
        packages: the packages that the network needs, by the part of it that they define.
        masks: how dropout masks are drawn: 1 by the numbers of sites, as in older versions, 2 by their names.
        chosen: the settings that a rule chose for the data and the budget, and why.
        budgets: the budgets that were added after the one in `training`; see `ostinato.training.continuing`.
    """

    path: Path
    task: str
    task_config: SavedJson
    training: SavedJson
    source: SavedJson
    vocabulary: SavedJson
    packages: SavedJson = field(default_factory=dict)
    masks: int = _MASKS
    budgets: list[SavedJson] = field(default_factory=list)
    chosen: SavedJson = field(default_factory=dict)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        return self.path / "report"

    @property
    def _lacks_checkpoints(self) -> str:
        return f"{self.path} has no checkpoint; the run directory is damaged"

    def create(self, first: Checkpoint, *, overwrite: bool = False) -> None:
        """Writes the directory, whole or not at all.

        Args:
            first: its first checkpoint; a run without one could not be resumed.
            overwrite: replace an existing run.

        Raises:
            RunError: the path is taken, or cannot be written.
        """
        check_free(self.path, overwrite=overwrite)
        config = {
            "format": _FORMAT,
            "version": _VERSION,
            "ostinato": ostinato.__version__,
            "task": self.task,
            "task_config": self.task_config,
            "training": self.training,
            "source": self.source,
            "packages": self.packages,
            "masks": self.masks,
            "budgets": self.budgets,
            "chosen": self.chosen,
        }
        aside = self.path.with_name(f".{self.path.name}.writing-{os.getpid()}")
        with files.writing(self.path):
            try:
                shutil.rmtree(aside, ignore_errors=True)  # left by a killed process with this number
                aside.mkdir(parents=True)
                files.write_synced(aside / "config.json", files.to_json(config))
                files.write_synced(aside / "vocabulary.json", files.to_json(self.vocabulary))
                checkpoints.save(aside / "checkpoints", first)
                files.sync_folder(aside)
                replaced = self.path.with_name(f".{self.path.name}.replaced-{os.getpid()}")
                if overwrite and self.path.exists():
                    os.rename(self.path, replaced)
                os.rename(aside, self.path)
                files.sync_folder(self.path.parent)
                shutil.rmtree(replaced, ignore_errors=True)
            except (OSError, RunError):
                shutil.rmtree(aside, ignore_errors=True)
                raise

    def with_vocabulary(self, vocabulary: SavedJson) -> RunDirectory:
        """The run with another vocabulary, written whole or not at all."""
        files.replace(self.path / "vocabulary.json", files.to_json(vocabulary))
        return replace(self, vocabulary=vocabulary)

    def with_budget(self, budget: SavedJson) -> RunDirectory:
        """The run with one budget more; `write_budgets` writes it down."""
        return replace(self, budgets=[*self.budgets, budget])

    def write_budgets(self) -> None:
        """Writes the budgets into config.json, whole or not at all. Raises RunError."""
        path = self.path / "config.json"
        config = reading.read_json(path, reading.LARGEST_SETTINGS)
        assert isinstance(config, dict)  # as when the run was opened
        files.replace(path, files.to_json(config | {"budgets": self.budgets}))

    def append_metrics(self, row: Mapping[str, object]) -> None:
        """Adds a row to metrics.jsonl."""
        with files.writing(self.metrics), open(self.metrics, "ab") as file:
            file.write(json.dumps(row).encode() + b"\n")

    def sync_metrics(self) -> int:
        """Flushes metrics.jsonl to disk; returns its length in bytes."""
        with files.writing(self.metrics), open(self.metrics, "ab") as file:
            os.fsync(file.fileno())
            files.sync_folder(self.path)  # the file may be new in it
            return file.tell()

    def cut_metrics(self, length: int) -> None:
        """Cuts metrics.jsonl to its length in bytes at a checkpoint."""
        with files.writing(self.metrics), open(self.metrics, "ab") as file:
            file.truncate(min(length, file.tell()))

    def rows(self) -> list[dict[str, str | float]]:
        """The rows of metrics.jsonl; malformed lines are left out, such as a last line torn by a kill.

        Raises:
            RunError: it cannot be read.
        """
        if not self.metrics.exists():
            return []
        rows = []
        try:
            with open_plain(self.metrics) as file:
                if (size := os.fstat(file.fileno()).st_size) > _LARGEST_METRICS:
                    raise RunError(f"{self.metrics} has {size:,} bytes, more than any training writes")
                while line := file.readline(_LONGEST_ROW):
                    with suppress(ValueError, RecursionError):
                        row = json.loads(line)
                        if _is_row(row):
                            rows.append(row)
        except OSError as error:
            raise RunError(f"could not read {self.metrics}: {error.strerror or error}") from None
        return rows

    def newest_checkpoint(self, groups: tuple[str, ...] | None = None) -> tuple[Checkpoint, list[str]]:
        """The newest intact checkpoint, and the errors of newer ones.

        Args:
            groups: the groups of arrays to read, which must be intact; None reads all.

        Raises:
            RunError: there is none.
        """
        return self._newest(lambda step: checkpoints.load(self.checkpoints, step, groups))

    def _newest(self, load: Callable[[int], Checkpoint]) -> tuple[Checkpoint, list[str]]:
        """The newest checkpoint that can be loaded so, and the errors of newer ones. Raises RunError."""
        problems = []
        for step in reversed(checkpoints.steps(self.checkpoints)):
            try:
                return load(step), problems
            except RunError as error:
                problems.append(str(error))
        raise RunError(problems[0] if problems else self._lacks_checkpoints)

    def weights(self, which: str = "best") -> Checkpoint:
        """The weights of the "best" checkpoint or of the "last"; nothing else is read.

        The best is that of the lowest validation loss, unless the last one was preferred to it.
        They are the averaged weights where the evaluation of that checkpoint found these better.

        A `RunWarning` says when a newer checkpoint is damaged and an older one is used instead.

        Raises:
            RunError: there is none, or the best one is damaged.
        """
        if which == "last":
            last, problems = self._newest(lambda step: self._load_weights(step, "averaged"))
            self._warn(problems, f"step {last.step} is used instead")
            return last
        problems: list[str] = []
        for step in reversed(checkpoints.steps(self.checkpoints)):
            try:
                position = checkpoints.load(self.checkpoints, step, ()).position
                best, preferred = position.get("best_step"), position.get("preferred") is True
                # Without a validation part the last checkpoint is the best.
                is_best = best is None or best == step or preferred
                averaged = "averaged" if preferred else "best_averaged"
                loaded = self._load_weights(step, averaged) if is_best else None
            except RunError as error:
                problems.append(str(error))
                continue
            found = loaded or self._weights_of(best)
            self._warn(problems, f"the best of the older ones, step {found.step}, is used instead")
            return found
        raise RunError(problems[0] if problems else self._lacks_checkpoints)

    def prefer(self, step: int) -> None:
        """Makes a checkpoint the best one, whatever its loss."""
        saved = checkpoints.load(self.checkpoints, step, ())
        checkpoints.save(self.checkpoints, Checkpoint(step, saved.position | {"preferred": True}, {}))

    def _weights_of(self, best: object) -> Checkpoint:
        if type(best) is not int or best not in checkpoints.steps(self.checkpoints):
            raise RunError(
                f"the checkpoints of {self.path} are damaged: best_step is {shown(repr(best))}, which has "
                "no checkpoint"
            )
        return self._load_weights(best, "best_averaged")

    def _load_weights(self, step: int, averaged: str) -> Checkpoint:
        """The weights of a checkpoint, or their averages where this field of its position is true."""
        position = checkpoints.load(self.checkpoints, step, ()).position
        group = AVERAGE if position.get(averaged) is True else "weights"
        found = checkpoints.load(self.checkpoints, step, (group,))
        return Checkpoint(step, found.position, {"weights": found.groups[group]})

    def _warn(self, problems: list[str], remedy: str) -> None:
        for problem in problems:
            warn(f"{problem}; {remedy}", RunWarning)


def check_free(path: Path, *, overwrite: bool = False) -> None:
    """Refuses a path that is taken. Raises RunError, which says what to do."""
    if path.name in ("", ".."):
        raise RunError(f"{path} cannot be the name of a run directory; choose another {option('out')}")
    if _is_folder(path):
        if not any(path.iterdir()):
            return
        if not (path / "config.json").exists():
            raise RunError(
                f"{path} exists, is not empty, and is not a run directory; choose another {option('out')}"
            )
        if not overwrite:
            again = either(f"ostinato.resume({str(path)!r})", f"ostinato train --resume {path}")
            raise RunError(
                f"{path} already holds a run; resume it ({again}), "
                f"replace it ({option('overwrite', True)}), or choose another {option('out')}"
            )
    elif path.exists():
        raise RunError(f"{path} exists and is not a folder; choose another {option('out')}")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:  # a name too long for any file, or a folder that may not be read
        raise RunError(f"could not read {path}: {error.strerror or error}") from None


def next_path(prefix: str, folder: Path = Path("runs")) -> Path:
    """The next free name for a run: runs/lm-001, runs/lm-002, …"""
    taken = (entry.name.removeprefix(f"{prefix}-") for entry in folder.glob(f"{prefix}-*"))
    return folder / f"{prefix}-{max((int(n) for n in taken if n.isdecimal()), default=0) + 1:03d}"


def open_run(path: str | os.PathLike[str] | RunDirectory) -> RunDirectory:
    """Opens a run directory; one that is already open is returned as it is.

    Raises:
        RunError: it is missing, damaged, written by a newer version, or not a run directory.
    """
    if isinstance(path, RunDirectory):
        return path
    path = Path(path)
    if not _is_folder(path):
        why = ": it is a file, not a folder" if path.exists() else ""
        if left := sorted(path.parent.glob(f".{glob.escape(path.name)}.replaced-*")):
            why = f"; a process that was killed while it replaced the run has left the old one at {left[-1]}"
        raise RunError(f"there is no run at {path}{why}")
    if not (path / "config.json").exists():
        raise RunError(f"{path} is not a run directory: it has no config.json")
    config = reading.read_json(path / "config.json", reading.LARGEST_SETTINGS)
    if not isinstance(config, dict) or config.get("format") != _FORMAT:
        raise RunError(f"{path} is not a run directory: its config.json has another format")
    reading.refuse_what_leads_out(path)
    version = config.get("version")
    if type(version) is not int or version < 1:
        raise RunError(f"{path / 'config.json'} is damaged: version {shown(repr(version))}")
    if version > _VERSION:
        raise RunError(
            f"{path} was written by a newer version of ostinato (run format {version}, this one reads up to "
            f"{_VERSION}); upgrade to read it"
        )
    vocabulary = reading.read_json(path / "vocabulary.json", reading.LARGEST_VOCABULARY)
    try:
        task, *parts = (config[name] for name in ("task", "task_config", "training", "source"))
    except KeyError as error:
        raise RunError(f"{path / 'config.json'} is damaged: {error!r}") from None
    if not isinstance(task, str) or not all(isinstance(part, dict) for part in parts):
        raise RunError(f"{path / 'config.json'} is damaged: 'task' must be a string, the settings objects")
    if not _TASK.fullmatch(task):
        raise RunError(f"{path / 'config.json'} is damaged: its task is {shown(repr(task))}")
    if not isinstance(vocabulary, dict):
        raise RunError(f"{path / 'vocabulary.json'} is damaged: it must be an object")
    task_config, training, source = parts
    packages, budgets = config.get("packages", {}), config.get("budgets", [])
    if not isinstance(budgets, list) or not all(isinstance(budget, dict) for budget in budgets):
        raise RunError(f"{path / 'config.json'} is damaged: its budgets are {shown(repr(budgets))}")
    return RunDirectory(
        path,
        task,
        task_config,
        training,
        source,
        vocabulary,
        packages if isinstance(packages, dict) else {},
        _MASKS if config.get("masks", 1) == _MASKS else 1,
        budgets,
        chosen if isinstance(chosen := config.get("chosen"), dict) else {},
    )


def _is_row(row: object) -> TypeGuard[dict[str, str | float]]:
    """Whether a line of metrics.jsonl is an object of numbers and the name of their part."""
    return isinstance(row, dict) and all(
        isinstance(value, str)
        if name == "split"
        else type(value) is float or (type(value) is int and value < 2**63)
        for name, value in row.items()
    )
