"""Exports of models that run on the native engine, refused before anything is written.

An export is for other programs, which do not have the engine's ops. What `tf.saved_model.save` writes is for
TensorFlow with ostinato installed, and is allowed.
"""

import functools
import sys

import keras
import tensorflow as tf

from ostinato.errors import EngineError, OstinatoError, unwrapped


def refuse_tf2onnx() -> None:
    """To be called before an op of the native engine is traced, because tf2onnx writes any op it is given.

    Raises:
        EngineError: tf2onnx is tracing the op.
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


def _refusal() -> OstinatoError:
    return unwrapped(
        EngineError(
            "a model that runs on the native engine cannot be exported, since no other program has the "
            "engine's ops; use ostinato.export(model, path), or export a copy with Keras' own layers: "
            "ostinato.to_keras(model).export(path)"
        )
    )


def _check(archive: keras.export.ExportArchive) -> None:
    """Refuses an archive with a function that uses an op of the native engine."""
    if _is_called_from("tensorflow.lite."):
        return  # LiteRT's converter ignores all errors here and then names the missing ops itself
    functions = [getattr(archive._tf_trackable, name) for name in archive._endpoint_names]
    for traced in [traced for function in functions for traced in function._list_all_concrete_functions()]:
        graph = traced.graph.as_graph_def()
        nodes = [graph.node, *(inner.node_def for inner in graph.library.function)]
        if any(node.op.startswith("Ostinato") for part in nodes for node in part):
            raise _refusal()


def _watch_archives() -> None:
    """Makes Keras check each archive.

    Every export of Keras makes an archive and calls this method of it, which traces what is not traced yet;
    nothing is written before. A layer alone could not refuse functions that were traced earlier, for example
    a `call` that is a `tf.function`: only the graphs show them.
    """
    kind = type(keras.export.ExportArchive())
    trace = getattr(kind, "_filter_and_track_resources", None)
    if trace is None:
        return

    @functools.wraps(trace)
    def _filter_and_track_resources(archive: keras.export.ExportArchive) -> None:
        trace(archive)
        _check(archive)

    kind._filter_and_track_resources = _filter_and_track_resources


_watch_archives()
