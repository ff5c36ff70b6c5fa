"""ostinato launch: what the workers are given, and what it refuses; see launch/test_processes.py, too."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ostinato.cli.commands.launch import worker_environments

OSTINATO = str(Path(sys.executable).with_name("ostinato"))


@pytest.fixture(autouse=True)
def on_no_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)


# What the workers are given.


def test_the_environments_tell_the_workers_who_and_where_they_are():
    environments = worker_environments(3, {"HOME": "/home/me"})
    configs = [json.loads(each["TF_CONFIG"]) for each in environments]
    assert [config["task"] for config in configs] == [{"type": "worker", "index": i} for i in range(3)]
    addresses = configs[0]["cluster"]["worker"]
    assert all(config["cluster"] == {"worker": addresses} for config in configs)
    assert len(set(addresses)) == 3
    for address in addresses:
        host, port = address.split(":")
        with socket.socket() as free:
            free.bind((host, int(port)))
    assert all((each["HOME"], each["PYTHONUNBUFFERED"]) == ("/home/me", "1") for each in environments)


def test_the_processors_are_divided_unless_the_user_has_said_otherwise():
    names = ("OSTINATO_THREADS", "TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")
    (alone,) = worker_environments(1, {})
    processors = int(alone["OSTINATO_THREADS"])
    assert processors == (len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count())
    for workers in (2, processors, 64):
        for each in worker_environments(workers, {"OMP_NUM_THREADS": "5"}):
            divided = str(max(1, processors // workers))
            assert [each[name] for name in names] == [divided, divided, "5"]


# The command.

WITHOUT_TENSORFLOW = """
import sys
from ostinato.cli import main
sys.argv[0] = "ostinato"
try:
    main()
finally:
    print(not {"tensorflow", "keras"} & sys.modules.keys())
"""


@pytest.fixture
def whoami(tmp_path, monkeypatch) -> None:
    """Has every Python say whose worker it is, before anything else."""
    place = tmp_path / "whoami"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import json, os, sys\n"
        "if 'TF_CONFIG' in os.environ:\n"
        "    print('I am', json.loads(os.environ['TF_CONFIG'])['task']['index'], *sys.orig_argv[-2:])\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(place))


@pytest.mark.parametrize("dashes", [["--"], []], ids=["after-dashes", "without-dashes"])
def test_the_workers_are_ostinato_and_the_launcher_has_no_tensorflow(dashes, whoami):
    command = ["launch", "--workers", "3", *dashes, "train", "lm", "--help"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *command], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for worker in range(3):
        assert f"[{worker}] I am {worker} lm --help" in lines
        assert any(re.fullmatch(rf"\[{worker}\] +Usage: ostinato train lm .*", line) for line in lines)
    assert "True" in lines


def test_the_workers_see_no_packages_in_the_working_directory(folder):
    (folder / "typer.py").write_text("raise SystemExit('shadowed')")
    done = subprocess.run([OSTINATO, "launch", "train", "lm", "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_of_the_workers_is_the_launchers_exit_code(folder):
    # Where a help is asked for, the launcher leaves it to the workers to look at the command.
    command = [OSTINATO, "launch", "train", "lm", "--unts", "3", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"^\[[01]\] Error: No such option: --unts", done.stderr, re.MULTILINE)
    assert re.search(r"^worker [01] ended with exit code 2", done.stderr, re.MULTILINE)


def test_the_help_has_an_example_and_says_what_it_is_not_for(ostinato, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    answer = ostinato("launch", "--help")
    assert (answer.code, answer.err) == (0, "")
    for said in ("Example: ostinato launch --workers 2 -- train lm", "TF_CONFIG", "docs/distributed.md"):
        assert said in answer.out
    for said in ("--workers", "--grace", "[0]", "--json", "Ctrl-C"):
        assert said in answer.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "0", "--", "train"], "--workers"),
        (["--workers", "65", "--", "train"], "--workers"),
        (["--workers", "two", "--", "train"], "--workers"),
        (["--grace", "-1", "--", "train"], "--grace"),
        (["--wrokers", "2", "train"], "No such option: --wrokers"),
        ([], "there is no command for the workers; give one, as in ostinato launch --workers 2 -- train"),
        (["--workers", "2", "--"], "there is no command for the workers"),
        (
            ["--", "generate", "runs/lm-001"],
            "the command of the workers must be train …, got 'generate'; for example ostinato",
        ),
        (["--", "train", "lm", "--unts", "3"], "No such option: --unts; did you mean '--units'?"),
        (["--", "train", "gone.txt"], "there is no file or folder 'gone.txt'"),
        (["--", "train", "lm", "-"], "standard input can be read only once; give a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence(ostinato, arguments, said):
    answer = ostinato("launch", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    assert said in answer.err


def test_a_worker_of_a_cluster_launches_no_other(ostinato, monkeypatch):
    (environment,) = worker_environments(1, {})
    monkeypatch.setenv("TF_CONFIG", environment["TF_CONFIG"])
    answer = ostinato("launch", "--", "train", "lm")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "Error: TF_CONFIG is set, so this is already a worker of a cluster; run ostinato train here, "
        "or unset it\n"
    )
