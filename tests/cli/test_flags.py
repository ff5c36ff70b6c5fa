"""The flags of `ostinato train`: one for every setting; and what becomes of a flag that another task has."""

import ast
import inspect
import re
import tomllib
import types
import typing
from pathlib import Path

import pytest

import ostinato as package
from ostinato.cli import flags, uses
from ostinato.cli.commands.evaluate import flags_of as of_evaluate
from ostinato.cli.commands.train import task_command
from ostinato.tasks import registry
from ostinato.training.config import BUDGETS, LIMITS, TrainingConfig

from ..eagerly import run_eagerly
from .conftest import SOURCES, put

SPECS = pytest.mark.parametrize("spec", registry.specs(), ids=lambda spec: spec.command)

WORDS = {
    "encoder": "byte",
    "source_encoder": "char",
    "target_encoder": "char",
    "cell": "rnn",
    "engine": "keras",
    "label_separator": ";",
    "vectors": "glove.txt",
    "seeds": 3,
    "grid": 8,
    "transpose": 3,
}
"""Values of settings that are names or signs, or whose numbers have narrow limits."""
BESIDE = {
    "reset_after": ("--cell", "gru"),
    "tied": ("--units", "8", "--embedding", "8"),
    "lines": ("--recipe", "default"),
    "min_steps": ("--epochs", "3"),
    "max_minutes": ("--epochs", "3"),
}
"""Flags that a setting needs beside it; lists have a recipe of their own."""


def fields(spec) -> dict:
    """All settings of a task and of its training, by name."""
    return {**spec.config.model_fields, **TrainingConfig.model_fields}


def params(spec) -> dict:
    """What `ostinato train COMMAND` takes, by name."""
    return {param.name: param for param in task_command(spec).params}


def values(asked) -> dict:
    """All settings of a training, by name."""
    return {**asked.config.shown_settings(), **asked.training.model_dump()}


def kinds_of(kind) -> tuple:
    """The types of a union; of anything else itself."""
    union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    return typing.get_args(kind) if union else (kind,)


def another(name: str, kind, before):
    """A valid value of a setting other than the one that it has."""
    kinds = kinds_of(kind)
    if name in WORDS:
        return WORDS[name]
    if bool in kinds:
        return not before
    if typing.get_origin(kind) is typing.Literal:
        return next(word for word in typing.get_args(kind) if word != before)
    if tuple in map(typing.get_origin, kinds):
        return (0.25,) if name == "step_at" else (8, 6)
    if name in ("layers", "source_ngrams"):
        return 2
    return 300 if int in kinds else 0.25 if before != 0.25 else 0.125


def typed(value) -> str:
    """A value as it is typed after its flag."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def listed(help_text: str, flag: str) -> str | None:
    """The line of a help about a flag."""
    lines = (line for line in help_text.splitlines() if re.search(rf"^│ [^│]{{,60}}{flag}[ ,│]", line))
    return next(lines, None)


# A flag for every setting.


@SPECS
def test_every_setting_has_a_flag_with_its_help(ostinato, monkeypatch, spec):
    monkeypatch.setenv("COLUMNS", "1000")
    answer = ostinato("train", spec.command, "--help-all")
    assert (answer.code, answer.err) == (0, "")
    for name, field in fields(spec).items():
        param, text = params(spec)[name], " ".join((field.description or "").split())
        assert len(text) > 10, name
        for flag in param.opts:
            line = listed(answer.out, flag)
            assert line is not None, flag
            assert text in line, flag


@SPECS
def test_the_value_of_every_flag_reaches_the_settings(asked, spec):
    of_one_layer = {"units", "layers", *BUDGETS, *LIMITS}  # these go together
    for name, field in fields(spec).items():
        beside = BESIDE.get(name, ())
        before = values(asked(spec.command, *beside))
        value = another(name, field.annotation, before[name])
        param = params(spec)[name]
        for flag in param.secondary_opts if value is False else param.opts:
            given = (flag,) if isinstance(value, bool) else (flag, typed(value))
            after = values(asked(spec.command, *beside, *given))
            assert value == after[name] != before[name], flag
            changed = {each for each in after if after[each] != before[each]}
            assert changed - of_one_layer == {name} - of_one_layer, flag


@SPECS
def test_the_help_shows_what_is_common_and_says_where_the_rest_is(ostinato, monkeypatch, spec):
    monkeypatch.setenv("COLUMNS", "400")
    shown = ostinato("train", spec.command, "--help").out
    assert f"ostinato train {spec.command} --help-all" in shown
    common = {each.name for each in flags.of_config(spec.config) if each.flag.common}
    common |= {each.name for each in flags.of_config(TrainingConfig) if each.flag.common}
    assert {"cell", "units", "batch", "learning_rate", "minutes"} <= common
    for name in fields(spec):
        flag = max(params(spec)[name].opts, key=len)
        assert (listed(shown, flag) is not None) == (name in common), flag
    for flag in ("--out", "--recipe", "--config", "--save-recipe", "--json", "--help-all"):
        assert listed(shown, flag) is not None, flag


@SPECS
def test_where_the_reset_gate_acts_is_one_setting_with_two_flags(asked, spec):
    for flag, after in (("--reset-after", True), ("--reset-before", False)):
        assert asked(spec.command, "--cell", "gru", flag).config.reset_after is after


# Settings that are kept.


@SPECS
@pytest.mark.parametrize(
    "given",
    [
        (),
        ("--units", "8,6", "--cell", "gru", "--reset-before", "--lr", "0.02", "--steps", "7"),
        ("--clip", "0", "--patience", "3"),
    ],
    ids=" ".join,
)
def test_settings_that_were_kept_are_read_back_equal(asked, spec, given):
    kept = asked(spec.command, *given, "--save-recipe", "kept.toml")
    assert asked(spec.command, "--config", "kept.toml") == kept
    assert tomllib.loads(Path("kept.toml").read_text()).keys() == {
        "description",
        kept.config.task,
        "training",
    }
    if "--clip" in given:
        assert kept.training.clip is None


def test_a_file_that_exists_is_kept_unless_it_may_be_overwritten(ostinato, asked):
    Path("kept.toml").write_text("mine")
    answer = ostinato("train", "lm", "text.txt", "--save-recipe", "kept.toml", "--out", "run")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "--save-recipe kept.toml: the file exists; take another name, or --overwrite" in answer.err
    assert Path("kept.toml").read_text() == "mine"
    assert not Path("run").exists()
    kept = asked("lm", "--units", "9", "--save-recipe", "kept.toml", "--overwrite")
    assert asked("lm", "--config", "kept.toml") == kept


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["text.txt", "--units", "0"], "units must be 1 to 64 layers"),
        (["text.txt", "--cell", "lstm", "--reset-before"], "need a cell with a reset gate, got 'lstm'"),
        (["text.txt", "--steps", "1", "--epochs", "1"], "a run has one budget"),
        (["text.txt", "--out", "text.txt"], "text.txt exists"),
        (["text.txt", "--init-from", "nowhere"], "there is no run at nowhere"),
        (["gone.txt"], "there is no file or folder 'gone.txt'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_settings_that_are_wrong_are_not_kept(ostinato, folder, arguments, says):
    answer = ostinato("train", "lm", *arguments, "--save-recipe", "kept.toml")
    assert answer.code == 2
    assert says in answer.err
    assert [path.name for path in folder.iterdir()] == ["text.txt"]


def test_a_recipe_is_kept_only_in_a_folder_that_exists(ostinato, folder):
    answer = ostinato("train", "lm", "text.txt", "--save-recipe", "gone/kept.toml")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "Error: --save-recipe must be a file in a folder that exists, got gone/kept.toml\n"
    assert [path.name for path in folder.iterdir()] == ["text.txt"]


# Flags of another task.


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A run of each task, by its command; nothing is learned."""
    place, found = tmp_path_factory.mktemp("runs"), {}
    training = package.TrainingConfig(steps=1, evaluations=1)
    for spec in registry.specs():
        name, content = SOURCES[spec.command]
        put(place / name, content)
        settings = {"units": 4, "batch": 2}
        if spec.command != "lm":
            settings["validation_fraction"] = 0.0
        out = place / spec.command
        with run_eagerly():
            package.train(spec.config(**settings), str(place / name), training=training, out=out)
        found[spec.command] = out
    return found


