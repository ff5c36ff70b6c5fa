"""What workers signal to one another: who was interrupted, and what the chief's clock says."""

import signal
from types import SimpleNamespace

import pytest

from ostinato.training.signals import Signals
from ostinato.training.workers import single_worker


@pytest.fixture(autouse=True)
def as_in_a_terminal():
    """A shell's background job begins with Ctrl-C ignored; these tests are about one that is not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def of(count: int, chief: bool = True, checkpoint_minutes: float = 1000.0) -> Signals:
    return Signals(SimpleNamespace(count=count, chief=chief), checkpoint_minutes)


@pytest.mark.parametrize(
    ("came", "told"), [(None, [0.0, 0.0]), (signal.SIGINT, [1.0, 0.0]), (signal.SIGTERM, [0.0, 1.0])]
)
def test_a_worker_tells_what_signal_came(came, told):
    signals = of(2)
    with signals.interrupt:
        if came is not None:
            signal.raise_signal(came)
    assert signals.to_send()[:2] == told


def test_only_the_chief_tells_what_its_clock_says():
    chief, other = of(2, checkpoint_minutes=0.0), of(2, chief=False, checkpoint_minutes=0.0)
    chief.seconds_before = other.seconds_before = 1000.0
    assert chief.to_send()[2] == 1.0
    assert chief.to_send()[3] >= 1000.0
    assert other.to_send()[2:] == [0.0, 0.0]


def test_a_checkpoint_is_due_again_only_after_so_many_minutes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ostinato.training.signals.time.perf_counter", lambda: now[0])
    signals, due = of(1, checkpoint_minutes=1.0), []
    for now[0] in (59.0, 60.0, 61.0, 119.0, 120.0):
        signals.receive(signals.to_send())
        due.append(signals.save_due)
        if signals.save_due:
            signals.saved()
    assert due == [False, True, False, False, True]


def test_the_clock_goes_on_where_the_session_before_stopped(monkeypatch):
    now = [5.0]
    monkeypatch.setattr("ostinato.training.signals.time.perf_counter", lambda: now[0])
    signals = of(1)
    signals.seconds_before = 100.0
    now[0] = 7.5
    assert signals.session_seconds == 2.5
    assert signals.receive(signals.to_send()) == 102.5


def test_alone_it_stops_by_its_own_signal_at_once():
    signals = Signals(single_worker(), 1.0)
    with signals.interrupt:
        assert signals.stopped_by is None
        signal.raise_signal(signal.SIGTERM)
        assert signals.stopped_by == signal.SIGTERM


def test_of_several_each_stops_by_what_all_have_heard_of_and_not_by_its_own_before():
    first, second = of(2), of(2, chief=False)
    with second.interrupt:
        signal.raise_signal(signal.SIGINT)
        assert second.stopped_by is None
        summed = [sum(told) for told in zip(first.to_send(), second.to_send(), strict=True)]
    assert {each.receive(summed) for each in (first, second)} == {summed[3]}
    assert (first.stopped_by, second.stopped_by) == (signal.SIGINT, signal.SIGINT)


def test_ctrl_c_is_heard_before_a_termination():
    signals = of(3)
    signals.receive([1.0, 2.0, 0.0, 10.0])
    assert signals.stopped_by == signal.SIGINT
    signals.receive([0.0, 0.0, 0.0, 11.0])
    assert signals.stopped_by == signal.SIGINT
