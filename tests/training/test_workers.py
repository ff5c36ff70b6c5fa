"""Several workers learn what one does, on the same global batches; when one is lost, the others stop."""

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

import ostinato
from ostinato.cli.commands.launch import worker_environments
from ostinato.runs.directory import open_run
from ostinato.training.workers import single_worker

from .. import forks, hanging
from ..variants import thorough

SCENARIOS_SCRIPT = str(Path(__file__).with_name("train_scenarios.py"))

RANDOM = np.random.default_rng(5)
WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "moon", "and", "or"]
TEXT = "\n".join(" ".join(RANDOM.choice(WORDS, 7)) for _ in range(60))
TEXTS = [" ".join(RANDOM.choice(WORDS, RANDOM.integers(1, 12))) for _ in range(56)]
REVIEWS = [(text, "long" if len(text.split()) > 5 else "short") for text in TEXTS]
SENTENCES = [(text, " ".join(reversed(text.upper().split()))) for text in dict.fromkeys(TEXTS)]

# Unequal numbers of tokens, shards of unequal size, and last batches with fewer rows than there are workers.
TRAINING = {
    "steps": 50,
    "optimizer": "sgd",
    "learning_rate": 0.5,
    "clip": 0.2,
    "evaluations": 2,
    "log_every": 9,
    "averaging": 0.2,
}
LM = {"units": 8, "seq_len": 8, "batch": 5, "validation_fraction": 0.1}
CLASSIFIER = {"units": 8, "batch": 5, "bidirectional": True, "pooling": "attention"}
TRANSLATOR = {"units": 8, "embedding": 8, "batch": 5, "attention": "additive", "label_smoothing": 0.1}
TRANSLATOR |= {"source_encoder": "word", "target_encoder": "word"}
DROPS = {"dropout": 0.3, "recurrent_dropout": 0.3, "output_dropout": 0.3}
SCENARIOS = {
    "lm-sequential": ("lm", [TEXT], LM, TRAINING),
    "lm-random": ("lm", [TEXT], LM | {"sampling": "random"}, TRAINING),
    "lm-dropout": ("lm", [TEXT], LM | DROPS | {"units": [8, 8]}, TRAINING),
    "classifier": ("classifier", REVIEWS, CLASSIFIER, TRAINING),
    "classifier-dropout": ("classifier", REVIEWS, CLASSIFIER | DROPS | {"word_dropout": 0.2}, TRAINING),
    "translator": ("translator", SENTENCES, TRANSLATOR, TRAINING),
    "translator-dropout": (
        "translator",
        SENTENCES,
        TRANSLATOR | DROPS | {"embedding_dropout": 0.2, "scheduled_sampling": 0.3},
        TRAINING,
    ),
}


def start_workers(commands: list[list[str]], folder: Path) -> list[forks.Fork]:
    """Processes of one cluster on the loopback; each writes into FOLDER/N.log."""
    folder.mkdir(exist_ok=True)
    environments = worker_environments(len(commands), os.environ)
    return [
        forks.Fork(command, env=environment, log=folder / f"{index}.log")
        for index, (command, environment) in enumerate(zip(commands, environments, strict=True))
    ]


def told(folder: Path) -> str:
    return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in sorted(folder.glob("*.log")))


def assert_close(path: Path, expected: Path) -> None:
    """The same weights, recurrent state and figures, but for rounding."""
    run, expected_run = open_run(path), open_run(expected)
    (last, problems), (expected_last, _) = run.newest_checkpoint(), expected_run.newest_checkpoint()
    assert not problems
    assert last.step == expected_last.step
    for group in ("weights", "state", "average"):
        assert last.groups[group].keys() == expected_last.groups[group].keys()
        for name, array in expected_last.groups[group].items():
            np.testing.assert_allclose(last.groups[group][name], array, rtol=0, atol=1e-5, err_msg=name)
    for name in ("epoch", "batch", "evaluations", "best_step", "ended"):
        assert last.position[name] == expected_last.position[name], name
    clocks = re.compile(".*_per_second|seconds")
    for row, same in zip(run.rows(), expected_run.rows(), strict=True):
        assert row.keys() == same.keys()
        for name in row:
            if not clocks.fullmatch(name):
                assert row[name] == (
                    same[name] if name in ("split", "step") else pytest.approx(same[name], rel=1e-4)
                )


def check_scenarios(tmp_path, scenarios, with_workers, with_devices):
    """Trains scenarios alone, and those named with two workers and with three devices of one."""

    def command(who, names, *devices):
        chosen = tmp_path / f"{who}.json"
        chosen.write_text(json.dumps({name: scenarios[name] for name in names}))
        return [SCENARIOS_SCRIPT, str(chosen), str(tmp_path / who), *devices]

    alone = forks.Fork(command("alone", scenarios))
    devices = forks.Fork(command("devices", with_devices, "3"))
    assert [alone.wait(), devices.wait()] == [0, 0], alone.err.read_text() + devices.err.read_text()
    workers = start_workers([command("workers", with_workers)] * 2, tmp_path / "logs")
    assert [worker.wait() for worker in workers] == [0, 0], told(tmp_path / "logs")
    different = {}
    pairs = [("workers", name) for name in with_workers] + [("devices", name) for name in with_devices]
    for who, name in pairs:
        try:
            assert_close(tmp_path / who / name, tmp_path / "alone" / name)
        except AssertionError as error:
            different[who, name] = str(error)
    assert not different, different


