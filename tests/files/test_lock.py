"""One process at a time holds a run's lock, whatever became of those before it."""

import errno
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ostinato.errors import RunError
from ostinato.files import lock
from ostinato.files.lock import RunLock, refuse_if_locked

from ..hanging import wait_until

HOLD = """
import sys
from pathlib import Path
from ostinato.errors import RunError
from ostinato.files import lock
from ostinato.files.lock import RunLock
lock._PAUSE = 0.002
assert "tensorflow" not in sys.modules
print("ready", flush=True)
for folder in sys.stdin:
    try:
        held = RunLock.acquire(Path(folder.strip()))
        print("held", flush=True)
        sys.stdin.readline()
        held.release()
        print("released", flush=True)
    except RunError as error:
        print(error, flush=True)
        sys.stdin.readline()
        print("none", flush=True)
"""


class Other:
    """Another process, that takes the lock of a folder and gives it up again when told."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.answer() == "ready"

    def tell(self, line: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, line: object) -> str:
        self.tell(line)
        return self.answer()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def other():
    process = Other()
    yield process
    process.end()


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run directory, as far as a lock is concerned."""
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A refusal comes at once."""
    monkeypatch.setattr(lock, "_PAUSE", 0.002)


@pytest.fixture
def quick(monkeypatch):
    """Owners touch their locks often; locks are watched for a few seconds, unless one is touched before."""
    monkeypatch.setattr(lock, "TOUCH_SECONDS", 0.02)
    monkeypatch.setattr(lock, "WATCH_SECONDS", 3.0)


@pytest.fixture
def hasty(monkeypatch):
    """Locks that nobody touches are watched for an instant."""
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.1)


@pytest.fixture(params=["Windows", "a file system that has none", "another that has none"])
def without_flock(request, monkeypatch, quick):
    """A place where `flock` does not work."""
    if request.param == "Windows":
        monkeypatch.setattr(lock, "fcntl", None)
        return
    number = errno.ENOSYS if request.param.startswith("a file") else errno.EOPNOTSUPP

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)


def sign(folder: Path, *, host: str = "elsewhere", pid: object = 4711, since: object = None) -> Path:
    """Leaves a lock behind, as a process of another host does."""
    since = since or "2026-11-24T16:40:12+00:00"
    (folder / lock.NAME).write_text(json.dumps({"host": host, "pid": pid, "since": since}))
    return folder / lock.NAME


def assert_free(folder: Path) -> None:
    """The lock can be taken, and leaves nothing behind."""
    with RunLock.acquire(folder):
        assert (folder / lock.NAME).exists()
    assert list(folder.iterdir()) == []


# Taking and giving up.


def test_the_lock_says_in_json_who_holds_it_since_when(folder):
    before = datetime.now(UTC) - timedelta(seconds=1)
    with RunLock.acquire(folder):
        owner = json.loads((folder / lock.NAME).read_text())
    assert (owner["host"], owner["pid"]) == (socket.gethostname(), os.getpid())
    assert before <= datetime.fromisoformat(owner["since"]) <= datetime.now(UTC)


def test_release_removes_it_and_a_second_time_does_nothing(folder):
    held = RunLock.acquire(folder)
    held.release()
    assert list(folder.iterdir()) == []
    with RunLock.acquire(folder):
        held.release()
        assert (folder / lock.NAME).exists()


def test_an_exception_releases_it(folder):
    with pytest.raises(KeyError), RunLock.acquire(folder):
        raise KeyError
    assert list(folder.iterdir()) == []


def test_nothing_stays_open_and_no_thread_runs_on(folder):
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(5):
        with RunLock.acquire(folder), pytest.raises(RunError):
            RunLock.acquire(folder)
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == (descriptors, threads)


def test_the_owner_touches_it(folder, quick):
    with RunLock.acquire(folder):
        os.utime(folder / lock.NAME, (1, 1))
        wait_until(lambda: (folder / lock.NAME).stat().st_mtime > 1)


def test_it_goes_with_a_folder_that_is_renamed(folder, tmp_path, quick, other):
    moved = tmp_path / "moved"
    held = RunLock.acquire(folder)
    folder.rename(moved)
    held.moved_to(moved)
    assert "is being trained by process" in other.ask(moved)
    os.utime(moved / lock.NAME, (1, 1))
    wait_until(lambda: (moved / lock.NAME).stat().st_mtime > 1)
    held.release()
    assert list(moved.iterdir()) == []


def test_the_lock_of_another_run_that_came_to_the_place_is_left_alone(folder, tmp_path):
    held = RunLock.acquire(folder)
    folder.rename(tmp_path / "aside")
    folder.mkdir()
    with RunLock.acquire(folder):
        held.release()
        assert (folder / lock.NAME).exists()
    assert (tmp_path / "aside" / lock.NAME).exists()  # it was not told where the folder went
    assert_free(tmp_path / "aside")


def test_a_folder_that_is_gone_is_released_in_peace(folder):
    held = RunLock.acquire(folder)
    shutil.rmtree(folder)
    held.release()
    assert not folder.exists()


# Another process.


def test_a_living_owner_is_named_with_its_last_sign_of_life(folder, other):
    assert other.ask(folder) == "held"
    owner = re.escape(
        f"{folder} is being trained by process {other.process.pid} on host {socket.gethostname()}"
    )
    message = (
        rf"^{owner} since \d{{4}}-\d\d-\d\d \d\d:\d\d UTC \(last sign of life \d+ s ago\); wait for it, or"
    )
    for attempt in (RunLock.acquire, refuse_if_locked):
        with pytest.raises(RunError, match=message):
            attempt(folder)
    assert other.ask("") == "released"
    assert_free(folder)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "1 s ago"), (90, "90 s ago"), (3600, "60 min ago"), (-3600, None)]
)
def test_a_sign_of_life_is_told_as_long_as_the_clock_makes_sense(folder, seconds, words, monkeypatch):
    now = int(time.time())
    monkeypatch.setattr(time, "time", lambda: float(now))  # a slow machine has no part in it
    with RunLock.acquire(folder):
        os.utime(folder / lock.NAME, (now - seconds,) * 2)
        with pytest.raises(RunError) as refusal:
            RunLock.acquire(folder)
    found = re.search(r"\(last sign of life (.*?)\)", str(refusal.value))
    assert (found and found.group(1)) == words


def test_the_lock_of_a_killed_process_is_taken_over_at_once(folder, other, monkeypatch):
    monkeypatch.setattr(lock, "WATCH_SECONDS", 3600.0)
    assert other.ask(folder) == "held"
    other.process.send_signal(signal.SIGKILL)
    other.process.wait()
    assert json.loads((folder / lock.NAME).read_text())["pid"] == other.process.pid
    refuse_if_locked(folder)
    assert_free(folder)


def test_of_processes_that_race_for_it_one_wins(folder, other):
    second = Other()
    try:
        for _ in range(25):
            for process in (other, second):
                process.tell(folder)
            answers = [process.answer() for process in (other, second)]
            assert sorted(answer == "held" for answer in answers) == [False, True], answers
            assert sorted(process.ask("") for process in (other, second)) == ["none", "released"]
            assert list(folder.iterdir()) == []
    finally:
        second.end()


def test_threads_that_take_it_in_turn_are_never_two_at_once(folder):
    # Each unlinks the file that the others are about to lock.
    inside, taken, refused = [], [], []

    def take_often(number):
        for _ in range(60):
            try:
                with RunLock.acquire(folder):
                    inside.append(number)
                    assert inside == [number]
                    time.sleep(0.0005)
                    inside.remove(number)
                    taken.append(number)
            except RunError as error:
                refused.append(str(error))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(take_often, range(4)))
    assert taken
    assert all("is being trained by" in sentence for sentence in refused)
    assert list(folder.iterdir()) == []


# Another host.


def test_the_lock_of_another_host_that_lies_still_is_taken_over(folder, hasty):
    sign(folder)
    sentences = []
    with RunLock.acquire(folder, sentences.append):
        assert json.loads((folder / lock.NAME).read_text())["pid"] == os.getpid()
    (sentence,) = sentences
    assert sentence == (
        f"{folder} was being trained by process 4711 on host elsewhere since 2026-11-24 16:40 UTC; "
        "checking for up to 0.1 s whether it still is"
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("clock", [0, 2**31], ids=["behind", "ahead"])
@pytest.mark.parametrize("attempt", [RunLock.acquire, refuse_if_locked])
def test_the_lock_of_another_host_that_is_touched_is_refused_whatever_its_clock(
    folder, quick, attempt, clock
):
    file = sign(folder)
    os.utime(file, (clock, clock))
    content = file.read_bytes()
    message = (
        r"by process 4711 on host elsewhere since 2026-11-24 16:40 UTC \(last sign of life just now\); wait"
    )
    with pytest.raises(RunError, match=message):
        attempt(folder, lambda sentence: os.utime(file, (clock + 10, clock + 10)))
    assert file.read_bytes() == content


def test_the_lock_of_another_host_that_is_given_up_meanwhile_is_taken(folder, quick):
    file = sign(folder)
    with RunLock.acquire(folder, lambda sentence: file.unlink()):
        assert json.loads((folder / lock.NAME).read_text())["pid"] == os.getpid()


def test_the_lock_of_another_host_that_another_replaces_is_looked_at_anew(folder, tmp_path, quick):
    (tmp_path / "other").mkdir()
    of_here = sign(tmp_path / "other", host=socket.gethostname())
    file = sign(folder)
    with RunLock.acquire(folder, lambda sentence: os.replace(of_here, file)):  # its owner here is gone
        assert json.loads((folder / lock.NAME).read_text())["pid"] == os.getpid()


def test_an_interrupted_wait_leaves_the_lock_as_it_was(folder, quick):
    content = sign(folder).read_bytes()

    def interrupt(sentence):
        raise KeyboardInterrupt

    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt):
        RunLock.acquire(folder, interrupt)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert (folder / lock.NAME).read_bytes() == content


# Where there is no flock.


def test_without_flock_a_lock_that_is_touched_is_refused(folder, without_flock):
    with RunLock.acquire(folder, pytest.fail):  # a new lock need not be watched
        with pytest.raises(RunError, match=rf"by process {os.getpid()} .*last sign of life just now"):
            RunLock.acquire(folder)
        assert (folder / lock.NAME).exists()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"", None], ids=["damaged", "whole"])
def test_without_flock_a_lock_that_lies_still_is_taken_over(folder, without_flock, hasty, content):
    sign(folder, host=socket.gethostname())
    if content is not None:
        (folder / lock.NAME).write_bytes(content)
    sentences = []
    with RunLock.acquire(folder, sentences.append):
        assert len(sentences) == 1
    assert list(folder.iterdir()) == []


def test_without_flock_it_goes_with_a_folder_that_is_renamed(folder, tmp_path, without_flock):
    descriptors = len(os.listdir("/proc/self/fd"))
    held = RunLock.acquire(folder)
    if lock.fcntl is None:  # Windows renames no folder with an open file in it
        assert len(os.listdir("/proc/self/fd")) == descriptors
    folder.rename(tmp_path / "moved")
    held.moved_to(tmp_path / "moved")
    with pytest.raises(RunError, match="just now"):
        RunLock.acquire(tmp_path / "moved")
    held.release()
    assert list((tmp_path / "moved").iterdir()) == []


# Damage, and what else may lie there.

SIGNED = {"host": "elsewhere", "pid": 4711, "since": "2026-11-24T16:40:12+00:00"}
DAMAGED = {
    "empty": b"",
    "not JSON": b"{",
    "no text": b"\xff\x00",
    "deep": b"[" * 4000,
    "list": b"[]",
    "huge": json.dumps({**SIGNED, "more": "x" * 10**6}).encode(),
    "host": json.dumps({**SIGNED, "host": "\x1b[2Jelsewhere"}).encode(),
    "no host": json.dumps({**SIGNED, "host": None}).encode(),
    "pid": json.dumps({**SIGNED, "pid": "4711"}).encode(),
    "time": json.dumps({**SIGNED, "since": "yesterday"}).encode(),
    "time at the end of all": json.dumps({**SIGNED, "since": "9999-12-31T23:59:59-12:00"}).encode(),
    "time without zone": json.dumps({**SIGNED, "since": "2026-11-24T16:40:12"}).encode(),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_lock_that_nobody_holds_is_taken_over_at_once(folder, content, monkeypatch):
    monkeypatch.setattr(lock, "WATCH_SECONDS", 3600.0)
    (folder / lock.NAME).write_bytes(content)
    with RunLock.acquire(folder):
        assert json.loads((folder / lock.NAME).read_text())["pid"] == os.getpid()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_lock_that_is_held_is_refused_without_its_content(folder, content):
    with RunLock.acquire(folder):
        (folder / lock.NAME).write_bytes(content)
        with pytest.raises(RunError, match=r"run is being trained by another process \(last sign of life"):
            RunLock.acquire(folder)


def lay(kind: str, path: Path) -> None:
    """Puts something at the lock's place that is not a regular file."""
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(path))  # a socket's path is short
    else:
        target = path.with_name("precious")
        if kind == "link":
            target.write_text("mine")
        path.symlink_to(target)


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "link", "dangling link"])
@pytest.mark.parametrize("attempt", [RunLock.acquire, refuse_if_locked])
def test_what_is_no_plain_file_is_neither_followed_nor_replaced(folder, monkeypatch, attempt, kind):
    monkeypatch.chdir(folder)
    lay(kind, folder / lock.NAME)
    before = sorted(folder.iterdir())
    with pytest.raises(RunError, match=r"the lock .*run/\.lock must be a regular file; remove it"):
        attempt(folder)
    assert sorted(folder.iterdir()) == before
    if kind == "link":
        assert (folder / "precious").read_text() == "mine"


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(RunError, match=r"could not write .*gone/\.lock: No such file or directory"):
        RunLock.acquire(tmp_path / "gone")


@pytest.mark.skipif(os.geteuid() == 0, reason="a superuser may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(folder):
    folder.chmod(0o500)
    with pytest.raises(RunError, match=r"could not write .*run/\.lock: Permission denied"):
        RunLock.acquire(folder)


def test_a_disk_without_room_for_it_leaves_nothing_behind(folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(RunError, match=r"could not write .*run/\.lock: File too large"):
            RunLock.acquire(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(folder.iterdir()) == []


# Looking only.


def test_a_free_folder_is_not_refused_and_not_changed(folder, tmp_path):
    refuse_if_locked(tmp_path / "gone")
    before = folder.stat().st_mtime_ns
    refuse_if_locked(folder)
    assert folder.stat().st_mtime_ns == before
    assert sorted(tmp_path.iterdir()) == [folder]
