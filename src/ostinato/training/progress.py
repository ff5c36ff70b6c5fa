"""Shows the progress of a training: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from ostinato.training.events import Ended, Evaluating, Event, Measured, Notice, Saved, Started, StepDone

_SECONDS_BETWEEN_UPDATES = 0.25
_STILL_FALLING = 0.01
"""A validation loss that fell by this share in the last evaluation may fall further."""
_SECONDS_BETWEEN_LINES = 5.0
_SMOOTHING = 0.95
_LAST_EPOCHS = 10
"""The perplexities of so many epochs are averaged at the end of a training without a validation part."""


def clock(seconds: float) -> str:
    """Seconds for people: 7 s, 2:05, 1:02:05."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class _Narrower:
    """Narrows its content by three columns, since the ^C that a terminal shows would break a full line."""

    def __init__(self, content: RenderableType):
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self._content, options.update(width=max(1, options.max_width - 3)))


class _Bars(Progress):
    def get_renderables(self) -> Iterable[RenderableType]:
        yield _Narrower(self.make_tasks_table(self.tasks))


class ProgressView:
    """Listens to a training and shows its progress.

    Args:
        stream: the output, usually standard error.
    """

    def __init__(self, stream: TextIO):
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._live = self._console.is_terminal
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        self._loss: float | None = None
        self._rate: float | None = None
        self._unit = "tokens"
        self._seconds_at_last_step = 0.0
        self._seconds_at_last_line = 0.0
        self._shown_at = 0.0
        self._evaluated = False
        self._ended = False
        self._losses: list[float] = []
        self._epochs = 0.0
        self._perplexities: deque[float] = deque(maxlen=_LAST_EPOCHS)

    def reading(self, done: int, total: int | None) -> None:
        """Shows how much of a long source is read."""
        if not self._live or (total or done) < 64 << 20:
            return
        now = time.perf_counter()
        if now - self._shown_at > _SECONDS_BETWEEN_UPDATES:
            share = f"{done / total:.0%}" if total else f"{done >> 20} MiB"
            self._console.print(f"reading the source: {share}  ", end="\r")
            self._shown_at = now

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice):
            self._say(event.sentence)
        elif isinstance(event, Started):
            self._start(event)
        elif isinstance(event, StepDone):
            self._step(event)
        elif isinstance(event, Evaluating):
            self._evaluating(event)
        elif isinstance(event, Measured):
            self._measured(event)
        elif isinstance(event, Ended):
            if self._progress is not None and self._bar is not None and event.reason == "finished":
                self._progress.update(self._bar, completed=1.0, then="done")
            self.close()
            self._ended = True
            self._end(event)
        elif isinstance(event, Saved):
            pass  # not shown

    def close(self) -> None:
        """Removes the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _start(self, event: Started) -> None:
        self._unit = event.unit
        self._losses.clear()
        self._perplexities.clear()
        self._say(
            f"training {event.path}: {event.parameters:,} weights, {event.steps_per_epoch:,} steps an epoch, "
            f"budget {event.budget}"
        )
        for note in event.notes:
            self._say(note)
        if self._live:
            # The exponential of the loss is the perplexity of tokens; for whole texts it has no meaning.
            perplexity = "perplexity {task.fields[perplexity]:.2f}  " if self._unit == "tokens" else ""
            columns = (
                TextColumn("step {task.fields[step]:,}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn(
                    f"loss {{task.fields[loss]:.3f}}  {perplexity}"
                    f"{{task.fields[rate]:,.0f}} {self._unit}/s  {{task.fields[then]}}"
                ),
            )
            self._progress = _Bars(*columns, console=self._console, auto_refresh=False)
            fields = {"step": event.step, "loss": 0.0, "perplexity": 1.0, "rate": 0.0, "then": ""}
            self._bar = self._progress.add_task("", total=1.0, visible=False, **fields)
            self._progress.start()

    def _step(self, event: StepDone) -> None:
        loss, rate = event.loss, event.weight / max(event.seconds - self._seconds_at_last_step, 1e-9)
        self._seconds_at_last_step = event.seconds
        self._loss = loss if self._loss is None else _SMOOTHING * self._loss + (1 - _SMOOTHING) * loss
        if not self._evaluated:  # else its time would count as training's
            self._rate = rate if self._rate is None else _SMOOTHING * self._rate + (1 - _SMOOTHING) * rate
        self._evaluated = False
        now = time.perf_counter()
        if self._progress is None or self._bar is None or now - self._shown_at < _SECONDS_BETWEEN_UPDATES:
            return
        self._shown_at = now
        self._progress.update(
            self._bar,
            completed=event.fraction,
            visible=True,
            step=event.step,
            loss=self._loss,
            perplexity=math.exp(min(self._loss, 700.0)),
            rate=self._rate or 0.0,
            then=f"{clock(event.seconds_left or 0.0)} left",
        )
        self._progress.refresh()

    def _evaluating(self, event: Evaluating) -> None:
        """Shows the progress of an evaluation: in the bar of the training or, after it, in a bar of its
        own."""
        self._evaluated = True
        now = time.perf_counter()
        if not self._live or now - self._shown_at < _SECONDS_BETWEEN_UPDATES:
            return
        self._shown_at = now
        if self._progress is None:
            columns = (TextColumn("evaluating the validation part"), BarColumn(), TaskProgressColumn())
            self._progress = _Bars(*columns, console=self._console, auto_refresh=False, transient=True)
            self._bar = self._progress.add_task("", total=1.0)
            self._progress.start()
        if self._bar is None:
            return
        if self._ended:
            self._progress.update(self._bar, completed=event.done / event.batches)
        else:
            self._progress.update(self._bar, then=f"evaluating {event.done / event.batches:.0%}")
        self._progress.refresh()

    def _measured(self, event: Measured) -> None:
        row = event.row
        if row["split"] == "validation" and isinstance(loss := row.get("loss"), float):
            self._losses, self._epochs = [*self._losses[-1:], loss], row["epoch"]
        if row["split"] == "train":
            if float(row["epoch"]).is_integer() and "perplexity" in row:
                self._perplexities.append(row["perplexity"])
            # On a terminal the bar shows the training loss already; elsewhere epochs may be very short.
            if self._live or row["seconds"] - self._seconds_at_last_line < _SECONDS_BETWEEN_LINES:
                return
            self._seconds_at_last_line = row["seconds"]
        per_second = f"{self._unit}_per_second"
        # The speed of an evaluation is not that of the training.
        speed = f"{row[per_second]:,.0f} {self._unit}/s  " if row["split"] == "train" else ""
        figures = "  ".join(
            f"{name.replace('_', ' ')} {value:.3f}"
            for name, value in row.items()
            if isinstance(value, float) and name not in ("epoch", "learning_rate", per_second, "seconds")
        )
        self._say(
            f"step {row['step']:,}  epoch {row['epoch']:.2f}  {row['split']:<10}  {figures}  "
            f"{speed}{clock(row['seconds'])}"
        )

    def _end(self, event: Ended) -> None:
        if event.reason in ("interrupted", "terminated"):
            self._say(f"{event.reason} and saved at step {event.step:,}")
            self._say(f"go on with: ostinato train --resume {event.path}")
            return
        best = (
            ""
            if event.best_loss is None
            else f"; best validation loss {event.best_loss:.4f} at step {event.best_step:,}"
        )
        self._say(f"{event.reason} after {event.step:,} steps in {clock(event.seconds)}{best}")
        if not self._losses and len(self._perplexities) == _LAST_EPOCHS:
            # What the textbook reports, and what a single epoch that jumps does not change.
            *_, last = self._perplexities
            mean = sum(self._perplexities) / _LAST_EPOCHS
            self._say(
                f"training perplexity {last:.4g} in the last epoch, {mean:.4g} in the mean of the last "
                f"{_LAST_EPOCHS}"
            )
        if event.best_step == event.step and len(self._losses) == 2:
            before, last = self._losses
            if last < (1 - _STILL_FALLING) * before:
                more = f"ostinato train --resume {event.path} --epochs {max(2, 2 * math.ceil(self._epochs))}"
                self._say(f"the validation loss was still falling; go on with: {more}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)
