"""Everything the pages show as code runs as it stands there, and their commands are commands."""

import contextlib
import doctest
import importlib
import importlib.util
import os
import re
import shlex
import sys
import types

import numpy as np
import pytest
import typer

from ostinato.cli.app import app, main
from ostinato.data.events import midi

from ..eagerly import run_eagerly
from . import pages
from .pages import PAGES, REPOSITORY, blocks, commands, inline_code

# All that the tests change in a page: how long it trains, measures and writes.
SMALLER = {
    "README.md": [
        ("minutes=3", "steps=3"),
        ("length=300", "length=30"),
        ("range(0, 15_000, 3)", "range(0, 15_000, 500)"),
        ("epochs=10", "epochs=1"),
        ("ostinato.report(model)", "ostinato.report(model, batch=2, length=3, seconds=0.01)"),
    ],
    "docs/classification.md": [
        ("--test-fraction 0.2", "--test-fraction 0.2 --steps 2"),
        ("epochs=60", "epochs=1"),
    ],
    "docs/coming-from-keras.md": [
        ("ostinato.report(faster)", "ostinato.report(faster, batch=2, length=3, seconds=0.01)"),
    ],
    "docs/language-model.md": [
        ("--minutes 5", "--steps 2"),
        ("--epochs 40", "--steps 3"),
        ("names.txt --lines", "names.txt --lines --steps 2"),
        ("--length 600", "--length 30"),
        ("length=600", "length=20"),
        ("length=80", "length=10"),
    ],
    "docs/music.md": [
        ("train music --out", "train music rolls.npz --steps 2 --units 8 --out"),
        ("--minutes 10", "--steps 2 --units 8"),
        ("--steps 256", "--steps 4"),
    ],
    "docs/training.md": [("epochs=3", "steps=3"), ("length=200", "length=20")],
    "docs/translation.md": [
        ("--test-fraction 0.05", "--test-fraction 0.05 --steps 2"),
        ("epochs=100", "epochs=1"),
    ],
}
# Pages whose first block of commands is run as well.
CARRIED_OUT = ("docs/classification.md", "docs/language-model.md", "docs/music.md", "docs/translation.md")
# What a reader has where a page names it: small texts and tables, each of the kind that its name says.
TEXT = "It was the best of times, it was the worst of times.\n" * 100
REVIEWS = [
    ("a joy to watch, and great", "good"),
    ("warm and great", "good"),
    ("a great waste", "bad"),
    ("dull", "bad"),
]
GIVEN = {
    "book.txt": TEXT,
    "names.txt": "Anna\nBob\nCarla\n" * 20,
    "reviews.csv": "review,sentiment\n" + "".join(f'"{text}",{label}\n' for text, label in REVIEWS * 10),
    "reviews.txt": "".join(f"{text}\n" for text, _ in REVIEWS),
    "pairs.tsv": "".join(f"Where is number {n}?\tOù est {n} ?\n" for n in range(60)),
}
# What stands for a value in a sentence.
PLACEHOLDERS = {"CELL": "gru", "FILE": "book.txt", "FILE.toml": "book.toml", "N": "2", "WORD": "great"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working directory: a folder of its own, with what the pages name."""
    for name, content in GIVEN.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    write_music(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


def write_music(folder) -> None:
    """Files with the same few chords."""
    chords = np.zeros((12, 128), bool)
    chords[:6, [60, 64, 67]] = chords[6:, [59, 62, 67]] = True
    np.savez(folder / "rolls.npz", **{f"{part}_{n}": chords for part in ("train", "valid") for n in range(3)})
    (folder / "tunes").mkdir()
    for name in ("opening", "melody", *(f"tunes/{n}" for n in range(5))):
        midi.write(folder / f"{name}.mid", chords)


def smaller(page: str, code: str) -> str:
    for whole, part in SMALLER.get(page, ()):
        code = code.replace(whole, part)
    return code


def carry_out(command: str, monkeypatch) -> None:
    """Runs a command line in this process; it has to succeed."""
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0, command


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_the_python_of_a_page_runs_from_top_to_bottom(page, place, monkeypatch):
    if page in CARRIED_OUT:
        with run_eagerly():
            for command in commands(blocks(page)[0].text, "ostinato"):
                carry_out(smaller(page, command), monkeypatch)
    module = types.ModuleType("of_the_page")  # as if a user had written them into a file
    monkeypatch.setitem(sys.modules, module.__name__, module)
    snippets = blocks(page, "python")
    if page == "docs/coming-from-pytorch.md" and importlib.util.find_spec("torch") is None:
        snippets = without_torch(snippets)
    with run_eagerly():
        for block in snippets:
            code = smaller(page, block.text)
            # Errors then name the page and its line.
            exec(compile("\n" * (block.line - 1) + code, page, "exec"), module.__dict__)


def without_torch(snippets):
    """The blocks that need no PyTorch, and the file that one of the others writes."""
    import keras

    from ostinato.interop.torch import save_torch

    layers = [keras.layers.Bidirectional(keras.layers.LSTM(64, return_sequences=True)) for _ in range(2)]
    for layer, features in zip(layers, (8, 128), strict=True):
        layer.build((None, None, features))
    save_torch(layers, "lstm.safetensors")
    return [block for block in snippets if not re.search(r"\btorch\.\w+\(|^import torch", block.text, re.M)]


@pytest.mark.parametrize("page", SMALLER)
def test_every_budget_that_is_made_smaller_is_in_its_page(page):
    text = pages.read(page)
    assert [whole for whole, _ in SMALLER[page] if whole not in text] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_snippet_leaves_something_out(page):
    for block in blocks(page, "python"):
        assert not re.search(r"\.\.\.|…", block.text), f"{page}:{block.line}"


def shown_commands(page: str, program: str) -> list[str]:
    """Command lines of blocks and sentences."""
    shown = [line for block in blocks(page, "", "bash", "yaml") for line in commands(block.text, program)]
    return shown + [code for code in inline_code(page) if code.startswith(f"{program} ")]


def parse(arguments: list[str], named: bool = False) -> None:
    """What the command line does with its arguments before it does anything else.

    Args:
        arguments: what follows `ostinato`.
        named: whether a command may stand without its arguments, as where a sentence names it.
    """
    command, name = typer.main.get_command(app), "ostinato"
    context = command.make_context(name, list(arguments))
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context, resilient_parsing=named and not rest)
    if name == "launch":
        parse(context.params["command"])


@pytest.mark.parametrize("page", [page for page in PAGES if shown_commands(page, "ostinato")])
def test_every_command_is_one_that_the_command_line_understands(page, place):
    sentences = inline_code(page)
    for line in shown_commands(page, "ostinato"):
        arguments = [PLACEHOLDERS.get(each, each) for each in shlex.split(line)[1:]]
        try:
            parse(arguments, named=line in sentences)
        except typer.Exit:
            pass  # --help
        except Exception as error:
            pytest.fail(f"{page}: {line}: {error}")


@pytest.mark.parametrize("page", PAGES)
def test_every_program_and_make_target_is_there(page):
    targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for line in shown_commands(page, "python"):
        _, script, *arguments = shlex.split(line)
        if script == "-m":
            module = f"src/{arguments.pop(0).replace('.', '/')}"
            script = f"{module}.py" if (REPOSITORY / f"{module}.py").exists() else f"{module}/__main__.py"
        source = (REPOSITORY / script).read_text()
        for flag in (each for each in arguments if each.startswith("--")):
            assert f'"{flag}"' in source, f"{page}: {line}"
    for line in shown_commands(page, "make"):
        assert line.split()[1] in targets, f"{page}: {line}"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_the_repository_that_a_page_names_is_there(page):
    linked = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", pages.read(page))]
    beside = [link for link in linked if link and "://" not in link]
    missing = [link for link in beside if not (REPOSITORY / page).parent.joinpath(link).exists()]
    tops = "|".join(("src", "docs", "tests", "examples", "benchmarks"))
    named = [code for code in inline_code(page) if re.fullmatch(rf"(?:{tops})/[\w./-]+", code)]
    assert missing + [path for path in named if not (REPOSITORY / path).exists()] == []


def flags(command) -> set[str]:
    """The options of a command and of all below it."""
    context = typer.Context(command)
    names = command.list_commands(context) if hasattr(command, "list_commands") else []
    below = (command.resolve_command(context, [name])[1] for name in names)
    own = {option for each in command.params for option in [*each.opts, *each.secondary_opts]}
    return own.union(*map(flags, below))


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_that_a_page_names_is_one_of_a_command(page):
    scripts = "".join(path.read_text() for path in (REPOSITORY / "benchmarks").glob("*.py"))
    known = {*flags(typer.main.get_command(app)), *re.findall(r'"(--[a-z-]+)"', scripts)}
    foreign = {"--exclusive", "--requeue", "--signal", "--logdir"}  # Slurm's, and TensorBoard's
    named = {flag for code in inline_code(page) for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)}
    assert named - known - foreign == set()


def documented() -> list[str]:
    """The modules with examples in their docstrings."""
    source = REPOSITORY / "src"
    files = (path for path in sorted((source / "ostinato").rglob("*.py")) if ">>>" in path.read_text())
    return [".".join(path.relative_to(source).with_suffix("").parts) for path in files]


@pytest.mark.parametrize("module", documented())
def test_the_examples_in_docstrings_are_right(module):
    with contextlib.redirect_stderr(open(os.devnull, "w")):
        failed, tried = doctest.testmod(importlib.import_module(module))
    assert (failed, tried > 0) == (0, True)
