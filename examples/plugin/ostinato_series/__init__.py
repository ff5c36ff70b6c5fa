"""Forecast numbers: `ostinato train series FILE`, then `ostinato generate RUN --after 1,2,3`."""

from pathlib import Path
from typing import Annotated, ClassVar

from ostinato.tasks import config
from ostinato.tasks.base import TaskSpec


class SeriesConfig(config.RecurrentConfig):
    """A forecaster: it reads a file of numbers, one a line, and learns what comes next."""

    task: ClassVar[str] = "series"
    cell: config.Cell = "gru"
    units: config.Units = (16,)
    engine: config.Engine = "auto"
    window: Annotated[int, config.COMMON_TRAINING] = 16
    """Numbers between two changes of the weights."""


def source(numbers: Annotated[str, "A file of numbers, one a line."]) -> Path:
    return Path(numbers).absolute()


def generate(facts, *, after: Annotated[str, config.Flag("Numbers"), "What comes before."] = "0"):
    return lambda use: print(*use.generate(after=[float(number) for number in after.split(",")]))


SPEC = TaskSpec("series", SeriesConfig, "ostinato_series.task:Series", source, {"generate": generate})
