"""Variants of a test: one of them in every run of the tests, the others with `--thorough`."""

from collections.abc import Iterable
from typing import Any

import pytest


def thorough(*values: Any, **options: Any) -> Any:
    """A parameter set that only `--thorough` takes; its arguments are those of `pytest.param`."""
    return pytest.param(*values, marks=pytest.mark.thorough, **options)


def one_each(rows: Iterable[Any], columns: Iterable[Any], **options: Any) -> list[Any]:
    """All pairs of a row and a column; without `--thorough` one for each row, the next column every time."""
    columns = list(columns)
    return [
        pytest.param(row, column, **options)
        if at == number % len(columns)
        else thorough(row, column, **options)
        for number, row in enumerate(rows)
        for at, column in enumerate(columns)
    ]
