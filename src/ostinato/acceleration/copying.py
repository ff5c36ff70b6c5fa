"""A copy of a Keras model, object by object.

Keras copies a model from its configuration. What the configuration does not hold is lost that way: statistics
that a layer adapted, attributes that were set later, functions that share a name. So this copy is made from
the objects themselves. Layers, variables, optimizers and everything that leads to them are copied. Everything
else (functions, initializers, losses, arrays) is shared with the original.
"""

from __future__ import annotations

import collections
import copy
import enum
import functools
import re
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

import keras
import numpy as np
import tensorflow as tf

from ostinato.errors import ConfigError
from ostinato.interop.keras.sentences import class_name

_NODES = ("_inbound_nodes", "_outbound_nodes")
TRACED = ("train_function", "test_function", "predict_function")
"""The functions that Keras traces for `fit`, `evaluate` and `predict`; a copy traces its own."""
_CONTAINERS = (dict, list, set, collections.deque)
_VALUES = (
    *(type(None), bool, int, float, complex, str, bytes, type, types.ModuleType, types.CodeType),
    *(types.BuiltinFunctionType, types.GeneratorType, np.generic, tf.Tensor, tf.TypeSpec),
    enum.Enum,  # whoever uses one compares it by identity, as AUC does with its curve
)
# Values of Keras, which a layer refers to but never changes.
_SHARED = (
    *(keras.initializers.Initializer, keras.regularizers.Regularizer, keras.constraints.Constraint),
    *(keras.losses.Loss, keras.optimizers.schedules.LearningRateSchedule, keras.DTypePolicy),
)
_VARIABLES = (keras.Variable, tf.Variable)
_REFUSED = (
    *(tf.train.CheckpointManager, tf.train.ExponentialMovingAverage),
    tf.lookup.experimental.DenseHashTable,
)
_Function = tf.types.experimental.PolymorphicFunction
_Table = tf.lookup.experimental.MutableHashTable
_Trackable = tf.__internal__.tracking.AutoTrackable
# Packages whose objects are not traversed,
_OPAQUE_PACKAGES = (
    "tensorflow",
    "numpy",
    "pandas",
    "inspect",
    "threading",
    "_thread",
    "logging",
    "h5py",
    "io",
    "_io",
)
# and kinds of objects that are traversed although such a package defines them.
_TRAVERSED = (
    *(*_VARIABLES, *_REFUSED, np.ndarray, _Function, _Table, _Trackable),
    *(*_CONTAINERS, tuple, frozenset),
)

Kind = TypeVar("Kind")


