"""A process that has imported all that a training needs, and forks one whenever it is asked.

Importing TensorFlow takes seconds, a small training little more than one. Nothing here runs a TensorFlow
operation: only then may a process that has imported it be forked.

It reads one job a line on standard input, and answers with two lines: the child's process number at once, and
when it has ended its exit code (negative for a signal) and the seconds of the processor's time that it used.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

NEEDED = (
    "keras",
    "matplotlib.pyplot",
    "ostinato.cli.commands.train",
    "ostinato.tasks.classifier",
    "ostinato.tasks.language_model",
    "ostinato.tasks.translator",
    "ostinato.training.progress",
    "ostinato.training.run",
)


def main() -> None:
    for name in NEEDED:
        importlib.import_module(name)
    answer("ready")
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(run(job))
        answer(child)
        _, status, used = os.wait4(child, 0)
        answer([os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime])


def answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


def run(job: dict[str, Any]) -> int:
    """`ostinato` with the job's arguments; returns its exit code.

    The job's keys: arguments; log, the file for both outputs; cache, the cache folder; root, the folder to
    watch; death, where in it to die or None; record, the file that gets how often each place was passed.
    """
    from places import Places

    from ostinato.cli import main as ostinato

    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(log, descriptor)
    os.environ["OSTINATO_CACHE"] = job["cache"]
    places = Places(Path(job["root"]), job["death"] and tuple(job["death"]))
    places.watch()
    sys.argv = ["ostinato", *job["arguments"]]
    code = 1
    try:
        ostinato()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    Path(job["record"]).write_text(json.dumps(places.passed))
    return code


if __name__ == "__main__":
    main()
