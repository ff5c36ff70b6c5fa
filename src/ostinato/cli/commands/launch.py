"""ostinato launch: the workers of one training, started, watched and stopped together on this machine"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Annotated

import typer

from ostinato.cli.commands import train
from ostinato.cli.launch.processes import run_workers
from ostinato.cli.training import only_checking
from ostinato.cli.usage import Command, click_command
from ostinato.errors import ConfigError

_EXAMPLE = "ostinato launch --workers 2 -- train lm book.txt"
_MOST_WORKERS, _LONGEST_GRACE = 64, 3600
_THREADS = ("OSTINATO_THREADS", "TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")


def command() -> Command:
    """What Click runs."""
    # Options after the command of the workers belong to that command.
    return click_command(launch, allow_interspersed_args=False)


def launch(
    ctx: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="train …",
            help="The training command, after the options of launch; the -- before it is optional.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=_MOST_WORKERS, help="How many processes to start.")] = 2,
    grace: Annotated[
        int,
        typer.Option(
            min=0,
            max=_LONGEST_GRACE,
            metavar="SECONDS",
            help="How long a worker may take to stop before it is killed.",
        ),
    ] = 15,
) -> None:
    """Trains with several worker processes on this machine, to try out and test distributed training.

    Every worker runs the same command and finds the others in TF_CONFIG, as ports of 127.0.0.1. They share
    the processors, so this is not faster. Do not use launch on a real cluster: there the scheduler sets
    TF_CONFIG, and each worker runs ostinato train; see docs/distributed.md.

    Each line of a worker is printed after its number, [0] or [1] and so on, on standard output and standard
    error. The JSON object of train --json follows "[0] " on standard output.

    When a worker fails, the others are stopped, and launch ends with its exit code, or with 128 + N if signal
    N killed it. Ctrl-C makes every worker save and end; a second Ctrl-C kills them. On Linux the workers also
    end when launch itself is killed; elsewhere they continue.

    Example: ostinato launch --workers 2 -- train lm book.txt --steps 200

    Example: ostinato launch --workers 3 --grace 60 -- train --resume runs/lm-001
    """
    command = command or []
    _check(command)
    if os.environ.get("TF_CONFIG"):
        raise ConfigError(
            "TF_CONFIG is set, so this is already a worker of a cluster; run ostinato train here, or unset it"
        )
    if not {"--help", "-h"} & {*command}:
        with only_checking():
            train.command()(command[1:], prog_name="ostinato train", standalone_mode=False)
    debug = ["--debug"] if ctx.find_root().params.get("debug") else []
    # -P: a folder or file in the working directory must not be taken for a package.
    ostinato = [sys.executable, "-P", "-c", "from ostinato.cli import main; main()"]
    environments = worker_environments(workers, os.environ)
    raise typer.Exit(run_workers([[*ostinato, *debug, *command]] * workers, environments, grace))


def _check(command: Sequence[str]) -> None:
    """Refuses what several workers cannot run. Raises typer.BadParameter."""
    if os.name != "posix":
        raise ConfigError(
            "ostinato launch needs Linux or macOS; here, start each worker yourself, with its own TF_CONFIG"
        )
    if not command:
        raise typer.BadParameter(f"there is no command for the workers; give one, as in {_EXAMPLE}")
    if command[0] != "train":
        raise typer.BadParameter(
            f"the command of the workers must be train …, got {command[0]!r}; for example {_EXAMPLE}"
        )
    if "-" in command:
        raise typer.BadParameter(
            "every worker reads the source itself, and standard input can be read only once; give a file"
        )


def worker_environments(workers: int, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """The environment of each worker: who the workers are, and the processors divided among them.

    Args:
        workers: how many.
        environment: the launcher's own; numbers of threads that it sets are kept.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = dict.fromkeys(_THREADS, str(max(1, processors // workers)))
    cluster = {"worker": [f"127.0.0.1:{port}" for port in _free_ports(workers)]}
    tasks = [{"type": "worker", "index": index} for index in range(workers)]
    return [
        threads
        | dict(environment)
        | {"PYTHONUNBUFFERED": "1", "TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}
        for task in tasks
    ]


def _free_ports(count: int) -> list[int]:
    # Until a worker listens on its port, another process may take it. That is rare, since systems hand out
    # ports at random or in turn; a worker that finds its port taken fails.
    with ExitStack() as bound:
        sockets = [bound.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
