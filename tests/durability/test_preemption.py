"""SIGTERM, as a scheduler sends it before it takes a machine away: saved and gone within seconds."""

import os
import signal
import time

import pytest

from ..hanging import cpu_seconds
from ..variants import thorough
from .processes import Place
from .readers import differences, torn
from .trainings import Plan
from .trials import Reference, Tally

CPU_SECONDS = 10  # what schedulers leave before they kill is more
TERMINATED = 128 + signal.SIGTERM


class Terminator:
    """Sends SIGTERM once `ready` says so, and remembers when, and the processor's time used until then."""

    def __init__(self, ready):
        self._ready, self.sent_at, self.cpu_seconds = ready, 0.0, 0.0

    def __call__(self, process: int) -> bool:
        if not self._ready():
            return False
        self.sent_at, self.cpu_seconds = time.perf_counter(), cpu_seconds(process)
        os.kill(process, signal.SIGTERM)
        return True


def terminated(nursery, reference: Reference, place: Place, terminator: Terminator, tally: Tally) -> int:
    """Trains until the signal comes; returns the step that was saved then."""
    ended = nursery.run(place, reference.plan.start(place.run), strike=terminator)
    gone_after = time.perf_counter() - terminator.sent_at
    assert ended.code == TERMINATED, ended.said
    tally.gone_after.append(gone_after)
    assert ended.cpu_seconds - terminator.cpu_seconds < CPU_SECONDS
    assert torn(place.run) == []
    assert place.leftovers == []
    step = place.newest_step
    assert f"terminated and saved at step {step:,}" in ended.said
    assert f"--resume {place.run}" in ended.said
    return step


def resumed(nursery, place: Place) -> None:
    ended = nursery.run(place, ["train", "--resume", str(place.run)])
    assert ended.code == 0, ended.said


def metrics(place: Place) -> str:
    return (place.run / "metrics.jsonl").read_text() if (place.run / "metrics.jsonl").exists() else ""


@pytest.mark.thorough  # see training/test_run.py, too
def test_sigterm_while_it_trains_finishes_the_step_saves_and_can_be_resumed(
    nursery, references, tally, tmp_path
):
    reference, place = references("lm"), Place.made(tmp_path / "place")
    step = terminated(nursery, reference, place, Terminator(lambda: place.newest_step >= 20), tally)
    assert step >= 20
    resumed(nursery, place)
    assert differences(place.run, reference.run) == []


@pytest.fixture(scope="module")
def long_evaluation(nursery, tmp_path_factory) -> Reference:
    """A training of ten steps, with an evaluation of about a second in its middle and at its end."""
    folder = tmp_path_factory.mktemp("long evaluation")
    plan = Plan.written("lm", folder, steps=10, evaluations=2, log_every=5, patience=None)
    plan.source.write_text(plan.source.read_text() * 120)
    return Reference.trained(nursery, plan, Place.made(folder / "whole"))


@pytest.mark.thorough
@pytest.mark.parametrize("step", [5, thorough(10)], ids=["in the middle", "at the end"])
def test_sigterm_while_it_evaluates_breaks_that_off_and_can_be_resumed(
    nursery, long_evaluation, tally, tmp_path, step
):
    place = Place.made(tmp_path / "place")
    # The evaluation comes right after the row of training metrics.
    terminator = Terminator(lambda: f'"step": {step}, ' in metrics(place))
    assert terminated(nursery, long_evaluation, place, terminator, tally) == step
    evaluated = [row for row in metrics(place).splitlines() if '"validation"' in row]
    assert len(evaluated) == step // 5 - 1, "the evaluation was over before it could be broken off"
    resumed(nursery, place)
    assert differences(place.run, long_evaluation.run) == []
