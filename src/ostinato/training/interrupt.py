"""Ctrl-C or SIGTERM during a training: the current step is finished, and everything is saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """A context in which the first Ctrl-C or SIGTERM is only noted; a second one stops at once.

    Attributes:
        signal: the first signal, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._previous: dict[
            int, signal.Handlers | int | Callable[[int, FrameType | None], object] | None
        ] = {}

    def __enter__(self) -> Interrupt:
        # Python delivers signals to the main thread only, and only that thread can set their handlers.
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._request) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            if previous is not None:
                signal.signal(number, previous)

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self.signal is not None

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise stop(number)
        self.signal = number


def stop(number: int) -> BaseException:
    """The exception that ends the program after a signal: KeyboardInterrupt, or exit code 143 for SIGTERM."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
