"""Runs the worker processes of a training on this machine."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, NamedTuple

from ostinato.errors import OstinatoError

_READ = 1 << 16
_FULL_PIPE = 1 << 20
"""The most bytes that a pipe holds, unless root has raised the limit of Linux."""
_LAST_WORDS = 1.0
"""Seconds that a launcher waits, after a signal to stop, until its last lines can be written."""
_STDOUT, _STDERR = 1, 2
_PR_SET_PDEATHSIG = 1


def run_workers(
    commands: Sequence[Sequence[str]], environments: Sequence[Mapping[str, str]], grace: float
) -> int:
    """Runs a process for each command until all have ended; copies their lines to standard output and error.

    Call it from the main thread, which receives signals, and while there is no other thread: between fork and
    exec a worker runs Python, which could wait forever for a lock of another thread.

    Args:
        commands: the program and the arguments of each worker.
        environments: the environment of each worker.
        grace: seconds between the signal to stop and killing the workers.

    Returns:
        The exit code: 0, that of the first worker that failed, or 128 + the number of a signal.

    Raises:
        OstinatoError: if a process cannot be started.
    """
    with _signals_as_bytes() as signals:
        workers = _Workers(signals, grace)
        try:
            workers.start(commands, environments)
            return workers.watch()
        finally:
            workers.kill()


@contextmanager
def _signals_as_bytes() -> Iterator[int]:
    """Yields the reading end of a pipe into which each signal is written as its number."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    previous_pipe = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    # Signals that were ignored at the start, as by nohup or `&` in a shell, stay ignored.
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heard = [each for each in stops if signal.getsignal(each) != signal.SIG_IGN]
    previous = {each: signal.signal(each, lambda *_: None) for each in (*heard, signal.SIGCHLD)}
    try:
        yield reading
    finally:
        for each, action in previous.items():
            signal.signal(each, action)
        signal.set_wakeup_fd(previous_pipe)
        os.close(reading)
        os.close(writing)


class Lines:
    """Joins pieces of output into whole lines, each with a prefix.

    A line ends with a line feed, a carriage return (as in a progress bar), or both.
    """

    def __init__(self, prefix: bytes):
        self._prefix = prefix
        self._begun = bytearray()
        self._after_return = False

    def feed(self, piece: bytes) -> bytes:
        """The lines that a piece completes."""
        # The carriage return at the end of the last piece has ended the line already.
        if self._after_return and piece.startswith(b"\n"):
            piece, self._after_return = piece[1:], False
        if piece:
            self._after_return = piece.endswith(b"\r")
        first, *others = re.split(rb"\r\n|\r|\n", piece)
        self._begun += first
        if not others:
            return b""
        *others, begun = bytes(self._begun), *others
        self._begun = bytearray(begun)
        return b"".join(b"%b%b\n" % (self._prefix, line) for line in others)

    def end(self) -> bytes:
        """The last line, if it has no end."""
        last, self._begun = bytes(self._begun), bytearray()
        return b"%b%b\n" % (self._prefix, last) if last else b""


class _Source(NamedTuple):
    """One of the two outputs of a worker: the worker, its pipe, and where its lines are written."""

    worker: int
    pipe: IO[bytes]
    sink: int
    lines: Lines


