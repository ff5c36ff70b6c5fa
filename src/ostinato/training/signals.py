"""What workers signal to one another at every step: who was interrupted, and what the chief's clock says."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable

from ostinato.training.interrupt import Interrupt
from ostinato.training.workers import Workers


class Signals:
    """The signals of one worker, and what all of them have heard.

    Args:
        workers: all that train together.
        checkpoint_minutes: a checkpoint is due after so many.

    Attributes:
        interrupt: notes Ctrl-C and SIGTERM.
        save_due: whether the chief's clock asks for a checkpoint.
        seconds_before: on the clock in earlier sessions.
    """

    def __init__(self, workers: Workers, checkpoint_minutes: float):
        self._workers, self._checkpoint_seconds = workers, 60 * checkpoint_minutes
        self.interrupt = Interrupt()
        self.save_due = False
        self.seconds_before = 0.0
        self._heard: int | None = None
        self._began = self._saved_at = time.perf_counter()

    @property
    def session_seconds(self) -> float:
        """On the clock of this worker since the training began, or went on."""
        return time.perf_counter() - self._began

    @property
    def stopped_by(self) -> int | None:
        """The signal to save and stop; of several workers, what all of them have heard of."""
        return self.interrupt.signal if self._workers.count == 1 else self._heard

    def saved(self) -> None:
        """A checkpoint was saved just now."""
        self._saved_at = time.perf_counter()

    def own(self) -> list[float]:
        """What this worker tells: interrupted, terminated and, of the chief: checkpoint due, seconds."""
        came, chief = self.interrupt.signal, self._workers.chief
        due = time.perf_counter() - self._saved_at >= self._checkpoint_seconds
        flags = [came == signal.SIGINT, came == signal.SIGTERM, chief and due]
        return [*map(float, flags), self.seconds_before + self.session_seconds if chief else 0.0]

    def heed(self, summed: Iterable[float]) -> float:
        """Takes over what all workers have told, summed; returns the seconds on the chief's clock."""
        interrupted, terminated, save_due, seconds = map(float, summed)
        self.save_due = save_due > 0
        if interrupted or terminated:
            self._heard = signal.SIGINT if interrupted else signal.SIGTERM
        return seconds