class ModelCopy:
    """A layer or model, its copy, and which object of the one corresponds to which of the other.

    Attributes:
        original: the layer or model.
        copy: the copy.
    """

    copy: keras.layers.Layer

    def __init__(self, original: keras.layers.Layer) -> None:
        """Copies a layer or a model.

        Raises:
            ConfigError: it holds something that cannot be copied; the message says what.
        """
        from ostinato.acceleration.captured import check_captured

        self.original = original
        self._operations: set[int] = set()
        # The first pass finds the operations of the models, because only their graphs are traversed.
        for thing in self._reached([original]).values():
            self._operations |= {id(each) for each in getattr(thing, "_operations", None) or ()}
        self._found = self._reached([original])
        self._copied = self._leading_to_state()
        check_captured(self._found.values(), self)
        self._new: dict[int, object] = {}
        self._unfilled: list[tuple[object, object]] = []
        self._containers: list[tuple[object, object, list]] = []
        self.copy = self._copy_of(original)
        while self._unfilled:
            self._fill(*self._unfilled.pop())
        variables = {old._unique_id: new._unique_id for old, new in self.pairs(tf.Variable)}
        tables = {
            id(value) for each in self._found.values() if _is_optimizer(each) for value in vars(each).values()
        }
        for old, new, items in self._containers:
            self._insert(new, items, variables if id(old) in tables else {})

    def counterpart(self, original: object) -> object:
        """The object of the copy that corresponds to one of the original; the same object if it is shared."""
        return self._new.get(id(original), original)

    def pairs(self, kind: type[Kind]) -> Iterator[tuple[Kind, Kind]]:
        """The copied objects of a class in the original, each with its copy."""
        for key, old in self._found.items():
            if isinstance(old, kind) and key in self._new:
                yield old, cast(Kind, self._new[key])

    def objects(self) -> list[object]:
        """All objects of the original and of the copy; shared ones once."""
        return list({id(thing): thing for thing in (*self._found.values(), *self._new.values())}.values())

    def leads_to_copied(self, thing: object) -> bool:
        """Whether an object outside of the model leads to one that is copied."""
        return any(key in self._copied for key in self._reached([thing], at_most=2000))

    def _reached(self, roots: Iterable[object], at_most: float = float("inf")) -> dict[int, object]:
        """All objects that the roots lead to, with the roots, by their identity."""
        found: dict[int, object] = {}
        waiting = list(roots)
        while waiting and len(found) < at_most:
            thing = waiting.pop()
            if id(thing) not in found and not self._is_value(thing):
                found[id(thing)] = thing
                waiting += self._parts(thing)
        return found

    def _leading_to_state(self) -> set[int]:
        """The identities of the objects to copy: those with state, and those that lead to them."""
        parents: dict[int, list[int]] = {}
        for key, thing in self._found.items():
            for part in self._parts(thing):
                parents.setdefault(id(part), []).append(key)
        waiting = [key for key, thing in self._found.items() if _has_state(thing)]
        copied: set[int] = set()
        while waiting:
            key = waiting.pop()
            if key not in copied:
                copied.add(key)
                waiting += parents.get(key, ())
        return copied

    def _is_value(self, thing: object) -> bool:
        """Whether an object counts as a value, which is shared whatever it contains."""
        if isinstance(thing, _VALUES) and not isinstance(thing, _VARIABLES):
            return True
        if isinstance(thing, keras.KerasTensor):
            history = getattr(thing, "_keras_history", None)
            return history is None or id(history.operation) not in self._operations
        module = type(thing).__module__
        if isinstance(thing, _TRAVERSED) or module.startswith("tensorflow.python.trackable."):
            return False
        return module.partition(".")[0] in _OPAQUE_PACKAGES

    def _parts(self, thing: object) -> list[object]:
        """The objects directly inside an object."""
        if isinstance(thing, tf.Variable | np.ndarray):
            return []
        if isinstance(thing, _REFUSED):
            raise ConfigError(f"it holds a {type(thing).__name__}, which refers to variables by name")
        if isinstance(thing, dict):
            parts = [*thing.keys(), *thing.values()]
        elif isinstance(thing, list | tuple | set | frozenset | collections.deque):
            parts = list(thing)
        elif isinstance(thing, types.FunctionType):
            parts = [*(thing.__closure__ or ()), thing.__defaults__, thing.__kwdefaults__]
        elif isinstance(thing, types.CellType):
            return [] if _is_empty(thing) else [thing.cell_contents]
        elif isinstance(thing, types.MethodType):
            return [thing.__self__, thing.__func__]
        elif isinstance(thing, functools.partial):
            parts = [thing.func, thing.args, thing.keywords]
        elif isinstance(thing, weakref.ReferenceType):
            return [thing()]
        elif isinstance(thing, _Function):
            return [_python_function(thing)]
        else:
            parts = []
        return parts + [value for _, value in self._attributes(thing)]

    def _attributes(self, thing: object) -> Iterator[tuple[str, object]]:
        """The attributes of an object, without traced functions and the graphs of other models."""
        if isinstance(thing, _CONTAINERS) and not issubclass(type(thing), _CONTAINERS):
            return  # a proxy by which TensorFlow tracks a container; its attributes are not the container's
        for name, value in [*vars(thing).items()] if hasattr(thing, "__dict__") else []:
            if name in _NODES and isinstance(thing, keras.Operation):
                value = self._nodes(thing, value)
            elif name in TRACED and isinstance(thing, keras.Model):
                value = None
            yield name, value
        for kind in type(thing).__mro__:
            slots = vars(kind).get("__slots__", ())
            for name in [slots] if isinstance(slots, str) else slots:
                if name.startswith("__") and not name.endswith("__"):
                    name = f"_{kind.__name__.lstrip('_')}{name}"
                if name not in ("__dict__", "__weakref__") and hasattr(thing, name):
                    yield name, getattr(thing, name)

    def _nodes(self, operation: object, nodes: list) -> list:
        """The calls of a layer, if they belong to a graph that is copied."""
        return nodes if id(operation) in self._operations else []

    def _copy_of(self, thing: Any) -> Any:
        """The copy of an object, to be filled later; or the object itself if it is shared."""
        if id(thing) in self._new:
            return self._new[id(thing)]
        if isinstance(thing, tuple | frozenset):
            return self._tuple(thing)
        if type(thing) is np.ndarray and thing.dtype != object:
            return self._new.setdefault(id(thing), thing.copy())
        if id(thing) not in self._copied and not isinstance(thing, _CONTAINERS):
            return thing
        if self._is_value(thing):
            return thing
        new = self._empty(thing)
        self._new[id(thing)] = new
        if new is not thing and not isinstance(thing, tf.Variable | types.MethodType | weakref.ReferenceType):
            self._unfilled.append((thing, new))
        return new

    def _tuple(self, thing: tuple | frozenset) -> object:
        items = [self._copy_of(item) for item in thing]
        if all(new is old for new, old in zip(items, thing, strict=True)):
            return thing
        if isinstance(thing, tuple):
            proxy = not issubclass(type(thing), tuple)
            return type(thing)(tuple(items)) if proxy else tuple.__new__(type(thing), items)
        return type(thing)(items)

    def _empty(self, thing: Any) -> Any:
        """A new object of the same class, without its contents."""
        kind = type(thing)
        if isinstance(thing, tf.Variable):
            if thing.shape.is_fully_defined():
                return copy.deepcopy(thing)
            name = thing.name.partition(":")[0]
            return tf.Variable(thing.read_value(), thing.trainable, name=name, shape=thing.shape)
        if isinstance(thing, _Table):
            table = kind(thing.key_dtype, thing.value_dtype, thing._default_value)
            table.insert(*thing.export())
            self._new[id(thing)] = table
            return table
        if isinstance(thing, types.FunctionType):
            cells = tuple(self._copy_of(cell) for cell in thing.__closure__ or ())
            return types.FunctionType(
                thing.__code__, thing.__globals__, thing.__name__, self._copy_of(thing.__defaults__), cells
            )
        if isinstance(thing, types.CellType):
            return types.CellType()
        if isinstance(thing, types.MethodType):
            return types.MethodType(self._copy_of(thing.__func__), self._copy_of(thing.__self__))
        if isinstance(thing, functools.partial):
            arguments = self._copy_of(thing.args)
            keywords = {name: self._copy_of(value) for name, value in thing.keywords.items()}
            return kind(self._copy_of(thing.func), *arguments, **keywords)
        if isinstance(thing, weakref.ReferenceType):
            return weakref.ref(self._copy_of(thing()))
        if isinstance(thing, _Function):
            return thing._clone(self._copy_of(_python_function(thing)))
        if isinstance(thing, collections.deque):
            return kind((), thing.maxlen)
        bases: tuple[Any, ...] = (dict, list, set)
        for base in bases:
            if isinstance(thing, base):
                return base.__new__(kind) if issubclass(kind, base) else kind(base())
        try:
            return object.__new__(kind)
        except TypeError as error:
            raise ConfigError(f"it holds a {class_name(kind)}") from error

    def _fill(self, old: Any, new: Any) -> None:
        """Gives a new object the copied contents and attributes of the old one."""
        if isinstance(old, types.CellType):
            if not _is_empty(old):
                new.cell_contents = self._copy_of(old.cell_contents)
            return
        if isinstance(old, _Function | _Table | functools.partial):
            return
        if isinstance(old, dict):
            items = [(self._copy_of(key), self._copy_of(value)) for key, value in old.items()]
            if isinstance(old, collections.defaultdict):
                new.default_factory = self._copy_of(old.default_factory)
            self._containers.append((old, new, items))
        elif isinstance(old, _CONTAINERS):
            self._containers.append((old, new, [self._copy_of(item) for item in old]))
        elif isinstance(old, types.FunctionType):
            new.__kwdefaults__ = self._copy_of(old.__kwdefaults__)
            for name in ("__module__", "__qualname__", "__doc__", "__annotations__"):
                setattr(new, name, getattr(old, name))
        for name, value in self._attributes(old):
            if isinstance(getattr(new, "__dict__", None), dict) and name in vars(old):
                new.__dict__[name] = self._copy_of(value)
            else:
                object.__setattr__(new, name, self._copy_of(value))

    def _insert(self, new: Any, items: list, variables: dict[str, str]) -> None:
        """Fills a dictionary, list or set, bypassing the methods of its own class.

        Args:
            new: the dictionary, list or set.
            items: its contents.
            variables: the ids by which an optimizer's tables refer to variables, and those of their copies.
        """
        if isinstance(new, dict):
            bases: tuple[Any, ...] = (collections.OrderedDict, dict)
            base = next((base for base in bases if issubclass(type(new), base)), type(new))
            for key, value in items:
                base.__setitem__(new, self._renamed(key, variables), value)
        elif isinstance(new, set):
            set.update(new, [self._renamed(item, variables) for item in items])
        elif isinstance(new, list):
            list.extend(new, items)
        else:
            new.extend(items)

    def _renamed(self, key: object, variables: dict[str, str]) -> object:
        """A key. Keras' tables have identities of objects as keys; they become those of the copies."""
        if type(key) is int and key in self._new:
            return id(self._new[key])
        if type(key) is str and (match := re.fullmatch(r"(\d+)(_ib-\d+)", key)):
            old = int(match[1])
            return f"{id(self._new[old])}{match[2]}" if old in self._new else key
        return variables.get(key, key) if type(key) is str else key


def _has_state(thing: object) -> bool:
    """Whether an object has state of its own, which must be copied."""
    if isinstance(thing, (*_VARIABLES, _Table)):
        return True
    kind = type(thing)
    if isinstance(thing, _SHARED) and not kind.__module__.endswith("compile_utils"):
        return False
    stateful = (keras.Operation, keras.metrics.Metric, keras.optimizers.Optimizer)
    return isinstance(thing, stateful) or kind.__module__.partition(".")[0] == "keras"


def _is_optimizer(thing: object) -> bool:
    return isinstance(thing, keras.optimizers.Optimizer)


def _is_empty(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is cell
    except ValueError:
        return True


def _python_function(function: object) -> Callable[..., object]:
    python = getattr(function, "python_function", None)
    if not isinstance(python, types.FunctionType | types.MethodType | functools.partial):
        raise ConfigError("it holds a function of a SavedModel")
    return python
