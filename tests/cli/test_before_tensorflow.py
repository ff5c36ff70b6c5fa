"""What can be known wrong from the arguments is said before TensorFlow is imported, which takes seconds."""

import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ostinato.cells.registry import has_reset_gate
from ostinato.tasks import registry
from ostinato.tasks.abilities import AdaptsWhileReading
from ostinato.tasks.base import ComparesWords, Evaluates, Generates, Predicts

EVALUATED = (Evaluates, AdaptsWhileReading)
USES = {"predict": Predicts, "generate": Generates, "neighbors": ComparesWords, "evaluate": EVALUATED}

TRY_ALL = """
import contextlib, io, json, os, sys
from ostinato.cli import main
told = []
for arguments, variables in json.load(sys.stdin):
    sys.argv = ["ostinato", *arguments]
    os.environ.update(variables)
    code = None
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            code = end.code
    told.append([code, err.getvalue(), sorted({"tensorflow", "keras"} & sys.modules.keys())])
    for name in variables:
        del os.environ[name]
print(json.dumps(told))
"""

LM = ["train", "lm", "text.txt"]
WRONG = [
    # Sources.
    (["train", "lm", "gone.txt"], "there is no file or folder 'gone.txt'"),
    (["train", "gone.txt"], "there is no file or folder 'gone.txt'"),
    (["train", "lm", "*.tex"], "no file matches"),
    (["train", "lm", "empty"], "the folder empty contains no"),
    (["train", "lm", "tinyshakespear"], "did you mean 'tinyshakespeare'?"),
    (["train", "lm", "Shakespeare"], "did you mean 'tinyshakespeare'?"),
    (["train", "classify", "gone.csv"], "there is no file or folder 'gone.csv'"),
    (["train", "classify", "text.txt"], "text.txt has no columns: its lines have no TAB"),
    (["train", "classify", "table.csv", "--text", "Text"], "did you mean 'text'?"),
    (["train", "classify", "table.csv", "--validation", "gone.csv"], "no file or folder 'gone.csv'"),
    (["train", "translate", "gone.tsv"], "there is no file 'gone.tsv'"),
    (["train", "translate", "text.txt", "gone.fr"], "there is no file 'gone.fr'"),
    # Settings.
    ([*LM, "--cell", "LSTM"], "did you mean 'lstm'?"),
    ([*LM, "--engine", "nativ"], "engine must be one of auto, native, keras, scratch, got 'nativ'"),
    ([*LM, "--units", "0"], "units must be 1 to 64 layers"),
    ([*LM, "--lr", "-1"], "learning_rate must be more than 0, got -1.0"),
    ([*LM, "--dropout", "1"], "dropout must be less than 1, got 1.0"),
    ([*LM, "--devices", "0"], "--devices"),
    ([*LM, "--reset-before", "--cell", "lstm"], "need a cell with a reset gate, got 'lstm'"),
    ([*LM, "--recipe", "Default"], "did you mean 'default'?"),
    ([*LM, "--config", "gone.toml"], "could not read the config gone.toml"),
    ([*LM, "--config", "broken.toml"], "broken.toml is not TOML"),
    ([*LM, "--config", "unknown.toml"], "unknown setting 'unitz'; did you mean 'units'?"),
    (["train", "classify", "table.csv", "--pooling", "average"], "did you mean 'mean'?"),
    (["train", "translate", "text.txt", "--attention", "Luong"], "did you mean 'multiplicative'?"),
    # Where the run would go.
    ([*LM, "--out", "run"], "run already holds a run"),
    ([*LM, "--out", "text.txt"], "text.txt exists and is not a folder"),
    ([*LM, "--out", "text.txt/run"], "could not write text.txt/run: Not a directory"),
    # Runs.
    ([*LM, "--init-from", "nowhere"], "there is no run at nowhere"),
    (["train", "classify", "table.csv", "--init-from", "run"], "is a language_model run, not a classifier"),
    (["train", "--resume", "nowhere"], "there is no run at nowhere"),
    (["train", "--resume", "newer"], "newer was written by a newer version"),
    *(
        ([command, name, *rest], says)
        for command, rest in (("generate", []), ("predict", ["a"]), ("evaluate", []), ("neighbors", ["a"]))
        for name, says in (
            ("nowhere", "there is no run at nowhere"),
            ("text.txt", "it is a file, not a folder"),
            ("empty", "empty is not a run directory"),
            ("newer", "newer was written by a newer version"),
            ("torn", "torn/config.json is damaged"),
            ("odd", "odd/config.json is damaged: batch must be at least 1, got -1"),
        )
    ),
    (["generate", "broken"], "does not match its checksum"),
    (["generate", "bare"], "bare has no checkpoint"),
    (
        ["generate", "run", "--checkpoint", "newest"],
        "must be 'best' or 'last', got 'newest'; did you mean 'last'?",
    ),
    (["generate", "run", "--length", "0"], "length must be 1 to 10 million tokens, got 0"),
    (["generate", "run", "--temperature", "nan"], "temperature must be 0 (greedy) to 100, got nan"),
    (["generate", "run", "--beam", "0"], "beam must be 1 to"),
    (["generate", "run", "--beam", "2", "--top-k", "3"], "leave out beam, or top_k"),
    (["generate", "run", "--prompt", "☃"], "were not in the training text: '☃'"),
    (["predict", "run", "a"], "is a language_model run, which cannot predict"),
    (["predict", "run", "--file", "gone.txt"], "is a language_model run"),
    (["neighbors", "run", "a"], "is a language_model run, which cannot show neighbors"),
    (["evaluate", "run", "gone.txt"], "there is no file or folder 'gone.txt'"),
    (["evaluate", "run", "--split", "val"], "did you mean 'validation'?"),
    (["evaluate", "run", "--beam", "2"], "--beam is for runs of ostinato train translate"),
    (["evaluate", "moved"], "gone.txt"),
    # The rest.
    (["bench", "gone.keras"], "gone.keras does not exist"),
    (["bench", "text.txt"], "text.txt is neither a .keras nor an .h5 file"),
    (["launch", "train", "gone.txt"], "there is no file or folder 'gone.txt'"),
    (["launch", "--", "train", "lm", "text.txt", "--hidden", "8"], "did you mean '--units'?"),
    (["launch", "train", "--resume", "nowhere"], "there is no run at nowhere"),
    (["recipes", "more"], "unexpected extra argument"),
    (["info", "run", "more"], "unexpected extra argument"),
    (["info", "gone"], "there is no run at gone"),
]
ENGINE = "OSTINATO_ENGINE must be 'keras' or 'auto', got 'Keras'; did you mean 'keras'?"
WRONG_ENGINE = [LM, ["generate", "run"], ["evaluate", "run"], ["bench", "model.keras"], ["info"]]


