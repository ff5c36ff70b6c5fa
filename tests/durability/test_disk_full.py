"""Trainings whose disk fills up while they write: they stop with one sentence, and go on when there is room.

The disk is really full: a small file system in memory, filled to the last byte (or file) at the instant the
training is about to write one thing or another. It is mounted for a child process alone, which needs a system
that lets everybody do so. A limit on the size of files stands in for it where that is not possible, and where
it reaches what a full disk cannot be aimed at.

The child imports TensorFlow once, and forks for each training.
"""

import contextlib
import functools
import importlib
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = 4096
BALLAST = ".ballast"
SETTINGS = """
[language_model]
units = 8
seq_len = 8
batch = 4

[training]
steps = 20
evaluations = 4
log_every = 1
keep = 100
"""
TEXT = "".join(np.random.default_rng(0).choice(list("abcdefghijklmnopqrstuvwxyz \n"), size=3000))


# In the child.


def serve(disk: Path) -> None:
    """Reads a job a line, and answers each with a line."""
    for name in ("keras", "matplotlib.figure", "ostinato.cli.commands.train", "ostinato.training.progress"):
        importlib.import_module(name)
    importlib.import_module("ostinato.tasks.language_model")
    importlib.import_module("ostinato.training.run")
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        answer = None
        if job["do"] == "run":
            child = os.fork()
            if child == 0:
                os._exit(run(disk, job))
            answer = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        elif job["do"] == "copy":
            shutil.copytree(disk, job["to"])
        elif job["do"] == "make room":
            shutil.rmtree(disk / BALLAST, ignore_errors=True)
        elif job["do"] == "clear":
            for entry in disk.iterdir():
                shutil.rmtree(entry)
        print(json.dumps(answer), flush=True)


def run(disk: Path, job: dict[str, Any]) -> int:
    """`ostinato` with the job's arguments; returns its exit code."""
    from ostinato.cli import main as ostinato

    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT)
    for descriptor in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(log, descriptor)
    os.environ["OSTINATO_CACHE"] = job["cache"]
    # To trace a graph takes longer than all that is written; and a fork may run operations, its parent none.
    importlib.import_module("tensorflow").config.run_functions_eagerly(True)
    if job["place"] is not None:
        place, number = job["place"]
        PLACES[place](number, HOWS[job["how"]](disk))
    sys.argv = ["ostinato", *job["arguments"]]
    try:
        ostinato()
    except SystemExit as ended:
        sys.stderr.flush()
        return int(ended.code or 0)
    except BaseException:
        importlib.import_module("traceback").print_exc()
    return 1


# How the room runs out: each is a context, in which the writing meant is done.

Strike = Callable[[Path], contextlib.AbstractContextManager[None]]


def fill_to_the_last_byte(disk: Path, leave: int = 0) -> Strike:
    @contextlib.contextmanager
    def strike(path: Path) -> Iterator[None]:
        (disk / BALLAST).mkdir(exist_ok=True)
        with open(disk / BALLAST / "filled", "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(PAGE))
        os.truncate(file.name, os.path.getsize(file.name) - leave)
        yield

    return strike


def fill_to_the_last_file(disk: Path) -> Strike:
    @contextlib.contextmanager
    def strike(path: Path) -> Iterator[None]:
        (disk / BALLAST).mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            for number in itertools.count():
                (disk / BALLAST / str(number)).touch()
        yield

    return strike


def limit_the_size(disk: Path) -> Strike:
    """Lets no file grow beyond what is written already, and a few bytes, while the one meant is written."""

    @contextlib.contextmanager
    def strike(path: Path) -> Iterator[None]:
        sizes = [file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file()]
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes, default=0) + 50, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return strike


HOWS = {
    "full": fill_to_the_last_byte,
    "full but for a page": lambda disk: fill_to_the_last_byte(disk, leave=PAGE),
    "no more files": fill_to_the_last_file,
    "limited": limit_the_size,
}


# Where: each strikes from the so-manieth passing of a place on.


def at_file(name: str) -> Callable[[int, Strike], None]:
    def watch(number: int, strike: Strike) -> None:
        from ostinato.files import atomic as files

        write, left = files.write_synced, itertools.count(number - 1, -1)

        def write_synced(path: Path, data: bytes) -> None:
            with strike(path) if path.name == name and next(left) <= 0 else contextlib.nullcontext():
                write(path, data)

        files.write_synced = write_synced

    return watch


