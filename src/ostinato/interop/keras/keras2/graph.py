"""The graph of a functional model of Keras 2: calls its layers as the nodes of the configuration say.

A call of a recurrent layer with a state stands in a file of Keras 2 as a call with several tensors, the
sequence first. Keras 3 takes the state as an argument, and forgets the mask of the sequence when it does; so
the mask becomes an argument, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src.ops.function import _build_map

from ostinato.errors import ConfigError
from ostinato.interop.keras.keras2.constants import RNNWithConstants
from ostinato.interop.keras.keras2.masks import MaskOf
from ostinato.interop.keras.keras2.operations import OperationCall
from ostinato.interop.keras.origin import JsonObject

Tensor = Any  # a keras.KerasTensor, or a structure of them
Made = keras.layers.Layer | OperationCall
MakeLayer = Callable[[JsonObject], Made]
_CONSTANT = "_CONSTANT_VALUE"  # stands in a node for an input that is a number


def input_tensor(config: JsonObject) -> Tensor:
    """The input that an InputLayer of Keras 2 describes."""
    shape = config.get("batch_input_shape", config.get("batch_shape"))
    sparse = bool(config.get("sparse"))
    return keras.Input(batch_shape=shape, dtype=config.get("dtype"), name=config.get("name"), sparse=sparse)


def functional(
    config: JsonObject,
    make_layer: MakeLayer,
    *,
    kind: type[keras.Model] = keras.Model,
    may_get_masks: bool = False,
) -> keras.Model:
    """A functional model.

    Args:
        config: its options: layers, input_layers, output_layers, name.
        make_layer: makes a layer from its entry in `layers`.
        kind: the class of the model.
        may_get_masks: whether its inputs may carry masks, as those of nested models may.

    Raises:
        ConfigError: its layers cannot be called in any order.
    """
    graph = _Graph(config, make_layer, may_get_masks)
    graph.call_all()
    inputs, outputs = (_single(graph.resolve(config[name])) for name in ("input_layers", "output_layers"))
    _rename_operations(inputs, outputs, {entry["name"] for entry in config["layers"]})
    return kind(inputs=inputs, outputs=outputs, name=config.get("name"))


def _rename_operations(inputs: Tensor, outputs: Tensor, taken: set[str]) -> None:
    """Gives the operations that compute masks other names than the layers have."""
    nodes, _ = _build_map(keras.tree.flatten(inputs), keras.tree.flatten(outputs))
    for operation in dict.fromkeys(node.operation for node in nodes):
        if not isinstance(operation, keras.layers.Layer) and operation.name in taken:
            count = next(n for n in itertools.count(1) if f"{operation.name}_of_mask_{n}" not in taken)
            operation.name = f"{operation.name}_of_mask_{count}"
            taken.add(operation.name)


class _Graph:
    """Layers by name, the calls of each that are still to come, and the outputs of those that were."""

    def __init__(self, config: JsonObject, make_layer: MakeLayer, may_get_masks: bool) -> None:
        self._may_get_masks = may_get_masks
        self._layers: dict[str, Made] = {}
        self._configs: dict[str, JsonObject] = {}
        self._waiting: dict[str, list] = {}
        self._outputs: dict[str, list[list[Tensor]]] = {entry["name"]: [] for entry in config["layers"]}
        self._first_calls: dict[str, int] = {}
        self._masks: dict[int, Tensor] = {}
        for entry in config["layers"]:
            name, options = entry["name"], entry["config"]
            if entry["class_name"] == "InputLayer":
                self._outputs[name].append([input_tensor(options)])
                continue
            self._layers[name] = make_layer(entry)
            self._configs[name] = options if isinstance(options, dict) else {}
            self._waiting[name] = list(entry["inbound_nodes"])
        # For Keras 2, making a nested model was its first call.
        for name, call, *_ in self._references(config):
            if isinstance(self._layers.get(name), keras.Model):
                known = self._first_calls.setdefault(name, call)
                self._first_calls[name] = min(call, known)

    def call_all(self) -> None:
        """Calls all layers, each as soon as its inputs are there."""
        while any(self._waiting.values()):
            called = False
            for name, nodes in self._waiting.items():
                while nodes and all(map(self._is_there, self._references(nodes[0]))):
                    self._call(name, nodes.pop(0))
                    called = True
            if not called:
                raise ConfigError("its graph has a loop, or a layer whose input is missing")

    def resolve(self, value: Any) -> Any:
        """A part of a configuration with tensors in place of the references to them."""
        if self._is_reference(value):
            return self._calls_outputs(value)[value[2]]
        if isinstance(value, list) and value[:1] == [_CONSTANT]:
            return value[2]
        if isinstance(value, dict):
            return {name: self.resolve(each) for name, each in value.items()}
        return [self.resolve(each) for each in value] if isinstance(value, list) else value

    def _is_reference(self, value: Any) -> bool:
        """Whether it names an output: [layer, number of the call, number of the tensor]."""
        return (
            isinstance(value, list)
            and len(value) in (3, 4)
            and isinstance(value[0], str)
            and value[0] in self._outputs
            and all(type(number) is int for number in value[1:3])
        )

    def _references(self, value: Any) -> Iterator[list]:
        if self._is_reference(value):
            yield value
            value = value[3:]
        if isinstance(value, dict):
            value = list(value.values())
        for each in value if isinstance(value, list) else ():
            yield from self._references(each)

    def _calls_outputs(self, reference: list) -> list[Tensor]:
        name, call = reference[:2]
        return self._outputs[name][call - self._first_calls.get(name, 0)]

    def _is_there(self, reference: list) -> bool:
        name, call = reference[:2]
        return call - self._first_calls.get(name, 0) < len(self._outputs[name])

    def _call(self, name: str, node: Any) -> None:
        """Calls a layer as a node says, and keeps its outputs."""
        layer = self._layers[name]
        first = next(iter(self._entries(node)))
        arguments = self.resolve(first[3] if len(first) > 3 else {})
        arguments = {key: value for key, value in arguments.items() if value is not None}
        tensors = _single(self.resolve(node))
        if self._configs[name].get("causal"):  # of an attention: an option in Keras 2, an argument in Keras 3
            arguments["use_causal_mask"] = True
        if isinstance(layer, keras.layers.Attention) and isinstance(tensors, list):
            masks = [self._masks.get(id(tensor)) for tensor in tensors]
            # Keras 3 takes the masks away from the tensors when it uses them.
            if any(mask is not None for mask in masks):
                arguments.setdefault("mask", masks)
        if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
            constants = self._configs[name].get("num_constants") or 0
            outputs = call_recurrent(layer, tensors, arguments, constants, self._may_get_masks)
        else:
            outputs = layer(tensors, **arguments)
        found = keras.tree.flatten(outputs)
        self._outputs[name].append(found)
        self._masks |= {id(tensor): getattr(tensor, "_keras_mask", None) for tensor in found}

    def _entries(self, node: Any) -> Iterator[list]:
        """The inputs of a node, with their arguments."""
        if self._is_reference(node) or (isinstance(node, list) and node[:1] == [_CONSTANT]):
            yield node
        else:
            for each in node.values() if isinstance(node, dict) else node:
                yield from self._entries(each)


def call_recurrent(
    layer: keras.layers.Layer,
    tensors: Tensor,
    arguments: dict[str, Any],
    constants: int,
    may_get_mask: bool,
) -> Tensor:
    """Calls a recurrent layer, or a Bidirectional, on what Keras 2 gave it.

    Args:
        layer: the layer.
        tensors: the sequence; or a list of the sequence, the states and the constants.
        arguments: other arguments, the state possibly among them.
        constants: how many of the tensors are constants.
        may_get_mask: whether the sequence may carry a mask that is not known yet.
    """
    sequence, *state = tensors if isinstance(tensors, list) else [tensors]
    if constants and not isinstance(layer, RNNWithConstants):
        raise ConfigError(
            f"the layer '{layer.name}' takes constants, which Keras 3 gives to no layer of its kind"
        )
    if constants and "constants" not in arguments:
        state, arguments["constants"] = state[:-constants], state[-constants:]
    state = keras.tree.flatten(arguments.pop("initial_state", state))
    if state:
        arguments["initial_state"] = _packed(layer, state)
    mask = getattr(sequence, "_keras_mask", None)
    if (state or constants) and mask is None and may_get_mask:
        mask = MaskOf()(sequence)
    if (state or constants) and mask is not None:
        arguments.setdefault("mask", mask)
    return layer(sequence, **arguments)


def _packed(layer: keras.layers.Layer, state: list[Tensor]) -> list[Tensor]:
    """A flat state in the structure that the layer takes; only stacked cells have another."""
    sizes = layer.state_size if isinstance(layer, keras.layers.RNN) else None
    fits = isinstance(sizes, list) and len(keras.tree.flatten(sizes)) == len(state)
    return keras.tree.pack_sequence_as(sizes, state) if fits else state


def _single(tensors: Tensor) -> Tensor:
    """The tensor of a list of one."""
    return tensors[0] if isinstance(tensors, list) and len(tensors) == 1 else tensors
