"""The networks of a run, for exports."""

from __future__ import annotations

import keras

from ostinato.acceleration.accelerate import recurrent_layers
from ostinato.cells.engine_layer import EngineLayer
from ostinato.engines.gate import plain_gates
from ostinato.errors import ExportError
from ostinato.exports.network import Function, Input, Network, Tensors, floating, prepare
from ostinato.runs.trained import TrainedRun
from ostinato.tasks.exported import Exported, Exports


def networks_of(run: TrainedRun, *, operators: bool) -> list[Network]:
    """The parts of a run's network, the main one first.

    Args:
        run: which nobody else uses: its layers change their engines.
        operators: as for `network_of`.

    Raises:
        ExportError: runs of this task cannot be exported.
    """
    if not isinstance(run.use, Exports):
        raise ExportError(
            f"a {run.directory.task} run cannot be exported yet; language models, classifiers and "
            "translators can"
        )
    loops = prepare(run.model, operators=operators)
    return [_network(run, part, loops) for part in run.use.exported()]


def _network(run: TrainedRun, part: Exported, loops: dict[str, str]) -> Network:
    return Network(
        name="_".join(filter(None, (run.directory.task.replace("-", "_"), part.part))),
        inputs=tuple(
            Input(each.name, each.shape, each.dtype, each.ids, axis=each.axis) for each in part.inputs
        ),
        states=part.states,
        outputs=part.outputs,
        run=_plainly(part.run),
        reference=_by_keras(run.model, part.run),
        loops=loops,
        metadata=part.metadata,
        tracked=run.model,
        part=part.part,
        variables=floating(run.model),
    )


def _plainly(run: Function) -> Function:
    """A function without ops of the engine but those of recurrent layers."""

    def plain(inputs: Tensors, states: Tensors) -> tuple[list, list]:
        with plain_gates():
            return run(inputs, states)

    return plain


def _by_keras(model: keras.Model, run: Function) -> Function:
    """A function that runs in Keras' own loop, whatever runs otherwise."""

    def reference(inputs: Tensors, states: Tensors) -> tuple[list, list]:
        layers = [layer for _, layer in recurrent_layers(model) if isinstance(layer, EngineLayer)]
        before = [layer.engine for layer in layers]
        for layer in layers:
            layer.engine = "keras"
        try:
            return run(inputs, states)
        finally:
            for layer, engine in zip(layers, before, strict=True):
                layer.engine = engine

    return reference
