"""The first Ctrl-C asks, the second insists."""

import signal
import threading

import pytest

from ostinato.training.interrupt import Interrupt


@pytest.fixture(autouse=True)
def as_in_a_terminal():
    """A shell's background job begins with Ctrl-C ignored; these tests are about one that is not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press():
    signal.raise_signal(signal.SIGINT)


def test_the_first_only_asks_and_the_second_interrupts():
    with Interrupt() as interrupt:
        assert not interrupt.requested
        press()
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            press()


def test_afterwards_everything_is_as_before():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="inside"), Interrupt():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        press()


def test_another_thread_may_train_too():
    asked = []

    def train():
        with Interrupt() as interrupt:
            asked.append(interrupt.requested)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert asked == [False]