def strangers() -> list[tuple[str, str, str]]:
    """Every flag that a command has for one task and not for another: (command, the other, flag)."""
    found = []
    for command in ("predict", "evaluate", "generate"):

        def flags_of(spec, command=command):
            return of_evaluate(spec) if command == "evaluate" else uses.of_task(spec, command)

        for spec in registry.specs():
            if command not in spec.output and command != "evaluate":
                continue
            own = {each.name for each in flags_of(spec)}
            others = flags.union(each for other in registry.specs() for each in flags_of(other))
            found += [(command, spec.command, each) for each in others if each.name not in own]
    return found


def test_a_flag_of_another_task_is_refused_in_one_sentence(ostinato, folder, runs):
    found = strangers()
    assert {(command, other) for command, other, _ in found} == {
        ("predict", "classify"),
        ("predict", "translate"),
        ("evaluate", "lm"),
        ("evaluate", "classify"),
        ("evaluate", "translate"),
        ("evaluate", "music"),
        ("generate", "lm"),
        ("generate", "music"),
    }
    for command, other, flag in found:
        value = () if bool in kinds_of(flag.kind) else ("1",)
        text = ("a",) if command == "predict" else ()
        answer = ostinato(command, runs[other], *text, flag.spelling, *value)
        assert (answer.code, answer.out) == (2, ""), flag
        pattern = rf"Error: {flag.spelling} is for runs of ostinato train \w+( and ostinato train \w+)*; .*"
        assert re.fullmatch(pattern + r" is a \w+ run\n", answer.err), answer.err
        assert f"ostinato train {other}" not in answer.err


@pytest.mark.parametrize(
    ("command", "other", "says"),
    [
        (
            "generate",
            "classify",
            "cannot generate; ostinato train lm and ostinato train music train runs that can",
        ),
        (
            "generate",
            "translate",
            "cannot generate; ostinato train lm and ostinato train music train runs that can",
        ),
        (
            "predict",
            "lm",
            "cannot predict; ostinato train classify and ostinato train translate train runs that can",
        ),
    ],
)
def test_a_command_that_a_task_lacks_is_refused_with_those_that_have_it(ostinato, runs, command, other, says):
    answer = ostinato(command, runs[other], *(["a"] if command == "predict" else []))
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert answer.err.endswith(f" run, which {says}\n")


# One place that knows the tasks.


def test_no_task_is_named_where_all_tasks_are_served():
    known = {name for spec in registry.specs() for name in (spec.command, spec.config.task)}
    assert known == {*("lm", "language_model", "classify", "classifier", "translate", "translator", "music")}
    root = Path(inspect.getfile(package)).parent
    files = [file for room in ("cli", "training", "runs") for file in (root / room).rglob("*.py")]
    assert len(files) > 30
    for file in files:
        named = {
            node.value
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not named & known, file