@pytest.fixture
def wrong(run, folder):
    """The working directory, with runs and files that are no good."""
    config = json.loads((run / "config.json").read_text())
    (folder / "empty").mkdir()
    (folder / "table.csv").write_text("text,label\ngood,yes\nbad,no\n")
    (folder / "model.keras").write_bytes(b"")
    (folder / "broken.toml").write_text("[training")
    (folder / "unknown.toml").write_text("[language_model]\nunitz = 8")
    settings, source = config["task_config"], config["source"]
    gone = {**source, "description": {"kind": "file", "path": str(folder / "gone.txt")}}
    for name, text in {
        "newer": json.dumps(config | {"version": 99}),
        "torn": '{"format": "ostinato',
        "odd": json.dumps(config | {"task_config": {**settings, "batch": -1}}),
        "moved": json.dumps(config | {"source": gone}),
        "bare": json.dumps(config),
        "broken": json.dumps(config),
    }.items():
        shutil.copytree(run, folder / name)
        (folder / name / "config.json").write_text(text)
    shutil.rmtree(folder / "bare" / "checkpoints")
    for checkpoint in (folder / "broken" / "checkpoints").iterdir():
        (checkpoint / "weights.safetensors").write_bytes(b"")
    return folder


def test_what_is_wrong_is_said_before_tensorflow_is_imported(wrong):
    asked = [(arguments, {}, says) for arguments, says in WRONG]
    asked += [(arguments, {"OSTINATO_ENGINE": "Keras"}, ENGINE) for arguments in WRONG_ENGINE]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    done = subprocess.run(
        [sys.executable, "-c", TRY_ALL],
        input=json.dumps([[arguments, variables] for arguments, variables, _ in asked]),
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.stderr == ""
    for (arguments, _, says), (code, err, imported) in zip(asked, json.loads(done.stdout), strict=True):
        assert (code, imported) == (2, []), (arguments, err)
        assert err.startswith("Error: "), (arguments, err)
        assert err.count("\n") == 1, (arguments, err)
        assert says in err, (arguments, err)


@pytest.mark.parametrize("spec", registry.specs(), ids=lambda spec: spec.command)
def test_a_task_has_the_commands_that_its_networks_can_serve(spec):
    answers = importlib.import_module(f"{spec.config.__module__.rpartition('.')[0]}.answers").Answers
    assert spec.output.keys() - {"info"} == {
        command for command, can in USES.items() if issubclass(answers, can)
    }


def test_which_cell_has_a_reset_gate_is_known_without_keras():
    from ostinato import layers

    for cell, layer in {"rnn": layers.SimpleRNN, "gru": layers.GRU, "lstm": layers.LSTM}.items():
        takes = any("reset_after" in inspect.signature(base.__init__).parameters for base in layer.__mro__)
        assert has_reset_gate(cell) == takes


def test_a_run_directory_is_opened_without_tensorflow(trained_run):
    code = (
        "import sys; from pathlib import Path; from ostinato.runs.directory import open_run; "
        "run = open_run(sys.argv[1]); assert open_run(run) is run; "
        "print(run.task, not {'tensorflow', 'keras'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(trained_run))], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("language_model True\n", "")
