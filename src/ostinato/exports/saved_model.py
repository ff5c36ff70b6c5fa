"""TensorFlow SavedModels that load where ostinato is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from ostinato.errors import ExportError
from ostinato.exports.draws import TOLERANCE, agreement
from ostinato.exports.network import Network
from ostinato.exports.report import Report
from ostinato.exports.specs import described, input_specs, state_specs


def write(network: Network, path: Path, options: dict[str, Any]) -> Report:
    """Writes a SavedModel with the signature `serve`, and `step` if there are states; see `export`."""
    batch, time = options["batch"], options["time"]
    module, signatures = traced(network, batch=batch, time=time)
    tf.saved_model.save(module, str(path), signatures=signatures)
    largest, more = None, ()
    if options["check"]:
        loaded = tf.saved_model.load(str(path))
        largest, more = agreement(
            network, runner(network, loaded), batch=batch, time=time, tolerance=TOLERANCE
        )
    return Report(
        path=str(path),
        format="saved_model",
        **described(network, batch, time),
        notes=(*network.notes, *more, f"signatures: {', '.join(signatures)}"),
        largest_difference=largest,
        checked=options["check"],
        unchecked="" if options["check"] else "check=False",
    )


def traced(network: Network, *, batch: int | None, time: int | None) -> tuple[tf.Module, dict[str, Any]]:
    """The functions of a network, and the module that holds its variables.

    `serve` begins with zeros, or as the states begin; `step` is given the states and gives the next ones.
    """
    inputs, states = input_specs(network, batch, time), state_specs(network, batch)
    count = len(inputs)

    def serve(*given: tf.Tensor) -> dict[str, tf.Tensor]:
        start = [state.initial(tf.shape(given[0])[0]) for state in network.states]
        found, _ = network.run(given, start)
        return dict(zip(network.outputs, map(tf.identity, found), strict=True))

    def step(*given: tf.Tensor) -> dict[str, tf.Tensor]:
        found, after = network.run(given[:count], given[count:])
        names = network.results
        return dict(zip(names, map(tf.identity, (*found, *after)), strict=True))

    module = tf.Module()
    module.weights = [variable.value for variable in network.tracked.variables]
    signatures = {"serve": tf.function(serve).get_concrete_function(*inputs)}
    if states:
        signatures["step"] = tf.function(step).get_concrete_function(*inputs, *states)
    for function in signatures.values():
        graph = function.graph.as_graph_def()
        nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
        if own := sorted({node.op for node in nodes if node.op.startswith("Ostinato")}):
            raise ExportError(f"{', '.join(own)} would need ostinato where the file is used")
    return module, signatures


def runner(network: Network, loaded: Any) -> Any:
    """A function that runs a loaded SavedModel."""
    function = loaded.signatures["step" if network.states else "serve"]
    names = network.given

    def run(inputs: list, states: list) -> tuple[list, list]:
        given = dict(zip(names, map(tf.constant, (*inputs, *states)), strict=True))
        found = function(**given)
        return (
            [found[name].numpy() for name in network.outputs],
            [found[f"{state.name}_out"].numpy() for state in network.states],
        )

    return run