def at_save(number: int, strike: Strike) -> None:
    from ostinato.runs import checkpoints

    save, left = checkpoints.save, itertools.count(number - 1, -1)

    def watched(folder: Path, checkpoint: Any) -> Path:
        with strike(folder) if next(left) <= 0 else contextlib.nullcontext():
            return save(folder, checkpoint)

    checkpoints.save = watched


def at_row(number: int, strike: Strike) -> None:
    from ostinato.runs.directory import RunDirectory

    append, left = RunDirectory.append_metrics, itertools.count(number - 1, -1)

    def watched(directory: RunDirectory, row: dict[str, Any]) -> None:
        with strike(directory.metrics) if next(left) <= 0 else contextlib.nullcontext():
            append(directory, row)

    RunDirectory.append_metrics = watched


def at_row_across_pages(number: int, strike: Strike) -> None:
    """At a row for which the file needs another page; on a full disk too it may use the rest of its last."""
    from ostinato.runs.directory import RunDirectory

    append, left = RunDirectory.append_metrics, itertools.count(number - 1, -1)

    def watched(directory: RunDirectory, row: dict[str, Any]) -> None:
        size = directory.metrics.stat().st_size if directory.metrics.exists() else 0
        crosses = size % PAGE and size // PAGE != (size + len(json.dumps(row))) // PAGE
        with strike(directory.metrics) if crosses and next(left) <= 0 else contextlib.nullcontext():
            append(directory, row)

    RunDirectory.append_metrics = watched


def at_listener(name: str, event_name: str) -> Callable[[int, Strike], None]:
    def watch(number: int, strike: Strike) -> None:
        from ostinato.training import listeners

        listener, left = getattr(listeners, name), itertools.count(number - 1, -1)
        listen = listener.__call__
        folder = {"TensorBoard": "tensorboard", "Report": "report"}[name]

        def watched(self: Any, event: Any) -> None:
            meant = type(event).__name__ == event_name and next(left) <= 0
            with strike(self._run.path / folder) if meant else contextlib.nullcontext():
                listen(self, event)

        listener.__call__ = watched

    return watch


PLACES: dict[str, Callable[[int, Strike], None]] = {
    "weights": at_file("weights.safetensors"),
    "optimizer": at_file("optimizer.safetensors"),
    "manifest": at_file("manifest.json"),
    "checkpoint": at_save,
    "metrics": at_row,
    "metrics across pages": at_row_across_pages,
    "TensorBoard": at_listener("TensorBoard", "Measured"),
    "report": at_listener("Report", "Ended"),
}


# In the tests.


class Machine:
    """A child with a disk of its own."""

    def __init__(self, folder: Path, *, mounted: bool):
        self.folder, self.disk, self.mounted, self._jobs = folder, folder / "disk", mounted, 0
        self.disk.mkdir()
        self.source, self.settings = folder / "text.txt", folder / "settings.toml"
        self.source.write_text(TEXT)
        self.settings.write_text(SETTINGS)
        command = [sys.executable, __file__, str(self.disk)]
        with open(folder / "child.log", "wb") as log:
            self._process = subprocess.Popen(
                [*OWN_DISK, *command] if mounted else command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"DISK": str(self.disk), "TMPDIR": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
        assert self._answer() == "ready", (folder / "child.log").read_text()

    def close(self) -> None:
        self._process.communicate()

    def train(self, place: tuple[str, int] | None = None, how: str | None = None) -> tuple[int, str]:
        """Trains; returns the exit code and what was written on standard output and standard error."""
        arguments = ["lm", str(self.source), "--config", str(self.settings), "--out", str(self.disk / "run")]
        return self._run(["train", *arguments], place, how)

    def resume(self) -> tuple[int, str]:
        return self._run(["train", "--resume", str(self.disk / "run")], None, None)

    def do(self, what: str, **options: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what} | options, default=str).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def copied(self) -> Path:
        """A copy of the disk, which nobody but the child can see."""
        self._jobs += 1
        to = self.folder / f"copy-{self._jobs}"
        self.do("copy", to=to)
        return to

    def _run(self, arguments: list[str], place: tuple[str, int] | None, how: str | None) -> tuple[int, str]:
        self._jobs += 1
        log = self.folder / f"job-{self._jobs}.log"
        code = self.do("run", arguments=arguments, place=place, how=how, log=log, cache=self.folder / "cache")
        return code, log.read_text()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()


OWN_DISK = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
OWN_DISK += ['mount -t tmpfs -o size=1m,nr_inodes=300 tmpfs "$DISK" && exec "$0" "$@"']


