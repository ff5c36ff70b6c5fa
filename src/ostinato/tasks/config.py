"""What the settings of all tasks and of training have in common.

A setting is declared once: a field with its type, its default, and a docstring. Recipe keys, flags with
their help, and the tables of docs/settings.md are made from it.
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
from ostinato.wording import did_you_mean, either, hint_after, option, quoted, shown

Value = Any
"""The value of a setting."""
Settings = dict[str, Value]
"""Settings by name, not yet checked."""


@dataclass(frozen=True)
class Flag:
    """How the command line shows a setting: metadata of a field, as in `Annotated[int, Flag("Network")]`.

    Attributes:
        group: its heading in the help.
        common: whether `--help` shows it; `--help-all` shows every flag.
        names: its flags; by default --name, and --name/--no-name for a bool.
        none: what the help shows when the value is None.
        training: for a flag of a source, whether only training takes it.
        hidden: whether the help leaves it out, for example because it has been renamed.
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
ENCODING_HELP = (
    "The character encoding of the files, such as cp1252, gb18030 or utf-16. By default it is recognised, "
    "and printed "
    "if it is not UTF-8."
)
"""The help of --encoding of every task."""


class Config(pydantic.BaseModel):
    """Settings: checked when created, and immutable. Raises ConfigError for unknown names and bad values."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    renamed: ClassVar[Mapping[str, tuple[str, Callable[[Value], Value]]]] = {}
    """Settings of older versions: the new name of each, and a function from its old value to the new one."""

    def __init__(self, /, **settings: Value):
        try:
            super().__init__(**self.migrated(settings))
        except pydantic.ValidationError as error:
            raise ConfigError(_sentence(error, type(self))) from None

    def check_given(self, names: Collection[str]) -> None:
        """Checks the settings that a user gave against all others. Raises ConfigError when one has no
        effect."""

    @classmethod
    def migrated(cls, settings: Settings) -> Settings:
        """The settings, with those of older versions renamed; a ConfigWarning says so.

        Raises:
            ConfigError: when a setting is given under both of its names, or its old value is not valid.
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
    tuned_dropout: ClassVar[str] = "dropout"
    """The name of the dropout that `ostinato tune` searches."""

    @classmethod
    def usual_recipe(cls, chosen: Mapping[str, Value]) -> str:
        """The recipe that is taken when none is named.

        Args:
            chosen: the settings that the user gave, not yet checked.
        """
        return "default"

    @property
    def draws_masks(self) -> bool:
        """Whether training drops or replaces anything at random."""
        settings = self.model_dump().items()
        return any(value for name, value in settings if name.endswith(("dropout", "_sampling")))

    def shown_settings(self) -> Settings:
        """The values that the help shows for a recipe."""
        return self.model_dump()


# Settings that several tasks share; each task sets its own defaults.


def known_encoder(name: str) -> str:
    """The name of an encoder, checked. Raises ValueError, to which `Config` adds the name of the setting."""
    from ostinato.data.encoders.registry import check_encoder

    try:
        check_encoder(name)
    except ConfigError as error:
        raise ValueError(str(error).removeprefix("encoder ")) from None
    return name


EncoderName = Annotated[
    str,
    COMMON_DATA,
    pydantic.AfterValidator(known_encoder),
    Field(
        description="What a token is: `char`, `byte`, `word`, `bpe` (subwords) or `word_bpe` (frequent "
        "words, others in subwords)."
    ),
]


def known_or_auto(name: str) -> str:
    """The name of an encoder or `auto`, checked; see `known_encoder`."""
    return name if name == "auto" else known_encoder(name)


Fraction = Annotated[float, Field(ge=0, lt=1)]
Cell = Annotated[
    str,
    COMMON_NETWORK,
    pydantic.BeforeValidator(layers.name_of),
    Field(
        description="The recurrent cell: `rnn`, `gru`, `lstm`, another that `ostinato info` lists, or the "
        "import path of one, `package.module:name`; in Python also the cell itself."
    ),
]
Units = Annotated[
    tuple[int, ...],
    COMMON_NETWORK,
    Field(description="Hidden units of each recurrent layer, bottom first: 256, or 256,128 for two layers."),
]
Layers = Annotated[
    int | None,
    COMMON_NETWORK,
    Field(ge=1, le=64, exclude=True, description="Number of recurrent layers, when `units` is one number."),
]
Block = Annotated[
    bool,
    Flag("Network", names=("--block/--no-block",)),
    Field(
        description="Whether each recurrent layer stands in a residual block: normalised inputs, a gated MLP "
        "behind it, and skips around both. For cells whose gates do not read the state, as `mingru`."
    ),
]
ResetAfter = Annotated[
    bool,
    Flag("Network", names=("--reset-after/--reset-before",)),
    Field(
        description="Where the reset gate of a GRU acts: after the recurrent product, as in Keras, or before "
        "it, as in the original paper."
    ),
]
Bidirectional = Annotated[bool, Flag("Network", common=True, names=("--bidirectional/--one-way",))]
WordDropout = Annotated[
    Fraction, NETWORK, Field(description="Fraction of tokens whose whole embedding is dropped.")
]
EmbeddingDropout = Annotated[
    Fraction, NETWORK, Field(description="Fraction of single embedding values that are dropped.")
]
Dropout = Annotated[
    Fraction,
    COMMON_NETWORK,
    Field(
        description="Fraction dropped between recurrent layers, and after the last one unless "
        "`output_dropout` is set."
    ),
]
RecurrentDropout = Annotated[
    Fraction,
    NETWORK,
    Field(
        description="Fraction of its previous state that each recurrent layer drops, with one mask for all "
        "time steps (Gal & Ghahramani 2016, arXiv:1512.05287)."
    ),
]
OutputDropout = Annotated[
    Fraction | None,
    Flag("Network", none="as --dropout"),
    Field(description="Fraction dropped before the output layer. Without it, `dropout` is used."),
]
Engine = Annotated[
    str,
    NETWORK,
    Field(description="The engine that runs recurrent layers: `auto`, `native`, `keras` or `scratch`."),
]
Seeds = Annotated[
    int,
    COMMON_TRAINING,
    Field(
        ge=1,
        le=32,
        description="Number of networks with seeds of their own that are trained side by side; what they say "
        "is averaged. Each takes as long as one.",
    ),
]
Seed = Annotated[
    int,
    TRAINING,
    Field(
        ge=0,
        lt=2**31,
        description="The random seed of data splits, initial weights, batches and dropout masks.",
    ),
]


