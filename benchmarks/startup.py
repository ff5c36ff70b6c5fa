"""How soon `ostinato --help` is there, beside a Typer program of two commands that does nothing else.

    python benchmarks/startup.py

Both start in turn, so that a busy machine slows both alike. The figures are milliseconds from starting the
process to its end, and their ratio; standard output gets one JSON object. Exit code 1 says that the ratio is
above the one wanted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from comparison.machine import processor

WANTED_RATIO = 1.5
TWO_COMMANDS = '''
import typer

app = typer.Typer()


@app.command()
def hello(name: str) -> None:
    """Says hello."""


@app.command()
def goodbye(name: str) -> None:
    """Says goodbye."""


app()
'''


def seconds(command: list[str]) -> float:
    """Of a process, from its start to its end."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compare the start of ostinato with that of a Typer program."
    )
    parser.add_argument("--processes", type=int, default=15, help="of each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "two_commands.py"
        program.write_text(TWO_COMMANDS)
        commands = {
            "ostinato": [str(Path(sys.executable).with_name("ostinato")), "--help"],
            "typer": [sys.executable, str(program), "--help"],
        }
        for command in commands.values():
            seconds(command)  # the first start compiles modules and fills the disk's cache
        rounds = [{name: seconds(each) for name, each in commands.items()} for _ in range(options.processes)]
    medians = {name: statistics.median(each[name] for each in rounds) for name in commands}
    ratio = medians["ostinato"] / medians["typer"]
    result = {f"{name}_ms": round(1e3 * median, 1) for name, median in medians.items()}
    result |= {"ratio": round(ratio, 3), "wanted": WANTED_RATIO, "processes": options.processes}
    print(json.dumps({**result, "processor": processor()}))
    sys.exit(int(ratio > WANTED_RATIO))


if __name__ == "__main__":
    main()
