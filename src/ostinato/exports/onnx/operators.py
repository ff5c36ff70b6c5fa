"""ONNX's LSTM, GRU and RNN in place of the native engine's ops, for tf2onnx.

An op of the engine reads x (batch, time, features), or token ids; ONNX's operators read (time, batch,
features). They have no mask: the steps that count are moved to the front of each row, the operator is told
how many there are, and its outputs are moved back. A row without any keeps its state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from tf2onnx.handler import tf_op

from ostinato.cells.base import OnnxForm
from ostinato.engines.facts import cells

_NAMES = {
    "elu": ("Elu", 1.0, None),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "keras2_hard_sigmoid": ("HardSigmoid", 0.2, 0.5),
    "linear": ("Affine", 1.0, 0.0),
    "relu": ("Relu", None, None),
    "sigmoid": ("Sigmoid", None, None),
    "softsign": ("Softsign", None, None),
    "tanh": ("Tanh", None, None),
}
"""ONNX's names of activations, with alpha and beta where they have one."""
_DEFAULTS = {"activation": "tanh", "recurrent_activation": "sigmoid"}


class _Graph:
    """Makes nodes of tf2onnx's graph."""

    def __init__(self, graph: Any):
        self.graph = graph

    def make(self, operator: str, *inputs: str, count: int = 1, **attributes: Any) -> list[str]:
        """The names of a node's outputs."""
        node = self.graph.make_node(operator, list(inputs), attr=attributes, output_count=count)
        return list(node.output)

    def one(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The name of a node's only output."""
        return self.make(operator, *inputs, **attributes)[0]

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        return self.graph.make_const(_name(), np.asarray(value, dtype)).output[0]

    def axis(self, operator: str, tensor: str, axis: int) -> str:
        """Squeeze or Unsqueeze of an axis."""
        return self.one(operator, tensor, self.constant([axis]))

    def reversed(self, tensor: str) -> str:
        """With the steps of the second axis in the opposite order."""
        last, before_first = self.constant([-1]), self.constant([np.iinfo(np.int64).min])
        return self.one("Slice", tensor, last, before_first, self.constant([1]), last)

    def chosen(self, tensor: str, steps: str) -> str:
        """Of each row the steps (batch, time), in this order."""
        return self.one("GatherND", tensor, self.axis("Unsqueeze", steps, 2), batch_dims=1)


_counter = iter(range(10**9))


def _name() -> str:
    return f"ostinato_constant_{next(_counter)}"


class _Mask:
    """How valid steps are moved to the front and back."""

    def __init__(self, graph: _Graph, mask: str, *, zeros: bool):
        g, self.graph = graph, graph
        counted = g.one("Cast", mask, to=7)
        time = g.one("Slice", g.one("Shape", mask), g.constant([1]), g.constant([2]))
        self.length = g.one("ReduceSum", counted, g.constant([1]), keepdims=0)
        steps = g.one("Range", g.constant(0), g.axis("Squeeze", time, 0), g.constant(1))  # (time,)
        keys = g.one("Add", g.one("Mul", counted, time), g.one("Sub", time, steps))
        self.order = g.make("TopK", keys, time, count=2, axis=1, largest=1, sorted=1)[1]
        before = g.one("CumSum", counted, g.constant(1))
        self.place = g.one("Max", g.one("Sub", before, g.constant(1)), g.constant(0))
        # Where an output is zero: at masked steps, or before the first valid one.
        self.shown = mask if zeros else g.one("Greater", before, g.constant(0))
        self.any = g.one("Greater", self.length, g.constant(0))

    def lengths(self) -> str:
        """For the operator, which must read a step of every row."""
        return self.graph.one("Cast", self.graph.one("Max", self.length, self.graph.constant(1)), to=6)

    def back(self, outputs: str) -> str:
        """The outputs (batch, time, units) at their own steps, repeated or zero at masked ones."""
        g = self.graph
        shown = g.axis("Unsqueeze", self.shown, 2)
        return g.one("Where", shown, g.chosen(outputs, self.place), g.constant(0, np.float32))

    def last(self, output: str) -> str:
        """The last output, (batch, 1, units), from that of the last valid step, (batch, units)."""
        g = self.graph
        end = g.constant([-1])
        shown = g.one("Slice", self.shown, end, g.constant([np.iinfo(np.int64).max]), g.constant([1]))
        return g.one(
            "Where", g.axis("Unsqueeze", shown, 2), g.axis("Unsqueeze", output, 1), g.constant(0, np.float32)
        )

    def kept(self, state: str, start: str | None) -> str:
        """A final state (batch, units); a row without valid steps keeps its own."""
        g = self.graph
        return g.one("Where", g.axis("Unsqueeze", self.any, 1), state, start or g.constant(0, np.float32))


@tf_op([f"Ostinato{kind}V{version}" for kind in ("Lstm", "Gru", "Rnn") for version in (1, 2)])
class Recurrence:
    """What tf2onnx calls for an op of the engine."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        kind = node.type.removeprefix("Ostinato")[:-2]
        cell = next(cell for cell in cells() if getattr(cell.native, "name", None) == f"Ostinato{kind}")
        assert cell.onnx is not None
        g, count = _Graph(ctx), len(cell.states)
        x, *rest = node.input
        starts, (kernel, recurrent, bias, mask) = rest[:count], rest[count : count + 4]
        if any(_array(g, each).size for each in rest[count + 4 :]):
            raise ValueError("dropout is not exported")
        resets_after = node.get_attr("reset_after")
        attributes = {} if resets_after is None else {"linear_before_reset": resets_after.i}
        arrays = (_array(g, kernel), _array(g, recurrent), _array(g, bias))
        weights = _weights(g, cell.onnx, cell.gates, arrays)
        _convert(g, node, cell.onnx, _Read(x, starts, mask, len(arrays[0])), weights, [], attributes)


@tf_op("OstinatoRowwiseV1")
class WithOptions:
    """The same for the LSTM's options that ONNX's operator has: peepholes and coupled gates.

    ONNX's coupled gates are f = 1 − i, ours i = 1 − f: its gate i has our weights of f, negated.
    """

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        g = _Graph(ctx)
        cell = next(cell for cell in cells() if cell.name.encode() == node.get_attr("cell").s)
        assert cell.onnx is not None
        x, h, c, kernel, recurrent, _, bias, vectors, _, mask = node.input
        arrays = [_array(g, each) for each in (kernel, recurrent, bias)]
        units, coupled = len(arrays[1]), bool(_attribute(node, "coupled", 0))
        peepholes = _array(g, vectors)
        if coupled:
            arrays = [_uncoupled(each, units) for each in arrays]
            peepholes = _uncoupled(peepholes, units)
        kernel, recurrent, bias = arrays
        weights = _weights(g, cell.onnx, cell.gates, (kernel, recurrent, bias))
        last = []
        if peepholes.size:
            of_i, of_f, of_o = np.split(peepholes, 3)
            last = [g.constant(np.concatenate([of_i, of_o, of_f])[None], np.float32)]
        read = _Read(x, [h, c], mask, len(kernel))
        _convert(g, node, cell.onnx, read, weights, last, {"input_forget": 1} if coupled else {})


def _uncoupled(weights: np.ndarray, units: int) -> np.ndarray:
    """The weights of the gates f, …, over the last axis, as those of i, f, … with i = −f and no f."""
    of_f = weights[..., :units]
    return np.concatenate([-of_f, np.zeros_like(of_f), weights[..., units:]], -1)


class _Read(NamedTuple):
    """What an op reads at every step and first: x, its states and its mask, and how many features x has."""

    x: str
    starts: list[str]
    mask: str
    features: int


def _convert(
    g: _Graph,
    node: Any,
    form: OnnxForm,
    read: _Read,
    weights: list[str],
    last: list[str],
    attributes: dict[str, Any],
) -> None:
    """Replaces a node: `weights` are W, R and B of the operator, `last` is P."""
    (x, starts, mask, features), count = read, len(read.starts)
    option = {name: bool(_attribute(node, name, 0)) for name in ("go_backwards", "return_sequences")}
    given = [None if _is_absent(g, start) else start for start in starts]
    is_masked = not _is_absent(g, mask)
    if g.graph.get_dtype(x) in (6, 7):  # ids
        numbers = g.constant([0, 1], np.float32)
        x = g.one("OneHot", g.one("Cast", x, to=7), g.constant(features), numbers, axis=-1)
    if option["go_backwards"]:
        x, mask = g.reversed(x), g.reversed(mask) if is_masked else mask
    masked = None
    if is_masked:
        masked = _Mask(g, mask, zeros=bool(_attribute(node, "zero_output_for_mask", 0)))
        x = g.chosen(x, masked.order)
    inputs = [
        g.one("Transpose", x, perm=[1, 0, 2]),
        *weights,
        masked.lengths() if masked is not None else "",
        *["" if start is None else g.axis("Unsqueeze", start, 0) for start in given],
        *last,
    ]
    while inputs[-1] == "":
        inputs.pop()
    units = g.graph.get_shape(weights[1])[-1]
    attributes = attributes | _activations(node, form) | {"hidden_size": units}
    y, *after = g.make(form.kind, *inputs, count=1 + count, **attributes)
    after = [g.axis("Squeeze", state, 0) for state in after]
    if option["return_sequences"]:
        outputs = g.one("Transpose", g.axis("Squeeze", y, 1), perm=[1, 0, 2])
        outputs = masked.back(outputs) if masked is not None else outputs
    else:
        outputs = masked.last(after[0]) if masked is not None else g.axis("Unsqueeze", after[0], 1)
    if masked is not None:
        after = [masked.kept(state, start) for state, start in zip(after, given, strict=True)]
    _replace(g, node, [outputs, *after])


def _replace(g: _Graph, node: Any, results: list[str]) -> None:
    """Puts the results in the place of a node's first outputs."""
    names = list(node.output)[: len(results)]
    shapes, dtypes = ([ask(each) for each in names] for ask in (g.graph.get_shape, g.graph.get_dtype))
    g.graph.remove_node(node.name)
    for name, found, shape, dtype in zip(names, results, shapes, dtypes, strict=True):
        g.graph.make_node("Identity", [found], outputs=[name], shapes=[shape], dtypes=[dtype])


def _attribute(node: Any, name: str, default: Any) -> Any:
    found = node.get_attr(name)
    return default if found is None else found.i


def _activations(node: Any, form: OnnxForm) -> dict[str, Any]:
    """The operator's attributes for its activations."""
    found = []
    for option in form.activations:
        attribute = node.get_attr(option)
        name = _DEFAULTS[option] if attribute is None else attribute.s.decode()
        found.append(_NAMES[name])
    alphas = [alpha for _, alpha, _ in found if alpha is not None]
    betas = [beta for _, _, beta in found if beta is not None]
    attributes: dict[str, Any] = {"activations": [name for name, _, _ in found]}
    return (
        attributes
        | ({"activation_alpha": alphas} if alphas else {})
        | ({"activation_beta": betas} if betas else {})
    )


def _weights(
    g: _Graph, form: OnnxForm, gates: tuple[str, ...], arrays: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> list[str]:
    """W, R and B of the operator."""
    kernel, recurrent, bias = arrays
    units = recurrent.shape[0]
    order = [gates.index(gate) for gate in form.gates]

    def in_order(array: np.ndarray) -> np.ndarray:
        blocks = array.reshape(*array.shape[:-1], len(gates), units)[..., order, :]
        return blocks.reshape(array.shape)

    of_x, of_h = (bias[0], bias[1]) if bias.ndim == 2 else (bias, np.zeros_like(bias))
    weights = [in_order(kernel).T[None], in_order(recurrent).T[None]]
    names = [g.constant(weight, np.float32) for weight in weights]
    if bias.size:
        names.append(g.constant(np.concatenate([in_order(of_x), in_order(of_h)])[None], np.float32))
    else:
        names.append("")
    return names


def _array(g: _Graph, name: str) -> np.ndarray:
    """A constant."""
    node = g.graph.get_node_by_output(name)
    while node.type in ("Identity", "Cast") and not node.is_const():
        node = node.inputs[0]
    if not node.is_const():
        raise ValueError(f"weights must be constants, got {name} from {node.type}")
    return node.get_tensor_value(as_list=False)


def _is_absent(g: _Graph, name: str) -> bool:
    """Whether an input stands for nothing: a constant without elements."""
    node = g.graph.get_node_by_output(name)
    return node is not None and node.is_const() and node.get_tensor_value(as_list=False).size == 0
