"""The lock on a run directory: one process at a time trains a run.

The owner keeps `RUN/.lock` open under `flock` and touches it every few seconds. The system drops the `flock`
of a dead process, so the same machine recognises an abandoned lock at once. Other machines that share the
folder may not see the `flock`, and some file systems and Windows have none. There the file is watched for a
while: its owner is alive if the file changes. Clocks of different machines are never compared.
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
"""Without `flock`, the owner of a lock that stays untouched for so long counts as gone."""

OnWait = Callable[[str], None]
"""Called with a sentence that says why nothing happens for a while."""

_READ = 4096  # bytes; a lock is much shorter, but another file in its place may be huge
_TRIES, _PAUSE = 5, 0.05  # seconds; an owner may be just signing or releasing its lock
_HOST = re.compile(r"[\w.-]{1,255}")
_NOT_REGULAR = (errno.ELOOP, errno.EISDIR, errno.ENXIO)  # the errors of opening a link, a folder, a socket
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # missing on Windows
_NO_FLOCK = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


class RunLock:
    """A lock that is held until `release` or the end of its `with` block; made by `acquire` only."""

    def __init__(self, path: Path, descriptor: int, *, keep_open: bool):
        self._path = path
        self._identity = _identity(os.fstat(descriptor))
        try:
            _sign(descriptor)
        except OSError:
            self._remove()
            raise
        # A duplicate descriptor keeps the `flock`. Windows cannot rename a folder with an open file in it.
        self._descriptor = os.dup(descriptor) if keep_open else None
        self._released = threading.Event()
        self._toucher = threading.Thread(target=self._touch, name=f"touches {path}", daemon=True)
        self._toucher.start()

    @classmethod
    def acquire(cls, folder: Path, on_wait: OnWait | None = None) -> RunLock:
        """Takes the lock of a run directory, even one that a dead process has left.

        Args:
            folder: the run directory.
            on_wait: called before a lock is watched for up to `WATCH_SECONDS`.

        Raises:
            RunError: another process holds it, or the folder cannot be written.
        """
        path, found = folder / NAME, None
        with files.writing(path):
            for attempt in range(_TRIES):
                time.sleep(_PAUSE if attempt else 0.0)
                descriptor, created = _open(path)
                try:
                    flock = _flock(descriptor)
                    found = _read(descriptor)
                    if flock != "another's" and _is_at(path, found.identity):
                        sure = flock == "ours" and found.host in (None, socket.gethostname())
                        if created or sure or _is_abandoned(folder, found, on_wait):
                            return cls(path, descriptor, keep_open=flock == "ours")
                finally:
                    os.close(descriptor)
        raise _refusal(folder, found, found.touched_ago if found else "")

    def moved_to(self, folder: Path) -> None:
        """Tells the lock that its run directory has been renamed."""
        self._path = folder / NAME

    def release(self) -> None:
        """Removes the lock; calling it again does nothing."""
        if self._released.is_set():
            return
        self._released.set()
        self._toucher.join()  # or it may touch another file that reuses the descriptor's number
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
        """Unlinks the file while it is locked, so that a process that has opened it sees that it is gone."""
        with suppress(OSError):
            if _is_at(self._path, self._identity):
                os.unlink(self._path)


def refuse_if_locked(folder: Path, on_wait: OnWait | None = None) -> None:
    """Refuses a run directory that another process trains, and removes an abandoned lock.

    Arguments and errors are those of `RunLock.acquire`. A missing lock or folder is fine.
    """
    if os.path.lexists(folder / NAME):
        RunLock.acquire(folder, on_wait).release()


@dataclass(frozen=True)
class _Found:
    """The content of a lock file and when it was touched; two are equal only if it was not touched between.

    Attributes:
        identity: device and inode.
        touched: modification time in nanoseconds, by the clock of the file server.
        content: the first bytes.
    """

    identity: tuple[int, int]
    touched: int
    content: bytes

    @property
    def host(self) -> str | None:
        """The host of the owner; None when the content is damaged."""
        owner = self._owner()
        return owner and owner[0]

    @property
    def by(self) -> str:
        """The owner, worded to follow "is being trained"."""
        owner = self._owner()
        if owner is None:
            return "by another process"
        host, pid, since = owner
        return f"by process {pid} on host {host} since {since:%Y-%m-%d %H:%M} UTC"

    @property
    def touched_ago(self) -> str:
        """The time since it was touched; empty when clocks differ and that is in the future."""
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
    """A descriptor of the lock file, and whether this call has made it.

    Raises:
        RunError: something else than a regular file is there.
        OSError: it cannot be made or opened.
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
            continue  # the owner has just removed it
        except OSError as error:
            if error.errno in _NOT_REGULAR:
                raise _not_regular(path) from None
            raise
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor, False
        os.close(descriptor)
        raise _not_regular(path)


def _not_regular(path: Path) -> RunError:
    return RunError(f"the lock {path} must be a regular file; remove it")


def _flock(descriptor: int) -> str:
    """Who holds the `flock` now: "ours", "another's", or "unknown" where there is none."""
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


def _is_at(path: Path, identity: tuple[int, int]) -> bool:
    """Whether the path still leads to the file with this identity."""
    try:
        return _identity(os.lstat(path)) == identity
    except FileNotFoundError:
        return False


def _is_abandoned(folder: Path, found: _Found, on_wait: OnWait | None) -> bool:
    """Watches a lock. True when it stays untouched, False when its owner releases it meanwhile.

    Raises:
        RunError: the owner is alive.
    """
    if on_wait is not None:
        on_wait(
            f"{folder} was being trained {found.by}; "
            f"checking for up to {WATCH_SECONDS:g} s whether it still is"
        )
    until = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < until:
        time.sleep(WATCH_SECONDS / 60)
        # Opened again each time, because network file systems ask their server only then.
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
