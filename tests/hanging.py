"""Limits that end a test that hangs, and none that is only slow, as on a machine that has much else to do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 600
"""Until something counts as hanging, by the clock; what is waited for takes seconds."""
CPU_SECONDS = 60
"""Until something that takes a second at most counts as hanging, by the processor's time that it has used."""


def wait_until(condition: Callable[[], Any], pause: float = 0.005) -> None:
    """Returns as soon as a condition holds.

    Raises:
        AssertionError: it does not within `SECONDS`.
    """
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until, f"it hangs: {SECONDS} seconds have passed"
        time.sleep(pause)


@contextmanager
def no_hang() -> Iterator[None]:
    """Fails when the block takes `CPU_SECONDS` of the processor, or waits for `SECONDS`."""
    limits = {
        signal.SIGPROF: (signal.ITIMER_PROF, CPU_SECONDS, "of the processor's time"),
        signal.SIGALRM: (signal.ITIMER_REAL, SECONDS, "by the clock"),
    }

    def give_up(number: int, _: Any) -> None:
        _, seconds, whose = limits[signal.Signals(number)]
        raise AssertionError(f"it hangs: {seconds} seconds {whose} have passed")

    before = {number: signal.signal(number, give_up) for number in limits}
    for timer, seconds, _ in limits.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, (timer, _, _) in limits.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def cpu_seconds(process: int) -> float:
    """The processor's time that a running process has used; 0 where the system does not tell."""
    status = Path(f"/proc/{process}/stat")
    if not status.exists():
        return 0.0
    user, system = status.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
