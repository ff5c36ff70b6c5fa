"""What the settings of every task and training have in common.

A setting is declared once: a field with its type, its default, and a docstring. Recipe keys, command-line flags
with their help, and the tables of docs/settings.md are made from that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pydantic
from pydantic import Field
from pydantic_core import ErrorDetails

from ostinato import engines, layers
from ostinato.errors import ConfigError, ConfigWarning, warn
from ostinato.wording import did_you_mean, hint_after, quoted, shown

Settings = dict[str, Any]
"""Settings by name, not checked yet."""


@dataclass(frozen=True)
class Flag:
    """How the command line shows a setting: metadata of a field, `Annotated[int, Flag("Network")]`.

    Attributes:
        group: the heading that it stands under.
        common: whether `--help` shows it; `--help-all` shows every flag.
        names: its flags; none means --name, and for a setting that is a yes or no --name/--no-name.
        none: what the help says where the value is None.
        training: whether it is asked only when training, of the flags of a source.
        hidden: whether no help shows it, since it has another name now.
    """

    group: str = "Settings"
    common: bool = False
    names: tuple[str, ...] = ()
    none: str = "none"
    training: bool = False
    hidden: bool = False


DATA, NETWORK, TRAINING = Flag("Data"), Flag("Network"), Flag("Training")
COMMON_DATA, COMMON_NETWORK = Flag("Data", common=True), Flag("Network", common=True)
COMMON_TRAINING = Flag("Training", common=True)


class Config(pydantic.BaseModel):
    """Settings: checked when made, never changed afterwards; unknown names and bad values are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    renamed: ClassVar[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {}
    """Settings of older versions: what each is called now, and its value then from its value before."""

    def __init__(self, /, **settings: Any):
        try:
            super().__init__(**self.migrated(settings))
        except pydantic.ValidationError as error:
            raise ConfigError(_sentence(error, type(self))) from None

    def check_given(self, names: Collection[str]) -> None:
        """Refuses settings that somebody gave and that mean nothing beside the others. Raises ConfigError."""

    @classmethod
    def migrated(cls, settings: Settings) -> Settings:
        """The settings, those of older versions under the names that they have now; a ConfigWarning tells.

        Raises:
            ConfigError: a setting is given under both of its names, or its older value makes no sense.
        """
        for old in settings.keys() & cls.renamed.keys():
            name, convert = cls.renamed[old]
            if name in settings:
                raise ConfigError(f"{old} is the older name of {name}; give one of the two")
            value = convert(settings[old])
            warn(
                f"the setting {old} is now called {name}: {old} = {settings[old]} is {name} = {value}",
                ConfigWarning,
            )
            settings = {key: each for key, each in settings.items() if key != old} | {name: value}
        return settings


class TaskConfig(Config):
    """The settings of a task.

    Attributes:
        task: the name of the task in run directories and recipes.
    """

    task: ClassVar[str]

    def shown_settings(self) -> Settings:
        """What the help shows as a recipe's values."""
        return self.model_dump()


# Settings that several tasks have; each task says its own defaults.


def known_encoder(name: str) -> str:
    """The name of an encoder that there is. Raises ValueError, to which pydantic adds the setting's name."""
    from ostinato.data.encoders.registry import check_encoder

    try:
        check_encoder(name)
    except ConfigError as error:
        raise ValueError(error) from None
    return name


EncoderName = Annotated[
    str,
    COMMON_DATA,
    pydantic.AfterValidator(known_encoder),
    Field(description="What a token is: `char`, `byte`, `word` or `bpe`."),
]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Cell = Annotated[
    str,
    COMMON_NETWORK,
    Field(description="The recurrence: `rnn`, `gru`, `lstm`, or another that `ostinato info` lists."),
]
Units = Annotated[
    tuple[int, ...],
    COMMON_NETWORK,
    Field(description="Hidden units of each layer, from the bottom up: 256, or 256,128 for two layers."),
]
Layers = Annotated[
    int | None,
    COMMON_NETWORK,
    Field(ge=1, le=64, exclude=True, description="How many recurrent layers, where `units` is one number."),
]
ResetAfter = Annotated[
    bool,
    Flag("Network", names=("--reset-after/--reset-before",)),
    Field(
        description="Where the reset gate of a GRU acts: after the recurrent product, as in Keras, or before it, as "
        "in the textbook."
    ),
]
Bidirectional = Annotated[bool, Flag("Network", common=True, names=("--bidirectional/--one-way",))]
WordDropout = Annotated[
    Fraction, NETWORK, Field(description="Fraction of the tokens whose whole embedding is dropped.")
]
EmbeddingDropout = Annotated[
    Fraction, NETWORK, Field(description="Fraction of the embeddings' entries that are dropped.")
]
Dropout = Annotated[
    Fraction,
    COMMON_NETWORK,
    Field(
        description="Fraction dropped between two recurrent layers and, without `output_dropout`, after the last."
    ),
]
RecurrentDropout = Annotated[
    Fraction,
    NETWORK,
    Field(
        description="Fraction of its own past state that each recurrent layer drops, the same at all time steps "
        "(Gal & Ghahramani 2016, arXiv:1512.05287)."
    ),
]
OutputDropout = Annotated[
    Fraction | None,
    Flag("Network", none="as --dropout"),
    Field(description="Fraction dropped before the output layer; None takes `dropout`."),
]
Engine = Annotated[
    str,
    NETWORK,
    Field(description="How the recurrence runs over time: `auto`, `native`, `keras` or `scratch`."),
]
Seed = Annotated[
    int,
    TRAINING,
    Field(
        ge=0,
        lt=2**31,
        description="Random splits, initial weights, batches and dropout masks follow from it.",
    ),
]


def _reset_after(reset_before: object) -> bool:
    try:
        return not pydantic.TypeAdapter(bool).validate_python(reset_before)
    except pydantic.ValidationError as error:
        raise ConfigError(
            f"reset_before = {shown(repr(reset_before))}: {_reason(error.errors()[0])}"
        ) from None


class RecurrentConfig(TaskConfig):
    """The settings of a network of recurrent layers, with the fields `cell`, `units`, `layers`, `reset_after`, `engine`."""

    renamed: ClassVar[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
        "reset_before": ("reset_after", _reset_after)
    }

    @pydantic.model_validator(mode="before")
    @classmethod
    def _repeat_units(cls, settings: Settings) -> Settings:
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

    def check_given(self, names: Collection[str]) -> None:
        settings = self.model_dump()
        engines.check(
            settings["engine"]
        )  # a default is not checked, and OSTINATO_ENGINE may ask for none there is
        if "reset_after" in names and not layers.has_reset_gate(settings["cell"]):
            raise ConfigError(
                f"--reset-after and --reset-before are about a reset gate, which the cell "
                f"{settings['cell']!r} lacks"
            )

    def shown_settings(self) -> Settings:
        settings = self.model_dump()
        return settings | {"layers": len(settings["units"])}


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
    message = _reason(first)
    if first["type"] == "literal_error" and "ctx" in first:
        message += hint_after(first["input"], re.findall(r"'([^']*)'", first["ctx"]["expected"]))
    return f"{quoted(name)} = {shown(repr(first['input']))}: {message}" if name else message


def _reason(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