@pytest.fixture(scope="module")
def machine(tmp_path_factory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("machine")
    try:
        probe = subprocess.run(
            [*OWN_DISK, "true"], env=os.environ | {"DISK": str(folder)}, capture_output=True
        )
        mounted = probe.returncode == 0
    except FileNotFoundError:
        mounted = False
    child = Machine(folder, mounted=mounted)
    yield child
    child.close()


@pytest.fixture(scope="module")
def whole(machine) -> Path:
    """A run that was never disturbed."""
    code, said = machine.train()
    assert code == 0, said
    copy = machine.copied()
    machine.do("clear")
    return copy / "run"


@pytest.fixture
def disturbed(machine, whole) -> Iterator[Callable[..., tuple[int, str]]]:
    """disturbed(place, number, how): trains, and takes the room from then on."""

    def train(place: str, number: int, how: str) -> tuple[int, str]:
        if how != "limited" and not machine.mounted:
            pytest.skip("this system lets nobody but a superuser mount a file system to fill")
        return machine.train((place, number), how)

    yield train
    machine.do("make room")
    machine.do("clear")


def rows(run: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl without what the clock says; every line must be one."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    clock = ("seconds", "tokens_per_second")
    return [{key: value for key, value in json.loads(line).items() if key not in clock} for line in lines]


def assert_told(code: int, said: str, path: str) -> None:
    """Exit code 2, and nothing but one sentence with the path and the reason."""
    errors = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert code == 2, said
    assert len(errors) == 1, said
    assert "Traceback" not in said
    assert f"could not write {path}" in errors[0]
    assert "No space left on device" in errors[0] or "File too large" in errors[0]


def assert_whole(disk: Path, whole: Path, step: int | None = None) -> None:
    """The newest checkpoint is that of the step, with the arrays of the run that was never disturbed."""
    from ostinato.runs import checkpoints
    from ostinato.runs.directory import open_run

    newest, problems = open_run(disk / "run").newest_checkpoint()
    assert problems == []
    assert step is None or newest.step == step
    np.testing.assert_equal(newest.groups, checkpoints.load(whole / "checkpoints", newest.step).groups)
    assert [path for path in disk.rglob(".*") if BALLAST not in path.parts[-2:]] == []
    for picture in disk.rglob("*.png"):
        assert picture.read_bytes().endswith(b"IEND\xaeB`\x82"), f"half of {picture.name}"


# Not from `tests.variants`: the child runs this file as a script.
thorough = functools.partial(pytest.param, marks=pytest.mark.thorough)


@pytest.mark.parametrize(
    ("place", "number", "how", "path", "good"),
    [
        # The first file of each kind is that of the checkpoint with which the run is created; evaluations,
        # and with them checkpoints, come every five steps.
        ("weights", 2, "full", "run/checkpoints/step-000000005", 0),
        thorough("weights", 3, "full but for a page", "run/checkpoints/step-000000010", 5),
        thorough("optimizer", 3, "limited", "run/checkpoints/step-000000010", 5),
        thorough("manifest", 2, "full", "run/checkpoints/step-000000000", 0),  # only its position changes
        thorough("manifest", 4, "full", "run/checkpoints/step-000000010", 5),
        thorough("checkpoint", 4, "no more files", "run/checkpoints/step-000000010", 5),
        thorough("metrics across pages", 1, "full", "run/metrics.jsonl", None),
        ("metrics", 9, "limited", "run/metrics.jsonl", 5),
        thorough("TensorBoard", 6, "full", "run/tensorboard", 0),  # the first of the validation part
        thorough("TensorBoard", 8, "limited", "run/tensorboard", 5),
        ("report", 1, "full", "run/report", 20),
        thorough("report", 1, "limited", "run/report", 20),
    ],
)
def test_a_full_disk_stops_a_training_that_goes_on_when_there_is_room(
    machine, whole, disturbed, place, number, how, path, good
):
    code, said = disturbed(place, number, how)
    assert_told(code, said, f"{machine.disk}/{path}")
    assert_whole(machine.copied(), whole, good)
    machine.do("make room")
    code, said = machine.resume()
    assert code == 0, said
    copy = machine.copied()
    assert_whole(copy, whole, 20)
    assert rows(copy / "run") == rows(whole)


@pytest.mark.parametrize(("place", "how"), [("weights", "full"), ("manifest", "limited")])
def test_a_disk_that_is_full_from_the_first_leaves_no_run(machine, disturbed, place, how):
    assert_told(*disturbed(place, 1, how), f"{machine.disk}/")
    assert [path.name for path in machine.copied().iterdir() if path.name != BALLAST] == []


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
