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
from ..variants import thorough

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


# Trains tasks with a cell, whole and stopped and resumed; evaluates and uses the runs by commands.
CELLS = """
import signal, sys
import tensorflow as tf
import ostinato
from ostinato.cli.app import app
from ostinato.runs.directory import open_run
from ostinato.training.events import StepDone

cell = sys.argv[1]
tf.config.run_functions_eagerly(True)  # their few steps are shorter than a trace
texts = [f"{a} {b} sat" for a in ("the", "a", "my", "no") for b in ("cat", "dog", "cow", "hen")]
open("text.txt", "w").write(" ".join(texts))
open("rows.tsv", "w").write("text\\tlabel\\n" + "".join(f"{text}\\t{text[0]}\\n" for text in texts))
open("pairs.tsv", "w").write("".join(f"{text}\\t{text.upper()}\\n" for text in texts))
small = dict(cell=cell, units=(3,), batch=4)
encoders = dict(source_encoder="word", target_encoder="word")
lm = ostinato.LanguageModelConfig(**small | dict(units=(3, 2), seq_len=4))
classify = ostinato.ClassifierConfig(encoder="word", bidirectional=True, embedding=3, **small)
translate = ostinato.TranslatorConfig(embedding=3, **encoders, **small)
TASKS = {
    "lm": (lm, "text.txt", "generate {} --length 5"),
    "classify": (classify, "rows.tsv", "predict {} hello"),
    "translate": (translate, "pairs.tsv", "predict {} hello"),
}

def stop(event):
    if isinstance(event, StepDone) and event.step == 1:
        signal.raise_signal(signal.SIGINT)

training = ostinato.TrainingConfig(steps=2, evaluations=1)
for task in sys.argv[2:]:
    config, source, use = TASKS[task]
    whole, stopped = f"{cell}-{task}", f"{cell}-{task}-stopped"
    ostinato.train(config, source, training=training, out=whole)
    try:
        ostinato.train(config, source, training=training, out=stopped, on_event=stop)
    except KeyboardInterrupt:
        pass
    print("task", task)
    for line in (f"train --resume {stopped}", f"evaluate {stopped} --json", use.format(stopped)):
        app(line.split(), standalone_mode=False)
    one, other = (open_run(path).weights("last").groups["weights"] for path in (stopped, whole))
    print("equal", all((one[name] == other[name]).all() for name in other), len(one) == len(other))
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


@pytest.mark.parametrize("package", ["ostinato_series", "ostinato_toy_cells"])
def test_the_example_is_short(package):
    files = (PLUGIN / package).rglob("*.py")
    lines = [line for file in files for line in file.read_text().splitlines() if line.strip()]
    assert 0 < len(lines) < 80


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


# With a cell of another package, `lm` is in every run of the tests: tests/tasks/test_custom_cells.py.
@pytest.mark.parametrize(
    ("cell", "chosen"),
    [
        ("traces", ["classify"]),
        thorough("traces", ["translate"]),
        thorough("traces", ["lm"]),
        *(thorough(cell, ["lm", "classify", "translate"]) for cell in ("fading", "clipped")),
    ],
)
def test_every_task_trains_resumes_evaluates_and_is_used_with_a_cell_of_it(run, cell, chosen):
    tasks = [printed.splitlines() for printed in run(CELLS, cell, *chosen).split("task ")[1:]]
    assert [task for task, *_ in tasks] == chosen
    for task, resumed, figures, *used, equal in tasks:
        assert resumed == f"{cell}-{task}-stopped"
        assert json.loads(figures)
        assert used
        assert equal == "equal True True"


def test_a_run_of_it_is_refused_in_one_sentence_where_it_is_not_installed(run, trained):
    where = run("import os; print(os.getcwd())").strip()
    done = forks.run(*forks.OSTINATO, "evaluate", f"{where}/whole")
    assert done.returncode == 2
    assert "needs the task series of the package ostinato-series 1.0, which is not installed" in done.stderr
