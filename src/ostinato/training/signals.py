"""What workers exchange at every step: whether one was interrupted, and the time on the chief's clock."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable

from ostinato.training.interrupt import Interrupt
from ostinato.training.workers import Workers


class Signals:
    """The signals that one worker sends and receives.

    Args:
        workers: the workers of the training.
        checkpoint_minutes: the time between checkpoints.

    Attributes:
        interrupt: notes Ctrl-C and SIGTERM.
        save_due: whether a checkpoint is due by the chief's clock.
        seconds_before: the seconds of earlier sessions.
    """

    def __init__(self, workers: Workers, checkpoint_minutes: float):
        self._workers, self._checkpoint_seconds = workers, 60 * checkpoint_minutes
        self.interrupt = Interrupt()
        self.save_due = False
        self.seconds_before = 0.0
        self._received: int | None = None
        self._began = self._saved_at = time.perf_counter()

    @property
    def session_seconds(self) -> float:
        """Seconds since this worker started or resumed the training."""
        return time.perf_counter() - self._began

    @property
    def stopped_by(self) -> int | None:
        """The signal to save and stop at; of several workers, one that all have received."""
        return self.interrupt.signal if self._workers.count == 1 else self._received

    def saved(self) -> None:
        """Notes that a checkpoint was saved just now."""
        self._saved_at = time.perf_counter()

    def to_send(self) -> list[float]:
        """What this worker sends: interrupted, terminated and, from the chief, checkpoint due and seconds."""
        came, chief = self.interrupt.signal, self._workers.chief
        due = time.perf_counter() - self._saved_at >= self._checkpoint_seconds
        flags = [came == signal.SIGINT, came == signal.SIGTERM, chief and due]
        return [*map(float, flags), self.seconds_before + self.session_seconds if chief else 0.0]

    def receive(self, summed: Iterable[float]) -> float:
        """Takes in the sum of what all workers sent; returns the seconds on the chief's clock."""
        interrupted, terminated, save_due, seconds = map(float, summed)
        self.save_due = save_due > 0
        if interrupted or terminated:
            self._received = signal.SIGINT if interrupted else signal.SIGTERM
        return seconds
