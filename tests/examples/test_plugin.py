"""The example of a task in a package of its own: installed, trained, resumed, evaluated and used."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .. import forks

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"
INTERRUPTED = """
import signal
import ostinato
from ostinato_series import SeriesConfig
from ostinato.training.events import StepDone

def interrupt(event):
    if isinstance(event, StepDone) and event.step == 13:
        signal.raise_signal(signal.SIGINT)

config = SeriesConfig(cell="lstm")
training = ostinato.TrainingConfig(steps=30, learning_rate=0.01, evaluations=3)
try:
    ostinato.train(config, "numbers.txt", training=training, out="stopped", on_event=interrupt)
except KeyboardInterrupt:
    pass
whole = ostinato.train(config, "numbers.txt", training=training, out="whole")
print(*whole.generate(after=[0.0, 0.6, 1.2], count=3))
"""
COMMANDS = """
import ostinato
from ostinato.cli.app import app
from ostinato.runs.weights import to_arrays

for line in (
    "train --resume stopped",
    "evaluate stopped --json",
    "evaluate whole --json",
    "evaluate whole numbers.txt --json",
    "generate whole --after 0,0.6,1.2",
):
    app(line.split(), standalone_mode=False)
one, other = (to_arrays(ostinato.load(path, checkpoint="last").model) for path in ("stopped", "whole"))
print(all((one[name] == other[name]).all() for name in one), len(one))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """run(program, …) -> what a Python program prints where the plugin is installed, and its exit code."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PLUGIN, folder / "source")
    install = ["-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps"]
    install += ["--no-build-isolation", "--target", str(folder / "packages"), str(folder / "source")]
    subprocess.run([sys.executable, *install], check=True)
    numbers = (f"{3 * math.sin(step / 5):.4f}" for step in range(1500))
    (folder / "numbers.txt").write_text("\n".join(numbers))
    environment = os.environ | {"PYTHONPATH": str(folder / "packages")}

    def run(program: str, *arguments: str, code: int = 0) -> str:
        command = forks.OSTINATO if program == "ostinato" else ("-c", program)
        done = forks.run(*command, *arguments, cwd=folder, env=environment)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.fixture(scope="module")
def trained(run):
    """What two trainings print, of which one was stopped."""
    return run(INTERRUPTED)


def test_the_example_is_short():
    lines = [line for file in PLUGIN.rglob("*.py") for line in file.read_text().splitlines() if line.strip()]
    assert len(lines) < 80


def test_its_command_stands_beside_the_others_with_a_flag_for_every_setting(run):
    assert "series" in run("ostinato", "train", "--help")
    shown = run("ostinato", "train", "series", "--help-all")
    for flag in ("--cell", "--units", "--engine", "--window", "--optimizer", "--checkpoint-minutes"):
        assert flag in shown
    assert "a file of numbers" in run("ostinato", "train", "series", "--window", "8", "nowhere", code=2)


def test_it_resumes_exactly_and_is_used_from_python_and_the_command_line(run, trained):
    said = trained.split()
    assert len(said) == 3
    resumed, stopped, whole, given, generated, equal = run(COMMANDS).splitlines()
    assert (resumed, equal) == ("stopped", "True 5")
    assert stopped == whole
    assert set(json.loads(whole)) == {"loss", "near", "numbers"}
    assert json.loads(given)["numbers"] == 1488
    assert generated.split()[:3] == said


def test_a_run_of_it_is_refused_in_one_sentence_where_it_is_not_installed(run, trained):
    where = run("import os; print(os.getcwd())").strip()
    done = forks.run(*forks.OSTINATO, "evaluate", f"{where}/whole")
    assert done.returncode == 2
    assert "needs the task series of the package ostinato-series 1.0, which is not installed" in done.stderr