def _reset_after(reset_before: object) -> bool:
    try:
        return not pydantic.TypeAdapter(bool).validate_python(reset_before)
    except pydantic.ValidationError as error:
        raise ConfigError(_problem("reset_before", error.errors()[0])) from None


class RecurrentConfig(TaskConfig):
    """The settings of a network of recurrent layers: `cell`, `units`, `layers`, `reset_after`, `engine`."""

    renamed: ClassVar[Mapping[str, tuple[str, Callable[[Value], Value]]]] = {
        "reset_before": ("reset_after", _reset_after)
    }

    @pydantic.model_validator(mode="before")
    @classmethod
    def _repeat_units(cls, settings: Settings) -> Settings:
        settings = dict(settings)
        depth = settings.pop("layers", None)
        if depth is None and "units" not in settings:
            return settings
        units = settings.get("units", cls.model_fields["units"].default)
        units = tuple(units) if isinstance(units, list | tuple) else (units,)
        if depth is not None:
            if not isinstance(depth, int) or not 1 <= depth <= 64:
                raise ValueError(f"layers must be 1 to 64, got {shown(repr(depth))}")
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
        if {"validation", "validation_fraction"} <= {*names}:
            raise ConfigError(
                f"{option('validation')} and {option('validation_fraction')} both set the validation part; "
                "choose one"
            )
        settings = self.model_dump()
        # pydantic checks no defaults, and OSTINATO_ENGINE may name an unknown engine.
        engines.check(settings["engine"])
        if "reset_after" in names and not layers.has_reset_gate(settings["cell"]):
            raise ConfigError(
                f"{either('reset_after=', '--reset-after and --reset-before')} need a cell with a reset "
                f"gate, got {settings['cell']!r}"
            )

    def shown_settings(self) -> Settings:
        settings = self.model_dump()
        return settings | {"layers": len(settings["units"])}


def check_units(units: tuple[int, ...]) -> tuple[int, ...]:
    """The units of each layer, checked. Raises ValueError when a number is out of range."""
    if not 1 <= len(units) <= 64 or not all(1 <= size <= 65536 for size in units):
        raise ValueError("must be 1 to 64 layers of 1 to 65,536 units each")
    return units


# Errors.

_LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
"""What pydantic calls a value out of range: how we say it, and where the limit is in the error's context."""
_TYPES = {"bool": "true or false", "int": "a whole number", "float": "a number", "string": "text"}
_TYPES |= {"tuple": "a list", "finite": "a finite number"}
"""How pydantic's names of the wrong type begin, and what the value must be."""


def _sentence(error: pydantic.ValidationError, config: type[Config]) -> str:
    """The first problem of a config's values, in one sentence."""
    first = error.errors()[0]
    *path, last = first["loc"] or ("",)
    name = (
        f"each of {'.'.join(map(str, path))}" if isinstance(last, int) else ".".join(map(str, first["loc"]))
    )
    if first["type"] == "extra_forbidden":
        known = config.model_fields
        hint = did_you_mean(name, known) or f"known are {', '.join(known)}."
        return f"unknown setting {shown(repr(name))}; {hint}"
    return _problem(name, first)


def _problem(name: str, error: ErrorDetails) -> str:
    """What is wrong with one value: NAME must be …, got VALUE."""
    value, message, hint = shown(repr(error["input"])), _demand(error), ""
    if not name or (message.startswith("must be ") and ", got " in message):
        return f"{quoted(name)} {message}".strip()
    if not message.startswith("must "):
        return f"{quoted(name)} = {value}: {message}"
    if error["type"] == "literal_error":
        hint = hint_after(error["input"], re.findall(r"'([^']*)'", message))
    return f"{quoted(name)} {message}, got {value}{hint}"


def _demand(error: ErrorDetails) -> str:
    """What pydantic or one of our validators demands of a value, from "must" on where that is known."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _LIMITS:
        words, key = _LIMITS[kind]
        limit = context[key]
        return f"must be {words} {int(limit) if limit == int(limit) else limit:,}"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "string_too_short":
        return "must not be empty"
    if kind.partition("_")[0] in _TYPES:
        return f"must be {_TYPES[kind.partition('_')[0]]}"
    message = error["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
