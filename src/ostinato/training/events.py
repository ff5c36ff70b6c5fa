"""The events of a training: one stream, for any number of listeners.

The progress bar, metrics.jsonl, TensorBoard and a caller's `on_event` are listeners. The loop knows none of
them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Row = dict[str, Any]
"""A row of metrics.jsonl."""


@dataclass(frozen=True)
class Notice:
    """A sentence for the user, for example that the training waits for other workers."""

    sentence: str


@dataclass(frozen=True)
class Started:
    """The training starts or resumes at `step`, in the run at `path`; `unit` is the unit of loss weights."""

    path: Path
    step: int
    budget: str
    steps_per_epoch: int
    parameters: int
    notes: tuple[str, ...] = ()
    unit: str = "tokens"


@dataclass(frozen=True)
class StepDone:
    """A training step is done: `fraction` of the budget is used, `loss` is the mean of this batch in nats."""

    step: int
    epoch: int
    fraction: float
    loss: float
    weight: float
    learning_rate: float
    seconds: float
    seconds_left: float | None


@dataclass(frozen=True)
class Evaluating:
    """An evaluation is running: `done` of its `batches` are done."""

    done: int
    batches: int


@dataclass(frozen=True)
class Measured:
    """A row of metrics.jsonl: its `split` is `train` (since the previous such row) or `validation` (the
    whole)."""

    row: Row


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on disk."""

    step: int
    path: Path
    best: bool


EndReason = Literal["finished", "stopped early", "interrupted", "terminated"]


@dataclass(frozen=True)
class Ended:
    """The training is over, or was interrupted and can be resumed."""

    path: Path
    step: int
    reason: EndReason
    seconds: float
    best_loss: float | None
    best_step: int | None


Event = Notice | Started | StepDone | Evaluating | Measured | Saved | Ended
Listener = Callable[[Event], None]