class _Workers:
    """The running workers, and the lines of them that are not written yet.

    There is one thread. It never blocks on its output, so a pager delays neither Ctrl-C nor the end of the
    grace period. While lines are unwritten nothing more is read, and the workers wait.
    """

    def __init__(self, signals: int, grace: float):
        self._signals, self._grace = signals, grace
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._sources: dict[int, _Source] = {}
        self._unwritten: deque[tuple[int, memoryview]] = deque()
        self._code = 0
        self._deadline: float | None = None
        self._told = self._killed = False

    def start(self, commands: Sequence[Sequence[str]], environments: Sequence[Mapping[str, str]]) -> None:
        first_of_all = _end_with_launcher()
        for index, (command, environment) in enumerate(zip(commands, environments, strict=True)):
            try:
                # In its own session: Ctrl-C on a terminal reaches only the launcher, which forwards it.
                process = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    start_new_session=True,
                    preexec_fn=first_of_all,
                )
            except OSError as error:
                raise OstinatoError(
                    f"worker {index} cannot be started ({error.strerror or error}); try fewer workers"
                ) from None
            self._running[index] = process
            for pipe, sink in ((process.stdout, _STDOUT), (process.stderr, _STDERR)):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
                self._sources[pipe.fileno()] = _Source(index, pipe, sink, Lines(b"[%d] " % index))

    def watch(self) -> int:
        """Forwards lines and signals until all workers have ended and all is written; the exit code."""
        while self._running or self._unwritten:
            readable, writable, _ = select.select(
                [self._signals] if self._unwritten else [self._signals, *self._sources],
                [sink for sink, _ in self._unwritten][:1],
                [],
                self._patience(),
            )
            if self._told and not (self._running or readable or writable):
                break  # nobody reads the last lines
            for source in [self._sources[each] for each in readable if each in self._sources]:
                self._read(source)
            if writable:
                self._write()
            if self._signals in readable:
                for number in os.read(self._signals, _READ):
                    self._heed(number)
            for index, process in list(self._running.items()):
                if process.poll() is not None:
                    self._end(index, process.returncode)
            if self._running and self._patience() == 0:
                for index in self._running:
                    self._say(f"worker {index} did not end within {self._grace:g} s; killing it")
                self._kill()
        return self._code

    def kill(self) -> None:
        """Kills the running workers and closes all pipes."""
        self._kill()
        for process in self._running.values():
            process.wait()
        for source in self._sources.values():
            source.pipe.close()

    def _patience(self) -> float | None:
        """Seconds until something must be done even without an event; None if nothing is due."""
        if not self._running:
            return _LAST_WORDS if self._told else None
        return None if self._deadline is None or self._killed else max(0.0, self._deadline - time.monotonic())

    def _heed(self, number: int) -> None:
        if number == signal.SIGCHLD:
            return
        self._told = True
        if number == signal.SIGINT and self._deadline is not None:
            self._kill()
        else:
            self._stop(number, 128 + number)

    def _end(self, index: int, code: int) -> None:
        """Reads the rest of the output of a worker that has ended; stops the others if it failed."""
        del self._running[index]
        for source in [each for each in self._sources.values() if each.worker == index]:
            # A process that the worker started may keep the pipe open, and write into it, forever.
            for _ in range(_FULL_PIPE // _READ):
                if not self._read(source):
                    break
            else:
                self._close(source)
        if code and self._deadline is None:
            how = f"was killed by {_name(-code)}" if code < 0 else f"ended with exit code {code}"
            self._say(f"worker {index} {how}{'; stopping the others' if self._running else ''}")
            self._stop(signal.SIGTERM, code if code > 0 else 128 - code)

    def _read(self, source: _Source) -> bool:
        """Reads output of a worker, if there is any; returns whether there may be more."""
        try:
            piece = os.read(source.pipe.fileno(), _READ)
        except BlockingIOError:
            piece = b"" if source.worker not in self._running else None
        if piece:
            self._put(source.sink, source.lines.feed(piece))
        elif piece is not None:
            self._close(source)
        return bool(piece)

    def _close(self, source: _Source) -> None:
        self._put(source.sink, source.lines.end())
        del self._sources[source.pipe.fileno()]
        source.pipe.close()

    def _say(self, sentence: str) -> None:
        self._put(_STDERR, f"{sentence}\n".encode())

    def _put(self, sink: int, lines: bytes) -> None:
        if lines:
            self._unwritten.append((sink, memoryview(lines)))

    def _write(self) -> None:
        """Writes as much of the oldest lines as cannot block; later lines wait until these are complete."""
        sink, lines = self._unwritten[0]
        try:
            written = os.write(sink, lines[: select.PIPE_BUF])
        except BlockingIOError:
            return
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sink)
            name = "standard output" if sink == _STDOUT else "standard error"
            self._say(f"cannot write to {name} ({error.strerror}); stopping the workers")
            return self._stop(signal.SIGTERM, 1)
        self._unwritten.popleft()
        if lines[written:]:
            self._unwritten.appendleft((sink, lines[written:]))

    def _stop(self, number: int, code: int) -> None:
        """Sends a signal to all workers; the first reason to do so sets the exit code and the deadline."""
        if self._deadline is None:
            self._code, self._deadline = code, time.monotonic() + self._grace
        self._signal(number)

    def _kill(self) -> None:
        self._killed = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        for process in self._running.values():
            # To its process group, so the children of a worker end with it. macOS refuses if the worker has
            # just ended.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end_with_launcher() -> Callable[[], None] | None:
    """The first function in a worker, which ends it if the launcher is killed; only on Linux."""
    if sys.platform != "linux":
        return None
    import ctypes

    launcher, prctl = os.getpid(), ctypes.CDLL(None).prctl
    arguments = [ctypes.c_ulong(number) for number in (signal.SIGTERM, 0, 0, 0)]

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, *arguments)
        if os.getppid() != launcher:
            os._exit(1)  # the launcher was killed before the call of prctl

    return ask