def test_two_workers_and_three_devices_end_with_the_weights_of_one(tmp_path):
    few = TRAINING | {"steps": 12, "log_every": 5}
    scenarios = {"lm-dropout": (*SCENARIOS["lm-dropout"][:3], few)}
    check_scenarios(tmp_path, scenarios, scenarios, scenarios)


@pytest.mark.thorough
def test_so_they_do_after_fifty_steps_whatever_the_task_and_its_dropout(tmp_path):
    check_scenarios(tmp_path, SCENARIOS, SCENARIOS, SCENARIOS)


# Workers that are gone, stopped, or were never the same.


def train_command(out: Path, *options: str) -> list[str]:
    """Long enough to be caught in the middle, with many checkpoints."""
    settings = ["--units", "8", "--seq-len", "8", "--batch", "6", "--validation-fraction", "0.1"]
    settings += ["--optimizer", "sgd", "--lr", "0.1", "--steps", "300", "--evaluations", "60"]
    given = ["train", "lm", str(out.parent / "book.txt"), "--out", str(out)]
    return [*forks.OSTINATO, *given, *settings, *options]


@pytest.fixture
def book(tmp_path):
    """A folder with a book to train on."""
    (tmp_path / "book.txt").write_text(TEXT)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of one worker that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "book.txt").write_text(TEXT)
    forks.run(*train_command(folder / "run"), check=True)
    return folder / "run"


def wait_for_step(run: Path, step: int, workers: list[forks.Fork], folder: Path) -> None:
    def is_there():
        if (run / "config.json").exists() and any(row["step"] >= step for row in open_run(run).rows()):
            return True
        assert all(worker.poll() is None for worker in workers), told(folder)
        return False

    hanging.wait_until(is_there, pause=0.1)


@pytest.mark.parametrize(
    ("victim", "signal_number"),
    [thorough(1, signal.SIGKILL), (0, signal.SIGKILL), thorough(1, signal.SIGSTOP)],
)
def test_when_a_worker_is_gone_the_others_stop_and_one_can_go_on(book, whole, victim, signal_number):
    workers = start_workers([train_command(book / "run")] * 2, book / "logs")
    try:
        wait_for_step(book / "run", 20, workers, book / "logs")
        workers[victim].send_signal(signal_number)
        assert workers[1 - victim].wait(hanging.SECONDS) == 2
        said = (book / "logs" / f"{1 - victim}.log").read_text().splitlines()
        assert said[-1].startswith("Error: another worker is gone or does not answer"), said
        assert "Detected at node" not in said[-1]
        assert "Traceback" not in told(book / "logs")
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    ostinato.resume(book / "run")
    assert_close(book / "run", whole)


@pytest.mark.thorough
def test_one_that_is_terminated_stops_all_and_three_go_on(book, whole):
    workers = start_workers([train_command(book / "run")] * 2, book / "logs")
    wait_for_step(book / "run", 20, workers, book / "logs")
    workers[1].terminate()
    assert [worker.wait(hanging.SECONDS) for worker in workers] == [143, 143], told(book / "logs")
    assert "terminated and saved at step" in (book / "logs" / "0.log").read_text()
    again = start_workers([[*forks.OSTINATO, "train", "--resume", str(book / "run")]] * 3, book / "again")
    assert [worker.wait() for worker in again] == [0, 0, 0], told(book / "again")
    assert_close(book / "run", whole)


@pytest.mark.parametrize("which", ["settings", thorough("command")])
def test_workers_that_were_asked_something_else_are_refused_by_all(book, which):
    other = train_command(book / "run", "--seed", "5")
    if which == "command":
        other = [*forks.OSTINATO, "train", "--resume", str(book / "run")]
    commands = [train_command(book / "run"), other]
    workers = start_workers(commands, book / "logs")
    assert [worker.wait() for worker in workers] == [2, 2]
    chief, other = ((book / "logs" / f"{index}.log").read_text() for index in range(2))
    assert "Error: worker 1 could not go on; its own output says why" in chief
    what = {"settings": "the settings, source or first weights", "command": "the arguments"}[which]
    assert f"Error: {what} of worker 1 differ from those of worker 0" in other
    assert not (book / "run").exists()


def test_ctrl_c_ends_a_worker_that_waits_for_the_others(book):
    _, environment = worker_environments(2, os.environ)
    waiting = forks.Fork(train_command(book / "run"), env=environment)
    hanging.wait_until(lambda: waiting.err.read_text() == "worker 1 of 2: waiting for the others\n")
    time.sleep(1)
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(hanging.SECONDS) == -signal.SIGINT


def test_one_worker_broadcasts_to_itself():
    workers = single_worker()
    assert workers.sum([1.5, 2.5]).tolist() == [1.5, 2.5]
    assert workers.broadcast_bytes(0, b"abcde") == b"abcde"
    assert [workers.rows(0, 7)] == [slice(0, 7)]
    workers.check_same("anything", b"abc")
