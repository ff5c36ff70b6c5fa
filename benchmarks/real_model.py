"""A worker of `benchmarks/real_models.py`: one file of a model, in a process of its own.

It answers in lines of JSON, one after each step, so that what it knew before a crash is not lost.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import os
import re
import statistics
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from peers import die_with_parent

HARD_SIGMOID, SLOPES = "hard_sigmoid", "stock with Keras 2's hard_sigmoid"
MAX_REASON = 300
# A model is wrong if outputs differ by more than this, relative to the largest of them. Where all are next to
# zero, as a single output may be, rounding is more than that.
TOLERANCE, ROUNDING = 1e-4, 1e-5

Answer = dict[str, Any]
Call = Callable[[], Any]


def writer(path: Path) -> str:
    """The version of Keras that wrote a file; empty if the file does not say."""
    if path.is_dir():
        metadata = path / "keras_metadata.pb"
        text = metadata.read_bytes().decode("latin-1") if metadata.exists() else ""
        return next(iter(re.findall(r'"keras_version": ?"([^"]+)"', text)), "")
    if path.suffix == ".json":
        return str(json.loads(path.read_text()).get("keras_version") or "")
    with contextlib.suppress(OSError, KeyError, ValueError):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                return str(json.loads(file.read("metadata.json")).get("keras_version") or "")
        import h5py

        with h5py.File(path) as file:
            return _text(file.attrs.get("keras_version", ""))
    return ""


def configuration(path: Path) -> str:
    """The text in which a file describes its model, as far as it is quick to find."""
    with contextlib.suppress(OSError, KeyError, ValueError):
        if path.suffix == ".json":
            return path.read_text()
        import h5py

        with h5py.File(path) as file:
            return _text(file.attrs.get("model_config", ""))
    return ""


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def reason(error: BaseException) -> str:
    """An exception as one line."""
    from ostinato.interop.keras.loading import describe_error

    if type(error).__module__.startswith("ostinato."):
        return str(error)
    return f"{type(error).__name__}: {describe_error(error)}"[:MAX_REASON]  # type: ignore[arg-type]


def load_stock(path: Path, weights: Path | None, *, compile: bool = True) -> Any:
    """The model as Keras alone loads it."""
    import keras

    if path.suffix != ".json":
        return keras.models.load_model(path, compile=compile)
    model = keras.models.model_from_json(path.read_text())
    if weights is not None:
        model.load_weights(weights)
    return model


def try_stock(path: Path, weights: Path | None) -> tuple[Any, str]:
    """The model that Keras alone loads, and "yes"; or None or an uncompiled model, and why."""
    try:
        return load_stock(path, weights), "yes"
    except Exception as error:  # Keras raises whatever its parts raise
        first = error
    try:
        uncompiled = load_stock(path, weights, compile=False)
    except Exception:
        return None, reason(first)
    return uncompiled, f"only with compile=False: {reason(first)}"


@contextlib.contextmanager
def hard_sigmoid_of_keras_2() -> Iterator[None]:
    """Gives the name hard_sigmoid the slope that it has in Keras 2, which Keras 3 has changed."""
    from keras.src import activations, ops

    known: dict[str, Any] = activations.ALL_OBJECTS_DICT
    before = known[HARD_SIGMOID]
    known[HARD_SIGMOID] = lambda x: ops.clip(0.2 * x + 0.5, 0.0, 1.0)
    try:
        yield
    finally:
        known[HARD_SIGMOID] = before


def reference(path: Path, weights: Path | None, stock: Any, accelerated: Any, keras_version: str) -> tuple:
    """The model of Keras' layers that ours is compared with, and where it is from."""
    import ostinato

    if stock is None:
        return ostinato.to_keras(accelerated), "to_keras"
    if HARD_SIGMOID in configuration(path) and not keras_version.startswith("3"):
        with hard_sigmoid_of_keras_2():
            return load_stock(path, weights, compile=stock.compiled), SLOPES
    return stock, "stock"


def layers_of(accelerated: Any) -> Answer:
    """How many recurrent layers there are, how many the native engine runs, and why not the others."""
    import ostinato

    rows = ostinato.report(accelerated)
    others = [row for row in rows if row.engine != "native"]
    return {
        "recurrent": len(rows),
        "native": len(rows) - len(others),
        "not_native": sorted({f"{row.kind}: {row.reason}" for row in others}),
    }


