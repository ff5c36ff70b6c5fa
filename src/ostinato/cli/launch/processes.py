"""Processes that train together on this machine: started, shown, stopped."""

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
"""Bytes that a pipe holds at the most, unless root has raised Linux' limit."""
_LAST_WORDS = 1.0
"""Seconds for which a launcher that was told to stop waits for a reader of the last lines."""
_STDOUT, _STDERR = 1, 2
_PR_SET_PDEATHSIG = 1


def run_workers(
    commands: Sequence[Sequence[str]], environments: Sequence[Mapping[str, str]], grace: float
) -> int:
    """Runs a process for each command until all have ended; their lines go to standard output and error.

    Call it from the main thread, where signals are heard, while there is no other: between fork and exec a
    worker runs Python, which could wait for a lock that another thread held.

    Args:
        commands: program and arguments of each worker.
        environments: their environments.
        grace: seconds between telling workers to stop and killing them.

    Returns:
        The exit code: 0, the first failing worker's, or 128 + the number of a signal.

    Raises:
        OstinatoError: a process cannot be started.
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
    """Gives a pipe to read from, into which a signal is written as its number."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    previous_pipe = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    # What was ignored when the launcher began, as nohup and a shell's & do, stays ignored.
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
    """Makes whole lines, each with a prefix, of bytes that come in pieces.

    A line ends with a line feed, with a carriage return (as a progress bar's does), or with both.
    """

    def __init__(self, prefix: bytes):
        self._prefix = prefix
        self._begun = bytearray()
        self._after_return = False

    def feed(self, piece: bytes) -> bytes:
        """The lines that a piece completes."""
        # The carriage return before this piece has ended its line; the line feed after it ends no other.
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
        """The last line, if it has not ended."""
        last, self._begun = bytes(self._begun), bytearray()
        return b"%b%b\n" % (self._prefix, last) if last else b""


class _Source(NamedTuple):
    """One of the two outputs of a worker: who writes, where it is read, and where its lines go."""

    worker: int
    pipe: IO[bytes]
    sink: int
    lines: Lines


class _Workers:
    """The running workers, and what they have printed and nobody has read yet.

    One thread does it all. It never waits for whoever reads its output, so that a pager holds up neither
    Ctrl-C nor the end of the grace period; while lines are unwritten, no more is read, and the workers wait.
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
                # A session of its own: Ctrl-C on a terminal reaches only the launcher, which passes it on.
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
        """Passes on lines and signals until all workers have ended and all is written; the exit code."""
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
        """Leaves nothing behind, whatever went wrong."""
        self._kill()
        for process in self._running.values():
            process.wait()
        for source in self._sources.values():
            source.pipe.close()

    def _patience(self) -> float | None:
        """Seconds until something is to be done even if nothing happens."""
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
        """A worker has ended: writes what it left in its pipes, and stops the others if it failed."""
        del self._running[index]
        for source in [each for each in self._sources.values() if each.worker == index]:
            # A process that the worker started may hold the pipe open, and write into it, for ever.
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
        """Takes what a worker has printed, if anything; whether there may be more."""
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
        """Writes as much of the oldest lines as is sure not to block; no others before they are complete."""
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
            # To its process group, so that what a worker has started ends with it. macOS refuses where it has
            # just ended.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end_with_launcher() -> Callable[[], None] | None:
    """What a worker does first of all, so that it does not outlive a launcher that was killed: Linux only."""
    if sys.platform != "linux":
        return None
    import ctypes

    launcher, prctl = os.getpid(), ctypes.CDLL(None).prctl
    arguments = [ctypes.c_ulong(number) for number in (signal.SIGTERM, 0, 0, 0)]

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, *arguments)
        if os.getppid() != launcher:
            os._exit(1)  # it was killed before this was asked

    return ask
