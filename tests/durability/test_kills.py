"""Trainings that are killed with SIGKILL, at random instants and at every place where they write.

Whatever the instant, a reader finds nothing torn; and the run that is resumed ends as the one that was never
killed: weights, optimizer, state, best checkpoint, early stopping and metrics.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ostinato.errors import RunError
from ostinato.runs.directory import open_run

from ..variants import thorough
from .processes import Killer, Place
from .readers import differences, torn
from .trainings import TASKS
from .trials import KILLED

FIRST, *OTHERS = TASKS

SHARES = 8
HALF_A_CHECKPOINT = "half run/checkpoints/.writing-N/optimizer.safetensors"
HALF_A_REMOVAL = "unlink run/checkpoints/.removing-N/manifest.json"
OSTINATO = str(Path(sys.executable).with_name("ostinato"))


@pytest.mark.parametrize("task", [FIRST, *map(thorough, OTHERS)])
def test_a_run_killed_at_an_instant_and_within_a_write_equals_one_that_was_not(
    trial, references, draw, tally, task
):
    reference, killed = references(task), trial(task)
    killed.kill_after(draw.randint(0, reference.last_step))
    writing = ("half run/checkpoints", "rename run/checkpoints/.writing", "unlink run/checkpoints")
    killed.kill_at(draw.choice(sorted(place for place in reference.passed if place.startswith(writing))), 1)
    killed.finish()
    tally.check()
    assert [kill["where"] == "instant" for kill in tally.kills] == [True, False]
    assert tally.kills[-1]["writing"]


@pytest.mark.thorough
@pytest.mark.parametrize("chain", range(2))
@pytest.mark.parametrize("task", TASKS)
def test_a_run_killed_at_five_random_instants_equals_one_that_was_not(
    trial, references, draw, tally, task, chain
):
    reference, killed = references(task), trial(task)
    for step in sorted(draw.randint(0, reference.last_step) for _ in range(5)):
        killed.kill_after(step)
    killed.finish()
    tally.check()
    assert [kill["where"] for kill in tally.kills] == ["instant"] * 5


@pytest.mark.thorough
@pytest.mark.parametrize("share", range(SHARES))
def test_a_run_killed_at_any_place_where_it_writes_equals_one_that_was_not(
    trial, references, draw, tally, share
):
    """Every place where a task writes comes up in one of the shares, with one of the tasks that pass it."""
    passed = {task: references(task).passed for task in TASKS}
    places = sorted(set().union(*passed.values()))[share::SHARES]
    for place in places:
        task = draw.choice([task for task in TASKS if place in passed[task]])
        killed = trial(task)
        killed.kill_at(place, draw.randint(1, passed[task][place]))
        killed.finish()
    tally.check()
    assert [kill["where"] for kill in tally.kills] == places


@pytest.mark.thorough
@pytest.mark.parametrize("first", [HALF_A_CHECKPOINT, HALF_A_REMOVAL], ids=["writing", "removing"])
@pytest.mark.parametrize("task", TASKS)
def test_a_run_killed_again_while_it_cleans_up_after_the_first_kill_equals_one_that_was_not(
    trial, references, draw, tally, task, first
):
    killed = trial(task)
    number = draw.randint(1, references(task).passed[first])
    killed.kill_at(first, number)
    resumed = killed.finish()
    cleaning = ("cut ", "unlink run/checkpoints/.writing", "rmdir run/checkpoints/.writing")
    places = [place for place in resumed.passed if place.startswith(cleaning)]
    places += [place for place in resumed.passed if first == HALF_A_REMOVAL and "/.removing-N" in place]
    for place in places:
        killed.begin()
        killed.kill_at(first, number)
        killed.kill_at(place, 1)
        killed.finish()
    tally.check()
    assert len(tally.kills) == 1 + 2 * len(places)
    assert "cut run/metrics.jsonl" in places


@pytest.mark.thorough
@pytest.mark.parametrize("task", TASKS)
def test_a_run_killed_while_it_replaces_another_leaves_one_of_them_whole(
    nursery, trial, references, draw, tally, task
):
    """Between two renames both lie there under other names, and the path is free."""
    reference, replacing = references(task), trial(task)
    replacing.finish()
    again = [*reference.plan.start(replacing.place.run), "--overwrite"]
    ended = nursery.run(replacing.place, again)
    assert ended.code == 0, ended.said
    removing = sorted(place for place in ended.passed if ".run.replaced-N" in place)
    for place in ("rename run", "rename .run.writing-N", draw.choice(removing)):
        assert nursery.run(replacing.place, again, death=(place, 1)).code == KILLED
        run = replacing.place.run
        if not run.exists():
            assert place == "rename .run.writing-N"
            (left,) = replacing.place.root.glob(".run.replaced-*")
            with pytest.raises(RunError, match=f"left the old one at .*{left.name}"):
                open_run(run)
            run = left
            assert differences(run, reference.run) == []
        assert torn(run) == []
        assert nursery.run(replacing.place, again).code == 0
        assert differences(replacing.place.run, reference.run) == []
    tally.check()


@pytest.mark.thorough
@pytest.mark.parametrize("task", TASKS)
def test_the_command_itself_ends_as_its_forks_do(references, draw, tmp_path, task):
    """Not in a fork: `ostinato train`, killed, and `ostinato train --resume`, as a user types them."""
    reference, place = references(task), Place.made(tmp_path / "place")
    environment = os.environ | {"OSTINATO_CACHE": str(place.root / "cache"), "TMPDIR": str(tmp_path)}
    with open(tmp_path / "log", "wb") as log:
        first = subprocess.Popen(
            [OSTINATO, *reference.plan.start(place.run)], env=environment, stdout=log, stderr=log
        )
        killer = Killer(place, draw.randint(1, reference.last_step // 2), reference.step_seconds)
        while first.poll() is None and not killer(first.pid):
            time.sleep(0.001)
        assert first.wait() == KILLED
        assert torn(place.run) == []
        resume = [OSTINATO, "train", "--resume", place.run]
        second = subprocess.run(resume, env=environment, stdout=log, stderr=log)
    assert second.returncode == 0, (tmp_path / "log").read_text()
    assert differences(place.run, reference.run) == []
