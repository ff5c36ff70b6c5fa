"""Ctrl-C, or a scheduler's SIGTERM, during a training: the step under way is finished, and all is saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Within this context a first Ctrl-C or SIGTERM is only noted; a second one stops at once.

    Attributes:
        signal: the first one that came, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._previous: dict[
            int, signal.Handlers | int | Callable[[int, FrameType | None], object] | None
        ] = {}

    def __enter__(self) -> Interrupt:
        # Python delivers signals to the main thread only, and lets only that thread choose what they do.
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._request) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            if previous is not None:
                signal.signal(number, previous)

    @property
    def requested(self) -> bool:
        """Whether one came."""
        return self.signal is not None

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise stop(number)
        self.signal = number


def stop(number: int) -> BaseException:
    """What ends the program after a signal: KeyboardInterrupt, or an exit with code 143 after SIGTERM."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
