"""The command as a whole: its help, its version, and how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

import ostinato as package
from ostinato.cli import main
from ostinato.errors import SourceError

OSTINATO = str(Path(sys.executable).with_name("ostinato"))
COMMANDS = [
    "train",
    "train lm",
    "train classify",
    "train translate",
    "launch",
    "generate",
    "predict",
    "evaluate",
    "neighbors",
    "bench",
    "recipes",
    "info",
]

WITHOUT_TENSORFLOW = """
import contextlib, io, sys
from ostinato.cli import main
shown = []
for command in sys.argv[1:]:
    sys.argv = ["ostinato", *command.split()]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main()
    shown.append(len(out.getvalue()))
print(min(shown) > 10, not {"tensorflow", "keras"} & sys.modules.keys())
"""


def test_help_version_and_recipes_do_not_import_tensorflow():
    asked = ["--help", "-h", "--version", "recipes", *(f"{command} --help" for command in COMMANDS)]
    done = subprocess.run([sys.executable, "-c", WITHOUT_TENSORFLOW, *asked], capture_output=True, text=True)
    assert done.stdout == "True True\n", done.stderr


IMPORTED = """
import sys
from ostinato.cli import main
sys.argv = ["ostinato", *sys.argv[1:]]
try:
    main()
except SystemExit:
    print()
    print(*sorted({"tensorflow", "keras", "numpy", "pydantic"} & sys.modules.keys()))
"""


@pytest.mark.parametrize(
    ("arguments", "may"),
    [
        ("--help", ""),
        ("--version", ""),
        ("trian", "pydantic"),  # Typer itself does
        ("train --help", "pydantic numpy"),
        ("train gone.txt", "pydantic numpy"),
        ("predict gone a", "pydantic numpy"),
    ],
)
def test_help_and_errors_import_only_what_they_need(tmp_path, arguments, may):
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments.split()], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert {*done.stdout.split("\n")[-2].split()} <= {*may.split()}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help(ostinato, command):
    answer = ostinato(*command.split(), "--help")
    assert answer.code == 0
    assert answer.err == ""
    assert f"ostinato {command}" in answer.out


def test_the_help_says_what_a_flag_defaults_to(ostinato, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = ostinato("train", "lm", "--help-all").out
    for flag in ("--cell", "--units", "--reset-before", "--lr", "--epochs", "--steps", "--minutes", "--json"):
        assert flag in shown


def test_without_a_command_there_is_help_and_no_error(ostinato):
    answer = ostinato()
    assert answer.code == 2
    assert "Usage: ostinato" in answer.out + answer.err
    assert "Error" not in answer.err


def test_the_version_is_the_packages(ostinato):
    answer = ostinato("--version")
    assert (answer.code, answer.out) == (0, f"ostinato {package.__version__}\n")


def test_without_tensorflow_it_says_how_to_install_it(ostinato, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    answer = ostinato("info")
    assert answer.code == 2
    assert answer.err.startswith("Error: TensorFlow is not installed; pip install 'ostinato[cpu]'")


def test_debug_lets_the_exception_through(folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ostinato", "--debug", "train", "gone.txt"])
    with pytest.raises(SourceError, match=r"gone\.txt"):
        main()


def test_what_is_wrong_is_one_line_on_standard_error_of_the_process_too(tmp_path):
    done = subprocess.run([OSTINATO, "evaluate", "nowhere"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: there is no run at nowhere\n"


def test_a_reader_who_has_enough_is_no_error(trained_run):
    command = [OSTINATO, "generate", str(trained_run), "--length", "1500", "--seed", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert len(process.stdout.read(10)) == 10
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() in (0, 1)
