"""Flags from the fields of configs, and from the parameters of `TaskSpec.source` and `TaskSpec.output`."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast

import typer

from ostinato.errors import ConfigError
from ostinato.tasks.config import Config, Flag

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_RESERVED = ("as_json", "texts", "vocabulary")
"""Parameters of the functions of a task that are not flags."""


Values = dict[str, Any]
"""Values of flags by the name of the parameter."""
Kind = Any
"""An annotated type: a class, a union, a Literal."""


class Parameter(NamedTuple):
    """A parameter of a command.

    Attributes:
        name: the name in Python.
        kind: the type of the value.
        flag: how the command line shows it.
        help: a sentence or two.
        default: the default value; `...` if it must be given.
        setting: whether it overrides a setting of a recipe.
    """

    name: str
    kind: Kind
    flag: Flag
    help: str
    default: object = None
    setting: bool = False

    @property
    def spelling(self) -> str:
        """The flag on the command line: --learning-rate."""
        names = self.flag.names or (dashed(self.name),)
        return names[-1].split("/")[0]


def dashed(name: str) -> str:
    """The flag of a name in Python: --learning-rate for learning_rate."""
    return f"--{name.replace('_', '-')}"


def of_config(config: type[Config]) -> list[Parameter]:
    """A flag for every field of a config."""
    return [_of_field(name, field) for name, field in config.model_fields.items()]


def _of_field(name: str, field: FieldInfo) -> Parameter:
    flag = next((each for each in field.metadata if isinstance(each, Flag)), Flag())
    if _plain(field.annotation) is bool and not flag.names:
        flag = replace(flag, names=(f"{dashed(name)}/{dashed(f'no_{name}')}",))
    return Parameter(name, field.annotation, flag, " ".join((field.description or "").split()), setting=True)


def of_function(function: Callable[..., object]) -> tuple[list[Parameter], list[Parameter]]:
    """The arguments and the flags of a function of a task; the first parameter counts as an argument."""
    hints = _hints(function)
    arguments, flags = [], []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in _RESERVED or parameter.name not in hints:
            continue
        kind, *told = (
            typing.get_args(hints[parameter.name])
            if _annotated(hints[parameter.name])
            else (hints[parameter.name],)
        )
        flag = next((each for each in told if isinstance(each, Flag)), Flag())
        text = next((each for each in told if isinstance(each, str)), "")
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        found = Parameter(parameter.name, kind, flag, text, default)
        (flags if parameter.kind is inspect.Parameter.KEYWORD_ONLY else arguments).append(found)
    return arguments, flags


def union(flags: Iterable[Parameter]) -> list[Parameter]:
    """The flags of several tasks; of flags with the same name, the first."""
    found: dict[str, Parameter] = {}
    for each in flags:
        found.setdefault(each.name, each)
    return list(found.values())


def signature(parameters: Iterable[inspect.Parameter]) -> inspect.Signature:
    """The signature of a command."""
    return inspect.Signature(list(parameters))


def argument(parameter: Parameter) -> inspect.Parameter:
    """A positional argument, as Typer reads it."""
    needed = parameter.default is ...
    kind = str if needed else str | None
    told = typer.Argument(help=parameter.help, show_default=False, metavar=parameter.name.upper())
    return _typer(parameter.name, Annotated[kind, told], ... if needed else None)


def option(parameter: Parameter) -> inspect.Parameter:
    """An option, as Typer reads it; None if it is not given."""
    flag, kind = parameter.flag, _plain(parameter.kind)
    names = flag.names
    metavar = None
    if isinstance(kind, tuple):
        metavar, kind = "|".join(kind), str
    if kind is bool and not names:
        names = (dashed(parameter.name),)
    told = typer.Option(
        *names,
        help=parameter.help,
        metavar=metavar,
        show_default=_shown_default(parameter),
        rich_help_panel=flag.group,
        hidden=flag.hidden,
    )
    return _typer(parameter.name, Annotated[kind | None, told], None)


def own(name: str, kind: Kind, told: object, default: object = None) -> inspect.Parameter:
    """A parameter that a command declares itself."""
    return _typer(name, Annotated[kind, told], default)


def values(parameters: Iterable[Parameter], given: Mapping[str, object]) -> Values:
    """The given values as settings; numbers separated by commas, and a flag given often, become a tuple.

    Raises:
        ConfigError: if they are not numbers.
    """
    found = {}
    for each in parameters:
        value = given.get(each.name)
        if value is None:
            continue
        element = _element(each.kind)
        if element is str:
            value = value if isinstance(value, str) else tuple(cast(list[str], value))
            if not value:
                continue
        elif element is not None and isinstance(value, str):
            try:
                value = tuple(element(part) for part in value.split(","))
            except ValueError:
                example = "whole numbers, as in 256,128" if element is int else "numbers, as in 0.5,0.75"
                raise ConfigError(f"{each.spelling} must be {example}, got {value}") from None
        found[each.name] = value
    return found


def _typer(name: str, annotation: Kind, default: object) -> inspect.Parameter:
    default = inspect.Parameter.empty if default is ... else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _shown_default(parameter: Parameter) -> str | bool:
    if parameter.setting:
        return "the recipe's value"
    default = parameter.default
    return f"{default:g}" if isinstance(default, int | float) and not isinstance(default, bool) else False


def _hints(function: Callable[..., object]) -> dict[str, Kind]:
    """The types of the parameters; without the result, whose type may need TensorFlow."""
    if not isinstance(function, types.FunctionType):
        return {}
    parameters = types.FunctionType(function.__code__, function.__globals__)
    parameters.__annotations__ = {k: v for k, v in function.__annotations__.items() if k != "return"}
    return typing.get_type_hints(parameters, include_extras=True)


def _annotated(hint: Kind) -> bool:
    return typing.get_origin(hint) is Annotated


def _members(kind: Kind) -> list[Kind]:
    """The types of a union without None; for any other type, the type itself."""
    kind = typing.get_args(kind)[0] if _annotated(kind) else kind
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [inner for each in typing.get_args(kind) if each is not type(None) for inner in _members(each)]
    return [kind]


def _plain(kind: Kind) -> Kind:
    """The type that Click converts to; the words of a Literal as a tuple; a list for a flag that may be
    given often; otherwise str, for pydantic."""
    members = _members(kind)
    if _element(kind) is str:
        return list[str]
    if len(members) == 1 and typing.get_origin(members[0]) is Literal:
        return typing.get_args(members[0])
    return members[0] if len(members) == 1 and members[0] in (bool, int, float, Path) else str


def _element(kind: Kind) -> Callable[[str], float | str] | None:
    """The type of the members of a tuple; None if it is not a tuple."""
    for member in _members(kind):
        if typing.get_origin(member) is tuple:
            return typing.get_args(member)[0]
    return None
