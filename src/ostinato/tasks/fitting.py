"""What a rule for default settings knows, and what it says: settings that follow from data and budget.

A task that has such a rule names it in its `TaskSpec`, as "module:function":

    def fit(config, data, facts) -> Fitted

It is a pure function of its arguments: the same data, budget and speed give the same settings. What a user
has set is in the configs already and not among `facts.free`, so the rule leaves it and chooses the rest to go
with it. docs/recipes.md shows the rules as tables.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, runtime_checkable

from ostinato.tasks.config import Settings, Value
from ostinato.wording import shown

if TYPE_CHECKING:
    from ostinato.tasks.config import TaskConfig

REFERENCE_UNITS = 256
"""The width of the layer whose speed is measured."""


@dataclass(frozen=True)
class Facts:
    """What a rule knows beside the data.

    Attributes:
        free: the names of the settings that the user left to it.
        seconds: the budget, if it is one of time; otherwise None.
        epochs: the budget, if it is one of epochs or steps; otherwise None.
        speed: time steps of one row a second that a recurrent layer of `REFERENCE_UNITS` units learns here;
            None if the budget is not one of time.
    """

    free: Collection[str]
    seconds: float | None = None
    epochs: float | None = None
    speed: float | None = None

    def only_free(self, settings: Mapping[str, Value]) -> Settings:
        """Those of some settings that the user left to the rule."""
        return {name: value for name, value in settings.items() if name in self.free}


@runtime_checkable
class TakesConfig(Protocol):
    """Data that takes other settings without being read again."""

    def with_config(self, config: TaskConfig) -> Self:
        """The same data with other settings, which differ in nothing that reading depends on."""
        ...


class Fitted(NamedTuple):
    """What a rule chooses.

    Attributes:
        task: settings of the task.
        training: settings of the training.
        because: what they follow from, for a sentence: "for 1,003,854 tokens and about 4 epochs".
    """

    task: Settings
    training: Settings
    because: str

    @property
    def note(self) -> str:
        """A sentence for the user."""
        chosen = self.task | self.training
        if not chosen:
            return ""
        values = ", ".join(f"{name.replace('_', ' ')} {_said(value)}" for name, value in chosen.items())
        return f"chosen {self.because}: {values}"


def _said(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else shown(str(value))


def time_of(units: int) -> float:
    """The time of a training step of a layer of this width, over that of `REFERENCE_UNITS`.

    Products grow with the square of the width; they run faster the wider they are, and the rest grows with
    the width. Measured for an LSTM, 32 rows of 64 steps, on AMD EPYC with Zen 4: 1.0 at 256 units, 2.2 at
    384, 3.2 at 512, 6.1 at 768, 10.2 at 1,024, which is a power of 1.7.
    """
    return max(units / REFERENCE_UNITS, 0.25) ** 1.7


def between(points: Mapping[int, float] | Mapping[float, float], x: float) -> float:
    """A value read off a line through points, by their logarithms: constant outside of them.

    Args:
        points: y by x, x ascending and above zero.
        x: where to read.
    """
    known = list(points.items())
    if x <= known[0][0]:
        return known[0][1]
    for (x0, y0), (x1, y1) in itertools.pairwise(known):
        if x <= x1:
            share = (math.log(x) - math.log(x0)) / (math.log(x1) - math.log(x0))
            return y0 + share * (y1 - y0)
    return known[-1][1]
