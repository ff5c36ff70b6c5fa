"""Variants of a test: one of them in every run of the tests, the others with `--thorough`."""

import os
from collections.abc import Iterable
from typing import Any

import pytest

THOROUGH = "OSTINATO_TESTS_THOROUGH"
"""Set in the environment by `--thorough`: how many examples are drawn is asked before options can be."""


def thorough(*values: Any, **options: Any) -> Any:
    """A parameter set that only `--thorough` takes; its arguments are those of `pytest.param`."""
    return pytest.param(*values, marks=pytest.mark.thorough, **options)


def examples(few: int, thorough: int) -> int:
    """How many examples Hypothesis draws; more with `--thorough`."""
    return thorough if THOROUGH in os.environ else few


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