def recurrent(model: Any) -> list[Any]:
    import keras

    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN)]


def reset_states(*models: Any) -> None:
    for layer in (layer for model in models for layer in recurrent(model) if layer.stateful):
        layer.reset_state()


@contextlib.contextmanager
def calls_replaced(layers: Sequence[Any], replace: Callable[[Callable], Callable]) -> Iterator[None]:
    """Replaces the `call` of each layer by what `replace` makes of it."""
    for layer in layers:
        layer.call = functools.wraps(layer.call)(replace(layer.call))
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def rest_of_model(model: Any, x: Any) -> Call:
    """A forward pass without the recurrent layers, whose outputs it takes from an earlier pass.

    It computes their inputs too, so that nothing else of the model is left out.
    """
    import keras
    import tensorflow as tf

    layers = recurrent(model)
    structures: list[Any] = []

    def record(call: Callable) -> Callable:
        def run(*args: Any, **kwargs: Any) -> Any:
            structures.append(call(*args, **kwargs))
            return structures[-1]

        return run

    def recorded(x: Any) -> list:
        model(x, training=False)
        return [keras.tree.flatten(each) for each in structures]

    with calls_replaced(layers, record):
        outputs = tf.function(recorded)(x)

    def without(x: Any, outputs: list) -> list:
        inputs: list[Any] = []
        waiting = iter(zip(structures, outputs, strict=True))

        def answer(call: Callable) -> Callable:
            def run(*args: Any, **kwargs: Any) -> Any:
                inputs.extend(each for each in keras.tree.flatten((args, kwargs)) if tf.is_tensor(each))
                structure, flat = next(waiting)
                return keras.tree.pack_sequence_as(structure, flat)

            return run

        with calls_replaced(layers, answer):
            return [*keras.tree.flatten(model(x, training=False)), *inputs]

    rest = tf.function(without)
    rest.get_concrete_function(x, outputs)
    return lambda: rest(x, outputs)


def median_seconds(call: Call, seconds: float) -> float:
    """Runs a function for a while, after a first time that does not count; a slow one only once."""
    call()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while not times or time.perf_counter() < until:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def difference(expected: Sequence[Any], found: Sequence[Any]) -> tuple[float, float]:
    """The largest difference of outputs: absolute, and relative to the largest number of the same output."""
    import numpy as np

    from ostinato.acceleration.agreement import absolute_differences, dense_array

    largest = relative = 0.0
    for a, b in ((dense_array(a), dense_array(b)) for a, b in zip(expected, found, strict=True)):
        apart = math.inf if a.shape != b.shape else float(np.max(absolute_differences(a, b), initial=0.0))
        size = float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0))
        largest, relative = max(largest, apart), max(relative, apart / (size or 1.0))
    return largest, relative


def in_float64(model: Any) -> Any:
    """A copy of a model of Keras' layers that computes in float64."""
    config = json.loads(json.dumps(model.get_config()).replace('"float32"', '"float64"'))
    copy = type(model).from_config(config)
    copy.set_weights([weight.astype("float64") for weight in model.get_weights()])
    return copy


def distances_to_float64(theirs: Any, x: Any, outputs: dict[str, list[Any]]) -> Answer:
    """How far the outputs of each model are from those in float64, relative to the largest of them.

    Rounding grows without bounds in some networks, as in those with relu; no model is then near another.
    """
    try:
        exact = _flat(in_float64(theirs)(x, training=False))
    except Exception as error:  # a model may raise anything
        return {"no_float64": reason(error)}
    return {"to_float64": {name: difference(exact, found)[1] for name, found in outputs.items()}}


