"""Weights that a model's code reads from outside of the model: global variables, closures, class attributes.

A copy would still read the original's weights there, so a model with such code is not copied.
"""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ostinato.errors import ConfigError

if TYPE_CHECKING:
    from ostinato.acceleration.copying import ModelCopy

# Methods that run when a layer is made or saved, but not in a copy.
_NOT_IN_A_COPY = (
    "__init__",
    "__new__",
    "__init_subclass__",
    "build",
    "get_config",
    "from_config",
    "get_build_config",
)
# Packages whose code reads no weights by global names.
_LIBRARIES = ("keras", "tensorflow", "numpy", "ostinato", "builtins", "functools", "abc", "typing")


def check_captured(things: Iterable[object], copy: ModelCopy) -> None:
    """Refuses a model whose code captures an object that would have to be copied.

    Args:
        things: all objects of the model.
        copy: the copy, which knows what is copied.

    Raises:
        ConfigError: a function does; the message says which, and what it reads.
    """
    functions: dict[int, tuple[types.FunctionType, bool]] = {}
    kinds: dict[type, None] = {}
    for thing in things:
        if isinstance(thing, types.FunctionType):
            functions.setdefault(id(thing), (thing, False))
        for kind in type(thing).__mro__:
            if not _is_library(kind):
                kinds.setdefault(kind)
    for kind in kinds:
        for name, value in vars(kind).items():
            if name in _NOT_IN_A_COPY:
                continue
            found = list(_functions(value))
            functions |= {id(function): (function, True) for function in found}
            data = not found and not name.startswith("__")
            if data and copy.leads_to_copied(value):
                raise _refusal(f"the class {kind.__qualname__}", name, "an attribute of the class")
    waiting, seen = list(functions.values()), set()
    while waiting:
        function, of_class = waiting.pop()
        if id(function) in seen or _is_library(function):
            continue
        seen.add(id(function))
        waiting += [(called, True) for called in _check_function(function, of_class, copy)]


def _check_function(
    function: types.FunctionType, of_class: bool, copy: ModelCopy
) -> Iterator[types.FunctionType]:
    """Checks what a function reads, and yields the functions that it can call."""
    for name, value in _globals(function):
        if isinstance(value, types.FunctionType):
            yield value
        elif copy.leads_to_copied(value):
            raise _refusal(function.__qualname__, name, "a global variable")
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    if of_class and copy.leads_to_copied(defaults):
        raise _refusal(function.__qualname__, "its default arguments", "made with the function")
    for name, value in _closure(function) if of_class else ():
        if isinstance(value, types.FunctionType):
            yield value
        elif copy.leads_to_copied(value):
            raise _refusal(function.__qualname__, name, "a variable of the function around it")


def _refusal(function: str, name: str, what: str) -> ConfigError:
    return ConfigError(f"{function} reads '{name}', {what}, which the copy would share with the original")


def _is_library(thing: object) -> bool:
    return (getattr(thing, "__module__", None) or "").partition(".")[0] in _LIBRARIES


def _functions(value: object) -> Iterator[types.FunctionType]:
    """The functions behind an attribute of a class."""
    for inner in (
        value,
        *(getattr(value, name, None) for name in ("__func__", "func", "fget", "fset", "python_function")),
    ):
        if isinstance(inner, types.FunctionType):
            yield inner
            wrapped = getattr(inner, "__wrapped__", None)
            if isinstance(wrapped, types.FunctionType):
                yield wrapped


def _globals(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]


@functools.lru_cache(maxsize=4096)
def _global_names(code: types.CodeType) -> frozenset[str]:
    """The names of global variables that code reads, including the code of functions within it."""
    names = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    inner = [_global_names(each) for each in code.co_consts if isinstance(each, types.CodeType)]
    return frozenset(names.union(*inner))


def _closure(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue
