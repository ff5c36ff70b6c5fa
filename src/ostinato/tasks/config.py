"""What the settings of every task and training have in common."""

from __future__ import annotations

import difflib
from typing import Any

import pydantic

from ostinato.errors import ConfigError


class Config(pydantic.BaseModel):
    """Settings: checked when made, never changed afterwards; unknown names and bad values are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    def __init__(self, **settings: Any):
        try:
            super().__init__(**settings)
        except pydantic.ValidationError as error:
            raise ConfigError(_sentence(error, type(self))) from None


def _sentence(error: pydantic.ValidationError, config: type[Config]) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(name, config.model_fields, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(config.model_fields)}."
        return f"unknown setting {name!r}; {hint}"
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{name} = {first['input']!r}: {message}" if name else message
