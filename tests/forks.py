"""Fresh Python processes without the seconds that they need to import TensorFlow.

Each is a fork of a process that has imported TensorFlow, Keras and other libraries, and nothing of ostinato.
That one runs no TensorFlow operation: only then may a process that has imported TensorFlow be forked.
Tests of what a process imports, and in which order, need a real one: `subprocess`.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .variants import THOROUGH

LIBRARIES = ["tensorflow", "keras", "matplotlib.pyplot", "pydantic", "rich.progress", "safetensors", "typer"]
CHILD = Path(__file__).with_name("forked.py")
OSTINATO = ("-c", "from ostinato.cli import main; main()")
"""Followed by its arguments: the command `ostinato`."""

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(LIBRARIES)


class Fork:
    """A process that runs Python; its methods are those of `subprocess.Popen`.

    Args:
        arguments: as of `python`: `-c` and code, or the path of a script; then the program's own.
        cwd: the folder that it starts in.
        env: its environment variables.
        log: a file for standard output and standard error; by default each has its own.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        *,
        cwd: Path | str | None = None,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
    ):
        self.args = [os.fspath(each) if isinstance(each, os.PathLike) else str(each) for each in arguments]
        self._folder = tempfile.TemporaryDirectory()
        self.out, self.err = (log or Path(self._folder.name, name) for name in ("out", "err"))
        self.out.touch()
        self.err.touch()
        job = {"arguments": self.args, "cwd": str(cwd or os.getcwd()), "env": dict(env or os.environ)}
        job |= {"out": str(self.out), "err": str(self.err), "small_pictures": THOROUGH not in os.environ}
        self._process = _SERVER.Process(
            target=runpy.run_path, args=(str(CHILD),), kwargs={"init_globals": {"JOB": job}}, daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(*arguments: object, cwd: Path | str | None = None, env: Mapping[str, str] | None = None, check=False):
    """Runs Python to its end; arguments as for `Fork`, `check` and the result as of `subprocess.run`."""
    fork = Fork(arguments, cwd=cwd, env=env)
    code = fork.wait()
    done = subprocess.CompletedProcess(fork.args, code, fork.out.read_text(), fork.err.read_text())
    if check and code:
        print(done.stderr)
        done.check_returncode()
    return done
