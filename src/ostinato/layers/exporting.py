"""Exports of models that run on the native engine, refused before anything is written.

An export is for other programs, and those do not have the engine's ops. What `tf.saved_model.save` writes is
for TensorFlow with ostinato beside it, and is let alone.
"""

import functools
import sys
from typing import Any

import keras
import tensorflow as tf

from ostinato.errors import EngineError


def refuse_tf2onnx() -> None:
    """To be called before an op of the native engine is traced, since tf2onnx writes any op that it is given.

    Raises:
        EngineError: the op is traced for tf2onnx.
    """
    if not tf.executing_eagerly() and _is_called_from("tf2onnx."):
        raise _refusal()


def _is_called_from(package: str) -> bool:
    frame = sys._getframe(1)
    while frame is not None:
        if f"{frame.f_globals.get('__name__')}".startswith(package):
            return True
        frame = frame.f_back
    return False


def _refusal() -> EngineError:
    error: Any = EngineError(
        "A model that runs on the native engine cannot be exported, since no other program has the engine's "
        "ops; export its copy with Keras' own layers: ostinato.restore(model).export(path)."
    )
    # Keras and TensorFlow would wrap the sentence in many lines about who called whom with what.
    error._keras_call_info_injected = error.ag_pass_through = True
    return error


def _check(archive: Any) -> None:
    """Refuses an archive of Keras' with a function that leads to an op of the native engine."""
    if _is_called_from("tensorflow.lite."):
        return  # LiteRT's converter passes over all errors here, and then names the ops that it lacks itself
    functions = [getattr(archive._tf_trackable, name) for name in archive._endpoint_names]
    for traced in [traced for function in functions for traced in function._list_all_concrete_functions()]:
        graph = traced.graph.as_graph_def()
        nodes = [graph.node, *(inner.node_def for inner in graph.library.function)]
        if any(node.op.startswith("Ostinato") for part in nodes for node in part):
            raise _refusal()


def _watch_archives() -> None:
    """Has Keras' archives checked.

    All exports of Keras' make an archive and go on from this method of it, which traces what is not traced:
    nothing is written yet. A layer cannot refuse by itself what was traced earlier, as in a `call` that is a
    `tf.function`; only the graphs show it.
    """
    kind: Any = type(keras.export.ExportArchive())
    trace = getattr(kind, "_filter_and_track_resources", None)
    if trace is None:
        return

    @functools.wraps(trace)
    def _filter_and_track_resources(archive: Any) -> None:
        trace(archive)
        _check(archive)

    kind._filter_and_track_resources = _filter_and_track_resources


_watch_archives()
