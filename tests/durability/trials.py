"""One training, killed and resumed until it is finished, and counted while that goes on."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .processes import Ended, Killer, Nursery, Place
from .readers import differences, torn
from .trainings import Plan

KILLED = -9


@dataclass(frozen=True)
class Reference:
    """A training that nothing interrupted.

    Attributes:
        plan: what is trained.
        run: where it lies.
        last_step: the one it ended at.
        step_seconds: how long a step and its checkpoint took.
        passed: how often it passed each place where it writes.
    """

    plan: Plan
    run: Path
    last_step: int
    step_seconds: float
    passed: Counter[str]

    @classmethod
    def trained(cls, nursery: Nursery, plan: Plan, place: Place) -> Reference:
        ended = nursery.run(place, plan.start(place.run))
        assert ended.code == 0, ended.said
        assert (found := torn(place.run)) == [], found
        steps = [step for step in ended.seen if step > 0]
        first, last = min(steps), max(steps)
        seconds = (ended.seen[last] - ended.seen[first]) / (last - first)
        return cls(plan, place.run, last, seconds, ended.passed)


@dataclass
class Tally:
    """What was done and found; `counts` is what the summary adds up."""

    counts: dict[str, Any] = field(
        default_factory=lambda: {
            "kills": [],
            "resumes": 0,
            "restarts": 0,
            "compared": 0,
            "torn": [],
            "mismatches": [],
            "gone_after": [],
        }
    )

    @property
    def kills(self) -> list[dict[str, Any]]:
        return self.counts["kills"]

    @property
    def gone_after(self) -> list[float]:
        """Seconds from SIGTERM to the end of the process."""
        return self.counts["gone_after"]

    def check(self) -> None:
        """Fails when anything was torn or unequal, or a killed training was not taken up again."""
        assert self.counts["torn"] == [], self.counts["torn"]
        assert self.counts["mismatches"] == [], self.counts["mismatches"]
        assert len(self.kills) == self.counts["resumes"] + self.counts["restarts"]


class Trial:
    """A training that is killed.

    Args:
        nursery: where it runs.
        reference: the same training, uninterrupted.
        folder: an empty folder for its runs.
        draw: where instants come from.
        tally: what is counted.
    """

    def __init__(
        self, nursery: Nursery, reference: Reference, folder: Path, draw: random.Random, tally: Tally
    ):
        self._nursery, self._reference, self._folder = nursery, reference, folder
        self._draw, self._tally, self._places = draw, tally, 0
        self._killed = False
        self.place = self.begin()

    def begin(self) -> Place:
        """A new run, at a place of its own."""
        self._places += 1
        self._killed = False
        self.place = Place.made(self._folder / str(self._places))
        return self.place

    def kill_at(self, place: str, number: int) -> None:
        """Trains, or goes on, until the process kills itself just before it passes a place."""
        ended = self._session(death=(place, number))
        assert ended.code == KILLED, f"it did not die at {place} ({number}):\n{ended.said}"
        self._died(place)

    def kill_after(self, step: int) -> None:
        """Trains, or goes on, and is killed at an instant in the two steps after this one.

        Should it be finished by then, a new run is killed after another step.
        """
        while (ended := self._session(strike=self._killer(step))).code != KILLED:
            self._finished(ended)
            self.begin()
            step = self._draw.randint(0, self._reference.last_step)
        self._died("instant")

    def _killer(self, step: int) -> Killer:
        return Killer(self.place, step, self._draw.uniform(0, 2 * self._reference.step_seconds))

    def finish(self) -> Ended:
        """Goes on to the end, and compares."""
        ended = self._session()
        self._finished(ended)
        return ended

    def _session(self, **how: Any) -> Ended:
        resumes = self.place.run.exists()
        if self._killed:
            self._tally.counts["resumes" if resumes else "restarts"] += 1
        self._killed = False
        arguments = ["train", "--resume", str(self.place.run)]
        return self._nursery.run(
            self.place, arguments if resumes else self._reference.plan.start(self.place.run), **how
        )

    def _died(self, where: str) -> None:
        self._killed = True
        self._tally.kills.append(
            {
                "task": self._reference.plan.task,
                "where": where,
                "step": self.place.newest_step,
                "writing": bool(self.place.leftovers),
            }
        )
        self._tally.counts["torn"] += torn(self.place.run)

    def _finished(self, ended: Ended) -> None:
        assert ended.code == 0, ended.said
        self._tally.counts["compared"] += 1
        found = torn(self.place.run) or differences(self.place.run, self._reference.run)
        self._tally.counts["mismatches"] += found
        # What was to become a run, before there was one, is not its to clear away.
        left = [name for name in self.place.leftovers if name.startswith("run/")]
        assert left == [], left
