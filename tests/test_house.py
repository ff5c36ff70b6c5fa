"""The shape of the source: nothing is written twice, and no file or function is long."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ostinato

SOURCE = Path(ostinato.__file__).parent
FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "scratch.py")
LINES_OF_A_FILE, LINES_OF_A_FUNCTION, EQUAL_LINES = 400, 60, 10

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def lines_of(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and type(node.value.value) is str
    )


def code_lines(text: str) -> list[tuple[int, str]]:
    """(number, stripped text) of the lines that are neither blank nor an import or a docstring."""
    aside = {
        number
        for node in ast.walk(ast.parse(text))
        if is_docstring(node) or isinstance(node, ast.Import | ast.ImportFrom)
        for number in lines_of(node)
    }
    lines = enumerate(map(str.strip, text.splitlines()), 1)
    return [(number, line) for number, line in lines if line and number not in aside]


def copies(texts: dict[str, str], length: int = EQUAL_LINES) -> list[tuple[str, str]]:
    """Pairs of places, "file:line", at which `length` equal lines begin; of a longer copy, only the first."""
    found: list[tuple[str, str]] = []
    first_places: dict[tuple[str, ...], tuple[str, int, int]] = {}
    last: tuple[object, ...] = ()
    for name, text in texts.items():
        lines = code_lines(text)
        for at in range(len(lines) - length + 1):
            block = tuple(line for _, line in lines[at : at + length])
            place = name, lines[at][0], at
            first = first_places.setdefault(block, place)
            if first == place:
                continue
            if last != (first[0], first[2] - 1, name, at - 1):
                found.append((f"{first[0]}:{first[1]}", f"{name}:{lines[at][0]}"))
            last = first[0], first[2], name, at
    return found


def functions(text: str) -> Iterator[tuple[Function, int]]:
    """Every function and its number of lines without the docstring."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Function):
            docstring = len(lines_of(node.body[0])) if is_docstring(node.body[0]) else 0
            yield node, len(lines_of(node)) - docstring


def test_no_ten_equal_lines_stand_at_two_places():
    found = list(copies({name_of(path): path.read_text() for path in FILES}))
    assert found == []


def test_no_file_is_longer_than_400_lines():
    long = {name_of(path): len(path.read_text().splitlines()) for path in FILES}
    assert {name: n for name, n in long.items() if n > LINES_OF_A_FILE} == {}


def test_no_kernel_is_longer_than_400_lines():
    kernels = [path for path in (SOURCE / "kernels").rglob("*") if path.suffix in (".h", ".cc")]
    long = {name_of(path): len(path.read_text().splitlines()) for path in kernels}
    assert len(long) > 10
    assert {name: n for name, n in long.items() if n > LINES_OF_A_FILE} == {}


def test_nobody_compares_with_the_name_of_a_cell():
    """But its own file, and the registry."""
    from ostinato.registration import own_cells

    names = {"LSTMCell", "GRUCell", "SimpleRNNCell"}
    for cell in own_cells():
        names |= {cell.name, cell.layer.__name__, getattr(cell.native, "name", cell.name)}
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in FILES
        if path.parent != SOURCE / "cells"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare | ast.MatchValue | ast.Dict)
        for part in (node.keys if isinstance(node, ast.Dict) else ast.iter_child_nodes(node))
        for each in (ast.walk(part) if part is not None else ())
        if isinstance(each, ast.Constant) and each.value in names
    ]
    assert found == []


def test_no_function_is_longer_than_60_lines():
    found = {
        f"{name_of(path)}:{node.lineno} {node.name}": length
        for path in FILES
        for node, length in functions(path.read_text())
        if length > LINES_OF_A_FUNCTION
    }
    assert found == {}


BODY = "\n".join(f"    x = {i}" for i in range(EQUAL_LINES))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (f"def f():\n{BODY}\n", f"def g():\n\n    '''Other.'''\n{BODY}\n", [("a:2", "b:4")]),
        (f"def f():\n{BODY}\n    y = 1\n", f"def g():\n{BODY}\n    y = 1\n", [("a:2", "b:2")]),
        (f"def f():\n{BODY}0\n", f"def g():\n{BODY}1\n", []),
        (f"'''\n{BODY}\n'''\n", f"'''\n{BODY}\n'''\n", []),
        ("from x import (\n" + "a,\n" * 12 + ")\n", "from x import (\n" + "a,\n" * 12 + ")\n", []),
        (f"def f():\n{BODY}\n    y = 1\n{BODY}\n", "", [("a:2", "a:13")]),
    ],
    ids=["a copy", "a longer copy", "not quite", "docstrings", "imports", "in one file"],
)
def test_copies_are_found(first, second, expected):
    assert copies({"a": first, "b": second}) == expected
