"""What the settings of every task and training have in common."""

from __future__ import annotations

import re
from typing import Any

import pydantic

from ostinato import engines, layers
from ostinato.errors import ConfigError
from ostinato.wording import did_you_mean, hint_after, quoted, shown


class Config(pydantic.BaseModel):
    """Settings: checked when made, never changed afterwards; unknown names and bad values are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    def __init__(self, /, **settings: Any):
        try:
            super().__init__(**settings)
        except pydantic.ValidationError as error:
            raise ConfigError(_sentence(error, type(self))) from None


class RecurrentConfig(Config):
    """Settings of a network of recurrent layers: its fields `cell`, `units` and `engine` are checked here.

    Each task declares them itself, with its own defaults and where its settings are read in order.
    """

    @pydantic.model_validator(mode="before")
    @classmethod
    def _repeat_units(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """`layers` is shorthand: units of one number are repeated for every layer."""
        settings = dict(settings)
        depth = settings.pop("layers", None)
        units = settings.get("units", cls.model_fields["units"].default)
        units = tuple(units) if isinstance(units, list | tuple) else (units,)
        if depth is not None:
            if not isinstance(depth, int) or not 1 <= depth <= 64:
                raise ValueError(f"layers = {shown(repr(depth))}: expected 1 to 64")
            if len(units) not in (1, depth):
                raise ValueError(
                    f"layers = {depth} contradicts units = {shown(str(list(units)))}, which names "
                    f"{len(units)} layers"
                )
            units = units * depth if len(units) == 1 else units
        settings["units"] = units
        return settings

    @pydantic.field_validator("units", check_fields=False)
    @classmethod
    def _sensible_units(cls, units: tuple[int, ...]) -> tuple[int, ...]:
        return check_units(units)

    @pydantic.field_validator("cell", check_fields=False)
    @classmethod
    def _known_cell(cls, cell: str) -> str:
        layers.check(cell)
        return cell

    @pydantic.field_validator("engine", check_fields=False)
    @classmethod
    def _known_engine(cls, engine: str) -> str:
        engines.check(engine)
        return engine


def check_units(units: tuple[int, ...]) -> tuple[int, ...]:
    """The units of each layer, when they make sense. Raises ValueError."""
    if not 1 <= len(units) <= 64 or not all(1 <= size <= 65536 for size in units):
        raise ValueError("expected 1 to 64 layers of 1 to 65536 units each")
    return units


def _sentence(error: pydantic.ValidationError, config: type[Config]) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = config.model_fields
        hint = did_you_mean(name, known) or f"known are {', '.join(known)}."
        return f"unknown setting {shown(repr(name))}; {hint}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if first["type"] == "literal_error" and "ctx" in first:
        message += hint_after(first["input"], re.findall(r"'([^']*)'", first["ctx"]["expected"]))
    return f"{quoted(name)} = {shown(repr(first['input']))}: {message}" if name else message