class Timed:
    """A file's model with Keras' layers and with ours, on inputs of one batch size.

    Args:
        models: "keras" and "ostinato".
        inputs: made-up inputs, in a flat list.
    """

    def __init__(self, models: dict[str, Any], inputs: list[Any]):
        from ostinato.acceleration.inputs import pack_inputs
        from ostinato.acceleration.timing import compile_pass, prepare
        from ostinato.errors import ConfigError

        theirs = models["keras"]
        x = pack_inputs(theirs, inputs)
        try:
            y, self.loss = prepare(theirs, x, "training")
        except ConfigError:
            (y, self.loss), kinds = prepare(theirs, x, "forward"), ("forward",)
        else:
            kinds = ("forward", "training")
        if not all(model.compiled for model in models.values()):
            y, self.loss = None, "mean square of the outputs"
        reset_states(*models.values())
        self.x = x
        self.calls: dict[str, Call] = {
            f"{kind} {name}": compile_pass(kind, model, model.trainable_variables, x, y)
            for kind in kinds
            for name, model in models.items()
        }
        self.outputs = {name: self.calls[f"forward {name}"]() for name in models}
        try:
            self.calls["rest keras"] = rest_of_model(theirs, x)
            self.no_share = ""
        except Exception as error:  # a layer that runs another one in a loop of its own
            self.no_share = reason(error)

    def figures(self, rounds: int, seconds: float) -> Answer:
        """Milliseconds, ratios, and the share of the recurrent layers."""
        from keras_fit import in_turn

        turns = {name: functools.partial(median_seconds, call, seconds) for name, call in self.calls.items()}
        ms = in_turn(turns, rounds, "")
        kinds = [kind for kind in ("forward", "training") if f"{kind} ostinato" in ms]
        ratios = {kind: ms[f"{kind} keras"] / ms[f"{kind} ostinato"] for kind in kinds}
        mean = math.prod(ratios.values()) ** (1 / len(ratios))
        found: Answer = {"ms": ms, "loss": self.loss, "ratios": ratios, "mean": mean}
        if self.no_share:
            return found | {"share": None, "no_share": self.no_share}
        return found | {"share": max(0.0, 1 - ms["rest keras"] / ms["forward keras"])}


def measured(models: dict[str, Any], raw: Any, options: argparse.Namespace) -> Iterator[Answer]:
    """The figures at each batch size; a model of fixed shapes is measured once."""
    from ostinato.acceleration.inputs import comma_separated, make_inputs, shape_of

    known: dict[str, Answer] = {}
    for batch in options.batch:
        inputs = make_inputs(models["keras"], batch=batch, time=options.time)
        shapes = " ".join(comma_separated(shape_of(each)) for each in inputs)
        if shapes not in known:
            timed = Timed(models, inputs)
            apart = difference(timed.outputs["keras"], timed.outputs["ostinato"])
            figures: Answer = {"difference": apart[0], "relative_difference": apart[1]}
            if apart[1] > TOLERANCE and apart[0] > ROUNDING:
                reset_states(models["keras"])
                figures |= distances_to_float64(models["keras"], timed.x, timed.outputs)
            if raw is not None and raw is not models["keras"]:
                reset_states(raw)
                outputs = _flat(raw(timed.x, training=False))
                figures["difference_to_stock"] = difference(outputs, timed.outputs["ostinato"])[0]
            known[shapes] = figures | (
                timed.figures(options.rounds, options.seconds) if options.rounds else {}
            )
        yield {"batch": batch, "inputs": shapes, **known[shapes]}


def _flat(outputs: Any) -> list[Any]:
    import keras

    return keras.tree.flatten(outputs)


def answers_about(options: argparse.Namespace) -> Iterator[Answer]:
    """What is found out about a file, step by step."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    path, weights = options.file, options.weights
    version = writer(path)
    yield {"keras": version, "step": "loading in Keras"}
    stock, loaded = try_stock(path, weights)
    yield {"stock": loaded, "step": "loading here"}
    import ostinato

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            given = {} if weights is None else {"weights": weights}
            accelerated = ostinato.accelerate(path, **given)
        except Exception as error:  # also what should not have come out of it
            yield {"here": reason(error), "step": ""}
            return
    # A warning of ostinato's points to its caller, others to where they arise.
    said = [str(each.message) for each in caught if Path(each.filename) == Path(__file__)]
    yield {"here": "yes", "warnings": said, **layers_of(accelerated), "step": "comparing"}
    try:
        theirs, origin = reference(path, weights, stock, accelerated, version)
        yield {"reference": origin}
        for figures in measured({"keras": theirs, "ostinato": accelerated}, stock, options):
            yield {"batches": figures}
    except Exception as error:  # a model may raise anything
        yield {"failed": reason(error)}
    yield {"step": ""}


def main() -> None:
    parser = argparse.ArgumentParser(description="A worker of benchmarks/real_models.py.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--batch", type=int, nargs="+", required=True)
    parser.add_argument("--time", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    die_with_parent()
    # Libraries print too; what they print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for answer in answers_about(options):
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
