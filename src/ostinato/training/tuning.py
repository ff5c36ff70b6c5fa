"""A search for settings within a budget: successive halving.

Several settings get a short training each, the better third of them one that is three times as long, and so
on until one is left. Every round takes the same time. The first settings are those that training would choose
by itself; the others differ from them in learning rate, dropout and width, drawn at random.

A folder keeps the search: `search.json` with what was tried, and a run for each training, so that a search
that was stopped goes on where it was.

Source: Jamieson & Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization",
arXiv:1502.07943; the factor of three as in Li et al. 2018, "Hyperband", arXiv:1603.06560.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.errors import ConfigError, OstinatoError, RunError, TrainingError
from ostinato.files import atomic
from ostinato.runs.directory import RunDirectory, open_run
from ostinato.runs.opened import source_of
from ostinato.runs.reading import LARGEST_SETTINGS, read_json
from ostinato.runs.trained import load
from ostinato.tasks import registry
from ostinato.tasks.base import Metric
from ostinato.tasks.config import Settings, TaskConfig
from ostinato.training.config import BUDGETS, LIMITS, TrainingConfig
from ostinato.training.evaluation import Evaluator
from ostinato.training.events import Ended, Event, Listener, Notice
from ostinato.training.run import resume, train
from ostinato.training.source import read_again
from ostinato.wording import quoted

FACTOR, ROUNDS = 3, 3
_FORMAT = "ostinato search"
_RATES, _WIDTHS = (0.25, 4.0), (0.5, 0.75, 1.0, 1.5)
_LARGEST_DROPOUT, _MULTIPLE = 0.6, 16
_SHORTEST = 3.0
"""Seconds of the shortest training that says anything."""


@dataclass
class Trial:
    """Settings that were tried.

    Attributes:
        settings: what differs from the first trial; empty for the first itself.
        results: the first validation metric after each round; None where the training failed.
    """

    settings: Settings
    results: list[float | None] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        return not self.results or self.results[-1] is not None


@dataclass
class Search:
    """A search for settings.

    Attributes:
        folder: where it is kept.
        task: the name of the task.
        minutes: its budget.
        seed: draws the settings.
        base, training: the settings of the task and of training that it starts from.
        free: those of them that are searched, or that a rule may choose.
        metric: the name of the metric that decides; empty before the first result.
        better: whether `lower` or `higher` values of it are better.
        trials: what is tried.
    """

    folder: Path
    task: str
    minutes: float
    seed: int
    base: Settings
    training: Settings
    free: list[str]
    metric: str = ""
    better: str = "lower"
    trials: list[Trial] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path) -> Search:
        """A search that was begun. Raises RunError when the folder is none, or is damaged."""
        if not (folder / "search.json").exists():
            raise RunError(f"{folder} is not a search: it has no search.json")
        saved = read_json(folder / "search.json", LARGEST_SETTINGS)
        try:
            if not isinstance(saved, dict) or saved.pop("format") != _FORMAT:
                raise ValueError("its format is another")
            trials = [Trial(dict(each["settings"]), list(each["results"])) for each in saved.pop("trials")]
            return cls(folder=folder, trials=trials, **saved)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{folder / 'search.json'} is damaged: {quoted(error)}") from None

    def save(self) -> None:
        """Writes search.json, whole or not at all."""
        saved: dict[str, Any] = asdict(self) | {"format": _FORMAT}
        del saved["folder"]
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic.replace(self.folder / "search.json", atomic.to_json(saved))

    def config(self) -> TaskConfig:
        """The settings that the search starts from."""
        return registry.spec(self.task).config(**self.base)

    @property
    def source(self) -> Any:
        """The source of its trainings. Raises RunError when none has begun."""
        first = self.folder / "trial-0-round-1"
        if not first.exists():
            raise RunError(
                f"the search in {self.folder} was stopped before it read its source; begin it again"
            )
        return source_of(open_run(first))

    def survivors(self, after: int) -> list[int]:
        """The trials that are trained in round `after`: those that were best in the round before."""
        numbers = list(range(len(self.trials)))
        for number in range(after):
            known = [n for n in numbers if len(self.trials[n].results) > number]
            good = [n for n in known if self.trials[n].results[number] is not None]
            good.sort(key=lambda n: _order(self.trials[n].results[number], self.better))
            numbers = good[: max(1, len(numbers) // FACTOR)]
        return numbers

    @property
    def best(self) -> int:
        """The trial that won. Raises TrainingError when none ended."""
        last = self.survivors(ROUNDS)
        if not last:
            raise TrainingError("no training of the search ended with a finite loss; there is no best one")
        return last[0]


def _order(value: float | None, better: str) -> float:
    assert value is not None
    return value if better == "lower" else -value


def begin(
    folder: Path,
    config: TaskConfig,
    training: TrainingConfig,
    free: Collection[str],
    *,
    minutes: float,
    seed: int = 0,
) -> Search:
    """A new search, with the first settings and eight others.

    Args:
        folder: where it is kept; must not exist.
        config, training: the settings to start from, without a budget.
        free: the names of settings that may be searched, or chosen by the task's rule.
        minutes: the budget of all trainings together.
        seed: draws the settings.

    Raises:
        ConfigError: when the budget is too short for trainings that say anything, or nothing may be searched.
        RunError: when the folder exists.
    """
    count = FACTOR ** (ROUNDS - 1)
    shortest = 60 * minutes / ROUNDS / count
    if shortest < _SHORTEST:
        raise ConfigError(
            f"minutes must be at least {_SHORTEST * ROUNDS * count / 60:g}, which gives the shortest of "
            f"{count} trainings {_SHORTEST:g} seconds, got {minutes:g}"
        )
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} exists and is not empty; resume the search in it, or choose another folder")
    searched = {"learning_rate", type(config).tuned_dropout, "units"} & {*free}
    if not searched:
        raise ConfigError("learning rate, dropout and units are all given; there is nothing to search")
    unlimited: dict[str, Any] = dict.fromkeys((*BUDGETS, *LIMITS))
    settings = training.model_copy(update=unlimited).model_dump(mode="json")
    base = config.model_dump(mode="json")
    task = config.task
    search = Search(folder, task, minutes, seed, base, settings, sorted(free), trials=[Trial({})])
    search.save()
    return search


def run_search(search: Search, source: object, on_event: Listener | None = None) -> Search:
    """Trains until one of the trials is left; a search that was stopped goes on.

    Args:
        search: from `begin` or `Search.open`.
        source: what to train on, as for `ostinato.train`.
        on_event: called with the events of every training.

    Raises:
        OstinatoError: when a source or setting is not valid.
        KeyboardInterrupt: after Ctrl-C, when everything is saved.
    """
    say: Callable[[str], None] = lambda sentence: on_event(Notice(sentence)) if on_event else None  # noqa: E731

    def listen(event: Event) -> None:
        if on_event is not None:
            # What to do with a single training is no advice for a search.
            ended = isinstance(event, Ended)
            on_event(dataclasses.replace(event, best_loss=None, best_step=None) if ended else event)

    for number in range(ROUNDS):
        numbers = search.survivors(number)
        at_first = number == 0
        count = FACTOR ** (ROUNDS - 1) if at_first else len(numbers)
        minutes = search.minutes / ROUNDS / max(count, 1)
        if at_first:
            numbers = list(range(count))
        for place, trial in enumerate(numbers):
            if at_first and trial >= len(search.trials):
                search.trials += _drawn(search, count - len(search.trials))
                search.save()
            tried = search.trials[trial]
            if len(tried.results) > number:
                continue
            say(
                f"round {number + 1} of {ROUNDS}, training {place + 1} of {count}, {minutes:.2g} minutes: "
                f"{_said(tried.settings)}"
            )
            path = search.folder / f"trial-{trial}-round-{number + 1}"
            tried.results.append(_result(search, path, trial, minutes, source, listen))
            search.save()
            if number + 1 < ROUNDS:  # the figures stay, and the weights of the last round
                for each in ("checkpoints", "tensorboard"):
                    shutil.rmtree(path / each, ignore_errors=True)
    return search


def _said(settings: Settings) -> str:
    values = (
        f"{name.replace('_', ' ')} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in settings.items()
    )
    return ", ".join(values) or "the settings of a training without a search"


def _result(
    search: Search, path: Path, trial: int, minutes: float, source: object, on_event: Listener | None
) -> float | None:
    """The first validation metric of a training; None when it diverged."""
    try:
        if (path / "config.json").exists():
            run = resume(path, on_event=on_event)
        else:
            settings = _settings(search) | search.trials[trial].settings
            config = search.config()
            names = type(config).model_fields
            task = {name: value for name, value in settings.items() if name in names}
            others = {name: value for name, value in settings.items() if name not in names}
            how: dict[str, Any] = search.training | others | {"minutes": minutes}
            run = train(
                type(config)(**search.base | task),
                source,
                training=TrainingConfig(**how),
                out=path,
                choose=() if trial else search.free,
                on_event=on_event,
            )
    except TrainingError:
        return None
    data = read_again(run.task, run.directory, None)
    part = data.part("validation")
    if part is None:
        raise ConfigError(
            "a search compares trainings on a validation part; set a validation fraction above 0"
        )
    metrics, _ = Evaluator(run.task, run.model)(part)
    first: Metric = metrics[0]
    search.metric, search.better = first.name, first.better
    return first.value


def _settings(search: Search) -> Settings:
    """The settings that the first trial was trained with: those given, and those that its rule chose."""
    try:
        run = open_run(search.folder / "trial-0-round-1")
    except OstinatoError:
        return {}
    settings = run.task_config | run.training
    return {name: settings[name] for name in run.chosen.get("settings", ()) if name in settings}


def _drawn(search: Search, count: int) -> list[Trial]:
    """Settings around those of the first trial."""
    run: RunDirectory = open_run(search.folder / "trial-0-round-1")
    usual, draw = run.task_config | run.training, np.random.default_rng(search.seed)
    dropout = search.config().tuned_dropout
    trials = []
    for _ in range(count):
        factor = float(np.exp(draw.uniform(*np.log(_RATES))))
        share, width = float(draw.uniform(0.0, _LARGEST_DROPOUT)), float(draw.choice(_WIDTHS))
        widths = [max(_MULTIPLE, round(size * width / _MULTIPLE) * _MULTIPLE) for size in usual["units"]]
        drawn: Settings = {
            "learning_rate": float(f"{usual['learning_rate'] * factor:.2g}"),
            dropout: round(share, 2),
            "units": widths,
        }
        trials.append(Trial({name: value for name, value in drawn.items() if name in search.free}))
    return trials


def best_settings(search: Search) -> tuple[TaskConfig, TrainingConfig]:
    """The settings that won, without a budget; for a recipe."""
    run = load(search.folder / f"trial-{search.best}-round-{ROUNDS}").directory
    config = registry.spec(search.task).config(**run.task_config)
    training = TrainingConfig(**run.training)
    return config, training.model_copy(update={"minutes": None})


def rows(search: Search) -> list[dict[str, object]]:
    """What was tried, the best first: the settings, and the metric after each round."""
    reached = max((len(trial.results) for trial in search.trials), default=0)
    known = [trial for trial in search.trials if trial.results]

    def place(trial: Trial) -> tuple[int, float]:
        last = trial.results[-1]
        return -len(trial.results), np.inf if last is None else _order(last, search.better)

    return [
        {
            "settings": _said(trial.settings),
            **{
                f"round {number + 1}": trial.results[number] if number < len(trial.results) else None
                for number in range(reached)
            },
        }
        for trial in sorted(known, key=place)
    ]


def description(search: Search) -> str:
    """What was tried, for a recipe."""
    result = search.trials[search.best].results[-1]
    return (
        f"the best of {len(search.trials)} settings that were tried in {search.minutes:g} minutes: "
        f"{search.metric.replace('_', ' ')} {result:.4g} on the validation part after "
        f"{search.minutes / ROUNDS:.2g} minutes of training"
    )
