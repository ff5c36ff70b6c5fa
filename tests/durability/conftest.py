"""Killing trainings: the short version with all other tests, the full one with --thorough.

What is drawn follows from OSTINATO_DURABILITY_SEED; the counts stand at the end of the report.
"""

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from .processes import Nursery, Place
from .trainings import Plan
from .trials import Reference, Tally, Trial

SEED = os.environ.get("OSTINATO_DURABILITY_SEED", "1")


@pytest.fixture(scope="session")
def nursery(tmp_path_factory):
    nursery = Nursery(tmp_path_factory.mktemp("nursery"))
    yield nursery
    nursery.close()


@pytest.fixture(scope="session")
def references(nursery, tmp_path_factory):
    """references(task): that task's training, uninterrupted; trained on first use."""
    known: dict[str, Reference] = {}

    def of(task: str) -> Reference:
        if task not in known:
            folder = tmp_path_factory.mktemp(task)
            plan = Plan.written(task, folder)
            known[task] = Reference.trained(nursery, plan, Place.made(folder / "whole"))
        return known[task]

    return of


@pytest.fixture
def draw(request) -> random.Random:
    """Where every number that a test draws comes from."""
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def tally(record_property) -> Tally:
    tally = Tally()
    record_property("durability", tally.counts)
    return tally


@pytest.fixture
def trial(nursery, references, draw, tally, tmp_path_factory):
    """trial(task): a training of it, to be killed."""
    return lambda task: Trial(nursery, references(task), tmp_path_factory.mktemp("trial"), draw, tally)


def pytest_terminal_summary(terminalreporter):
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    named = [pair for report in reports if report.when == "call" for pair in report.user_properties]
    counts = [value for name, value in named if name == "durability"]
    if counts:
        terminalreporter.section(f"durability, OSTINATO_DURABILITY_SEED={SEED}")
        for line in summary(counts):
            terminalreporter.write_line(line)


def summary(counts: list[dict[str, Any]]) -> Iterator[str]:
    """What all tests together have counted, in lines; see `Tally`."""
    kills = [kill for count in counts for kill in count["kills"]]
    at_instants = [kill for kill in kills if kill["where"] == "instant"]
    at_places = [kill for kill in kills if kill["where"] != "instant"]
    for some, where in (
        (at_instants, "at random instants"),
        (at_places, f"at {len({kill['where'] for kill in at_places})} places"),
    ):
        writing = sum(kill["writing"] for kill in some)
        yield f"{len(some)} kills {where}, {writing} of them within writing or removing a checkpoint or a run"
    resumes, restarts, compared = (
        sum(c[name] for c in counts) for name in ("resumes", "restarts", "compared")
    )
    yield f"{resumes} resumes, and {restarts} new starts after kills before there was a run"
    torn, unequal = (sum(bool(count[name]) for count in counts) for name in ("torn", "mismatches"))
    yield f"{compared} finished runs compared; tests with torn files: {torn}, with unequal runs: {unequal}"
    for task in sorted({kill["task"] for kill in at_instants}):
        steps = sorted((kill["step"], kill["writing"]) for kill in at_instants if kill["task"] == task)
        shown = ", ".join(f"{step}{'*' if writing else ''}" for step, writing in steps)
        yield f"{task}: random kills after steps {shown} (* within writing or removing)"
    gone_after = [f"{seconds:.1f} s" for count in counts for seconds in count["gone_after"]]
    if gone_after:
        yield f"gone after SIGTERM within {', '.join(gone_after)}"
