"""The lock on a run directory: one process at a time trains a run.

The owner keeps `RUN/.lock` open under `flock` and touches it every few seconds. The system drops the `flock`
of a process that dies, however it dies, so on one machine a lock left behind is recognised at once. It may
not reach another machine that shares the folder, and some file systems and Windows have none: there the file
is watched for a while, and its owner lives if it changes. No two machines' clocks are compared.
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ostinato.errors import RunError
from ostinato.files import atomic as files

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = ".lock"
TOUCH_SECONDS = 10.0
"""How often an owner touches its lock."""
WATCH_SECONDS = 30.0
"""How long a lock that `flock` cannot judge must lie untouched until its owner counts as gone."""

OnWait = Callable[[str], None]
"""Told in a sentence why nothing happens for a while."""

_READ = 4096  # bytes; a lock is much shorter, and something else at its place may be huge
_TRIES, _PAUSE = 5, 0.05  # seconds; for an owner that is just signing its lock, or giving it up
_HOST = re.compile(r"[\w.-]{1,255}")
_NO_PLAIN_FILE = (errno.ELOOP, errno.EISDIR, errno.ENXIO)  # what opening a link, a folder, a socket gives
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # which Windows lacks
_NO_FLOCK = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


class RunLock:
    """A lock that is held until `release`, or the end of the `with` block it is used in.

    Made by `acquire` only.
    """

    def __init__(self, path: Path, descriptor: int, *, keep_open: bool):
        self._path = path
        self._identity = _identity(os.fstat(descriptor))
        try:
            _sign(descriptor)
        except OSError:
            self._remove()
            raise
        # A copy of a descriptor keeps its `flock`. Windows renames no folder with an open file in it.
        self._descriptor = os.dup(descriptor) if keep_open else None
        self._released = threading.Event()
        self._toucher = threading.Thread(target=self._touch, name=f"touches {path}", daemon=True)
        self._toucher.start()

    @classmethod
    def acquire(cls, folder: Path, on_wait: OnWait | None = None) -> RunLock:
        """Takes the lock of a run directory, also one that a process that is gone has left.

        Args:
            folder: the run directory.
            on_wait: told in a sentence, before a lock is watched for up to `WATCH_SECONDS`.

        Raises:
            RunError: when another process holds it, or the folder cannot be written.
        """
        path, found = folder / NAME, None
        with files.writing(path):
            for attempt in range(_TRIES):
                time.sleep(_PAUSE if attempt else 0.0)
                descriptor, created = _open(path)
                try:
                    flock = _flock(descriptor)
                    found = _read(descriptor)
                    if flock != "another's" and _lies_at(path, found.identity):
                        sure = flock == "ours" and found.host in (None, socket.gethostname())
                        if created or sure or _is_abandoned(folder, found, on_wait):
                            return cls(path, descriptor, keep_open=flock == "ours")
                finally:
                    os.close(descriptor)
        raise _refusal(folder, found, found.touched_ago if found else "")

    def moved_to(self, folder: Path) -> None:
        """Says that the run directory has been renamed; the lock has stayed in it."""
        self._path = folder / NAME

    def release(self) -> None:
        """Removes the lock. A second time does nothing."""
        if self._released.is_set():
            return
        self._released.set()
        self._toucher.join()  # lest it touches whatever file gets the descriptor's number next
        self._remove()
        if self._descriptor is not None:
            os.close(self._descriptor)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _touch(self) -> None:
        while not self._released.wait(TOUCH_SECONDS):
            with suppress(OSError):
                os.utime(self._path if self._descriptor is None else self._descriptor)

    def _remove(self) -> None:
        """Unlinks the file while it is held: who opened it before then finds that it no longer lies there."""
        with suppress(OSError):
            if _lies_at(self._path, self._identity):
                os.unlink(self._path)


def refuse_if_locked(folder: Path, on_wait: OnWait | None = None) -> None:
    """Refuses a run directory that another process trains; a lock left behind is removed.

    Arguments and errors are those of `RunLock.acquire`. A folder without a lock, or none at all, is fine.
    """
    if os.path.lexists(folder / NAME):
        RunLock.acquire(folder, on_wait).release()


@dataclass(frozen=True)
class _Found:
    """What a lock file holds, and when it was touched; equal only while nobody touches it.

    Attributes:
        identity: which file it is.
        touched: nanoseconds, of the clock of whoever keeps the file system.
        content: its first bytes.
    """

    identity: tuple[int, int]
    touched: int
    content: bytes

    @property
    def host(self) -> str | None:
        """The owner's machine; None when the content is damaged."""
        owner = self._owner()
        return owner and owner[0]

    @property
    def by(self) -> str:
        """The owner, as it follows "is being trained"."""
        owner = self._owner()
        if owner is None:
            return "by another process"
        host, pid, since = owner
        return f"by process {pid} on host {host} since {since:%Y-%m-%d %H:%M} UTC"

    @property
    def touched_ago(self) -> str:
        """How long ago it was touched; empty when that would be in the future, since a clock was set."""
        seconds = time.time() - self.touched / 1e9
        if seconds < 0:
            return ""
        return f"{max(seconds, 1):.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"

    def _owner(self) -> tuple[str, int, datetime] | None:
        try:
            owner = json.loads(self.content)
            host, pid, since = owner["host"], owner["pid"], datetime.fromisoformat(owner["since"])
            if _HOST.fullmatch(host) and type(pid) is int and since.tzinfo is not None:
                return host, pid, since.astimezone(UTC)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            pass
        return None


