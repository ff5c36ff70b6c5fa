"""What a training tells: one stream of events, and everybody who wants to know listens.

The progress bar, metrics.jsonl, TensorBoard and a caller's own `on_event` are listeners; none is known to the
loop.
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
    """A sentence for whoever watches: what is waited for, or that there is nothing to do."""

    sentence: str


@dataclass(frozen=True)
class Started:
    """The training begins, or goes on: from `step`, in the run at `path`; `unit` is what weights count."""

    path: Path
    step: int
    budget: str
    steps_per_epoch: int
    parameters: int
    notes: tuple[str, ...] = ()
    unit: str = "tokens"


@dataclass(frozen=True)
class StepDone:
    """One change of the weights; `fraction` of the budget is used, `loss` is this batch's mean in nats."""

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
    """An evaluation is under way: so many of its batches are done."""

    done: int
    batches: int


@dataclass(frozen=True)
class Measured:
    """A row of metrics.jsonl: `split` is `train` (since the last such row) or `validation` (all of it)."""

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
