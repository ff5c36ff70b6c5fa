"""Cells as they are: one step traced from `Cell.step`, its cost, and a drawing of it.

The step runs once, symbolically, with its parameters by their names. What TensorFlow records is the
equations' own data flow; reshapes and the like are left out, and a parameter is written into the operation
that reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

if TYPE_CHECKING:
    from ostinato.cells.base import Cell

_SIGNS = {
    **{"MatMul": "·", "AddV2": "+", "Add": "+", "AddN": "+", "BiasAdd": "+", "Sub": "−", "Mul": "⊙"},
    **{"RealDiv": "÷", "Sigmoid": "σ", "Tanh": "tanh", "Relu": "relu", "Softplus": "softplus", "Exp": "exp"},
    **{"Sqrt": "√", "Expm1": "exp − 1", "Neg": "−", "Cos": "cos", "Sin": "sin", "SelectV2": "choose"},
    **{"BatchMatMulV2": "·", "Maximum": "max", "Minimum": "min", "Abs": "| |"},
}
_SCOPES = ("n", "silu")
"""Name scopes that are drawn as one operation: a normalisation, and an activation."""
_PRODUCTS = ("MatMul", "BatchMatMulV2")


class Node(NamedTuple):
    """An operation, an input or an output of a step.

    Attributes:
        label: what is written on it.
        inputs: the numbers of the nodes that it reads.
        kind: "input", "product", "gate", "other" or "output".
    """

    label: str
    inputs: tuple[int, ...]
    kind: str


class Traced(NamedTuple):
    """A step.

    Attributes:
        nodes: in an order in which each comes after what it reads.
        multiplications: of products, for one row.
    """

    nodes: list[Node]
    multiplications: int


def traced(cell: Cell, units: int = 4, features: int | None = None) -> Traced:
    """One step of a cell, which must have a `step` and `params`."""
    features = units if features is None else features
    layer: Any = cell.layer(units)
    layer.build((None, None, features))
    if cell.step is None or cell.params is None:
        raise LookupError(f"the cell {cell.name} has no step in plain TensorFlow")
    parameters = cell.params(layer)
    tensors = {name: each for name, each in parameters._asdict().items() if tf.is_tensor(each)}
    specs = {name: tf.TensorSpec(each.shape, each.dtype, name=name) for name, each in tensors.items()}
    sizes = layer.state_size if isinstance(layer.state_size, list | tuple) else [layer.state_size]
    names = [spec.name for spec in cell.states]
    states = [tf.TensorSpec((1, size), name=f"state_{name}") for name, size in zip(names, sizes, strict=True)]
    step: Any = cell.step

    def run(x: tf.Tensor, state: list[tf.Tensor], given: Mapping[str, tf.Tensor]) -> Any:
        return step(x, tuple(state), parameters._replace(**given))

    graph = tf.function(run, autograph=False).get_concrete_function(
        tf.TensorSpec((1, features), name="x"), states, specs
    )
    output, *after = graph.outputs
    return _Reader(graph.graph, names).read(output, after)


class _Reader:
    """Makes nodes of a graph."""

    def __init__(self, graph: Any, states: Iterable[str]):
        self._parameters: dict[str, str] = {}
        self._nodes: list[Node] = []
        self._made: dict[str, int] = {}
        self._multiplications = 0
        for op in graph.get_operations():
            if op.type == "Placeholder" and op.name != "x" and not op.name.startswith("state_"):
                self._parameters[op.name] = re.sub(r"^given_", "", op.name)
        self._states = tuple(states)

    def read(self, output: tf.Tensor, after: list[tf.Tensor]) -> Traced:
        ends = {f"{name}'": tensor for name, tensor in zip(self._states, after, strict=True)}
        found = {label: self._of(tensor.op) for label, tensor in ends.items()}
        of_output = self._of(output.op)
        if of_output not in found.values():
            found["y"] = of_output
        for label, node in found.items():
            self._nodes.append(Node(label, () if node is None else (node,), "output"))
        return Traced(self._nodes, self._multiplications)

    def _of(self, op: Any) -> int | None:
        """The node of an operation; None where it is a parameter or a constant."""
        scope = re.search(rf"(?:^|/)((?:{'|'.join(_SCOPES)})(?:_\d+)?)/", op.name)
        key = scope[1] if scope else op.name
        if key not in self._made:
            number = self._inside(op, key) if scope else self._new(op)
            if number is None:
                return None
            self._made[key] = number
        return self._made[key]

    def _inside(self, op: Any, key: str) -> int | None:
        """The node of a name scope: what its operations read from outside."""
        read, waiting, seen = [], [op], set()
        while waiting:
            each = waiting.pop()
            if each.name in seen:
                continue
            seen.add(each.name)
            if f"/{key}/" in f"/{each.name}":
                waiting += [tensor.op for tensor in each.inputs]
            else:
                read.append(each)
        inputs = {self._of(each) for each in read} - {None}
        gains = [self._parameters[each.name] for each in read if each.name in self._parameters]
        return self._add(" ".join([key.partition("_")[0], *sorted(gains)]), inputs, "other")

    def _add(self, label: str, inputs: Iterable[int | None], kind: str) -> int:
        self._nodes.append(Node(label, tuple(sorted(each for each in inputs if each is not None)), kind))
        return len(self._nodes) - 1

    def _new(self, op: Any) -> int | None:
        if op.type == "Placeholder":
            if op.name in self._parameters:
                return None
            return self._add(op.name.removeprefix("state_"), (), "input")
        read = [tensor.op for tensor in op.inputs]
        if op.type in _PRODUCTS:
            left = op.inputs[0].shape
            transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
            self._multiplications += op.outputs[0].shape.num_elements() * left[-2 if transposed else -1]
        inputs = [self._of(each) for each in read]
        known = [each for each in inputs if each is not None]
        sign = _SIGNS.get(op.type)
        if sign is None or not known:  # a reshape, a split, …; or an operation on parameters alone
            return (
                known[0] if len(set(known)) == 1 else (self._add("join", known, "other") if known else None)
            )
        names = [self._name_of(each) for each, node in zip(read, inputs, strict=True) if node is None]
        label = " ".join([sign, *(name for name in names if name)])
        if op.type == "Sub" and inputs[0] is None:
            label = "1 −"
        kind = (
            "product"
            if op.type in _PRODUCTS
            else "gate"
            if op.type in ("Sigmoid", "Tanh", "Relu")
            else "other"
        )
        return self._add(label, known, kind)

    def _name_of(self, op: Any) -> str:
        """The parameters that an operation is made of."""
        if op.name in self._parameters:
            return self._parameters[op.name]
        return next(filter(None, (self._name_of(tensor.op) for tensor in op.inputs)), "")


def draw(cell: Cell, path: Path) -> None:
    """Draws one step of a cell into an image, from its inputs at the left to the next state at the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    nodes = traced(cell).nodes
    places = _places(nodes)
    wide, high = max(x for x, _ in places) + 1, max(y for _, y in places) + 1
    figure, axes = pyplot.subplots(figsize=(1.05 * wide + 0.3, 0.62 * high + 0.3))
    colours = {
        "input": "#dbe9f6",
        "output": "#dbe9f6",
        "product": "#fde3c8",
        "gate": "#dff0d8",
        "other": "white",
    }
    for number, node in enumerate(nodes):
        x, y = places[number]
        for read in node.inputs:
            axes.annotate(
                "",
                xy=(x - 0.36, y),
                xytext=(places[read][0] + 0.36, places[read][1]),
                arrowprops={"arrowstyle": "-|>", "color": "#888888", "lw": 0.8, "shrinkA": 0, "shrinkB": 0},
            )
        axes.text(
            *(x, y, node.label),
            ha="center",
            va="center",
            fontsize=9,
            bbox={"boxstyle": "round,pad=0.25", "fc": colours[node.kind], "ec": "#555555", "lw": 0.8},
        )
    axes.set_xlim(-0.6, wide - 0.4)
    axes.set_ylim(high - 0.4, -0.6)
    axes.axis("off")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None}, dpi=110)
    pyplot.close(figure)


def _places(nodes: list[Node]) -> list[tuple[float, float]]:
    """(column, row) of each node: one column behind the last that it reads, near what it reads."""
    columns: list[int] = []
    for node in nodes:
        columns.append(1 + max((columns[read] for read in node.inputs), default=-1))
    last = max(columns)
    columns = [last if node.kind == "output" else column for node, column in zip(nodes, columns, strict=True)]
    rows = [0.0] * len(nodes)
    for column in range(last + 1):
        here = [number for number, at in enumerate(columns) if at == column]

        def wanted(number: int) -> float:
            read = nodes[number].inputs
            return sum(rows[each] for each in read) / len(read) if read else float(number)

        here.sort(key=wanted)
        row = 0.0
        for at, number in enumerate(here):
            row = max(row, wanted(number) if nodes[number].inputs else float(at))
            rows[number] = row
            row += 1.0
    return [(float(column), row) for column, row in zip(columns, rows, strict=True)]