def _open(path: Path) -> tuple[int, bool]:
    """A descriptor of the lock file, and whether it has just been made.

    Raises:
        RunError: when something that is no file lies there.
        OSError: when it cannot be made or opened.
    """
    flags = os.O_RDWR | _NO_FOLLOW
    while True:
        try:
            with suppress(FileExistsError):
                return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644), True
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            if not path.parent.is_dir():
                raise
            continue  # its owner has just removed it
        except OSError as error:
            if error.errno in _NO_PLAIN_FILE:
                raise _no_plain_file(path) from None
            raise
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor, False
        os.close(descriptor)
        raise _no_plain_file(path)


def _no_plain_file(path: Path) -> RunError:
    return RunError(f"{path} is not a regular file, as a lock on a run directory is; remove it")


def _flock(descriptor: int) -> str:
    """Whose the file's lock is now: `ours`, `another's`, or `unknown` where there is no `flock`."""
    if fcntl is None:
        return "unknown"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "another's"
    except OSError as error:
        if error.errno in _NO_FLOCK:
            return "unknown"
        raise
    return "ours"


def _read(descriptor: int) -> _Found:
    os.lseek(descriptor, 0, os.SEEK_SET)
    content = os.read(descriptor, _READ)
    status = os.fstat(descriptor)
    return _Found(_identity(status), status.st_mtime_ns, content)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _lies_at(path: Path, identity: tuple[int, int]) -> bool:
    """Whether the path still leads to that file."""
    try:
        return _identity(os.lstat(path)) == identity
    except FileNotFoundError:
        return False


def _is_abandoned(folder: Path, found: _Found, on_wait: OnWait | None) -> bool:
    """Watches a lock: whether it stays as it was found. False when its owner gives it up meanwhile.

    Raises:
        RunError: when the owner lives.
    """
    if on_wait is not None:
        on_wait(
            f"{folder} was being trained {found.by}; "
            f"looking for up to {WATCH_SECONDS:g} s whether it still is"
        )
    until = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < until:
        time.sleep(WATCH_SECONDS / 60)
        # Opened anew each time: network file systems ask their server only then.
        try:
            descriptor = os.open(folder / NAME, os.O_RDONLY | _NO_FOLLOW)
        except FileNotFoundError:
            return False
        try:
            now = _read(descriptor)
        finally:
            os.close(descriptor)
        if now.identity != found.identity:
            return False
        if now != found:
            raise _refusal(folder, now, "just now")
    return True


def _sign(descriptor: int) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, files.to_json(owner))


def _refusal(folder: Path, found: _Found | None, ago: str) -> RunError:
    by = "by another process" if found is None else found.by
    sign = f" (last sign of life {ago})" if ago else ""
    return RunError(f"{folder} is being trained {by}{sign}; wait for it, or stop it first")
