"""The cells beside each other, beside other ways to compute the same, and beside the memory that they move.

    python benchmarks/cells.py                            # some minutes, in results/cells-PROCESSOR.json
    python benchmarks/cells.py --only recurrence          # a part, which is printed and not written

All figures are of compiled functions, forward and backward, at 32 × 128 × 256 → 256; the variants live in one
process and run in turn, round after round. A turn is the median of what fits into 0.2 s, a figure the
median over the rounds. The machine must be quiet.

    recurrence   an element-wise recurrence beside its products: from these to the outputs, and from the
    outputs'
                 gradients to those of the products; beside `keras.ops.associative_scan`, `tf.scan`, and the
                 sum of two arrays that moves as many bytes
    length       the same for twice as many steps
    layers       whole layers, with the gradients of x and of all weights, beside ostinato's LSTM
    keras        `ln-lstm` beside the same cell in Keras' own loop
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from comparison.machine import THREADS, cpuinfo, environment, processor, processor_slug
from comparison.tables import check, check_table, report
from keras_fit import RESULTS
from layer_options import measure
from peers import versions

if TYPE_CHECKING:
    from ostinato.cells.base import ElementwiseOp

BATCH, TIME, UNITS = 32, 128, 256
PARTS = ("recurrence", "length", "layers", "keras")
LINEAR = ("mingru", "minlstm", "lru", "rg-lru")
ELEMENTWISE = ("indrnn", *LINEAR[:2], "sru", *LINEAR[2:])
WANTED_OVER_SCAN = {"associative_scan": 20.0, "tf.scan": 5.0}
WANTED_OF_SUM, WANTED_OF_LENGTH, WANTED_OVER_LSTM, WANTED_OVER_KERAS = 1.5, 2.05, 2.0, 5.0
WANTED_OF_LSTM = {
    **{"ln-lstm": 1.3, "peephole": 1.1, "cifg": 1.1, "zoneout": 1.2},
    **{"slstm": 1.5, "mlstm": 1.0, "gated-delta": 1.0},
}

Call = Callable[[], Any]
Tensors = Sequence[Any]


class Recurrence:
    """An element-wise recurrence between its products and its outputs.

    Args:
        name: of the cell.
        time: steps.
    """

    def __init__(self, name: str, time: int = TIME):
        import tensorflow as tf

        from ostinato.cells import registry

        layer = registry.recurrent(name, UNITS, seed=1, return_sequences=True)
        layer.build((BATCH, time, UNITS))
        self.name, self.cell, self.time = name, layer.cell, time
        self.native = cast("ElementwiseOp", registry.find(name).native)
        draw = np.random.default_rng(0)

        def normal(*shape: int) -> Any:
            return tf.constant(draw.normal(size=shape), tf.float32)

        self.blocks, self.states = self.native.products, len(registry.find(name).states)
        self.sums = normal(BATCH, time, self.blocks * UNITS)
        self.x = normal(BATCH, time, UNITS) if self.cell.reads_x else None
        self.bias: Any = self.cell.biases()
        self.constants: Any = self.cell.constants()
        self.outputs = self.states if name == "lru" else 1
        self.dy = normal(BATCH, time, self.outputs * UNITS)
        self.state = tf.zeros((BATCH, self.states * UNITS))

    @property
    def arrays(self) -> int:
        """Arrays of (batch, time, units) that are read or written: the least that both passes can do with."""
        read = self.blocks + (self.x is not None)
        kept = self.outputs + (self.name == "sru")  # what the backward pass reads of the states
        return (read + kept) + (read + self.states + self.outputs + read)

    def ours(self) -> Call:
        import tensorflow as tf

        from ostinato.engines.library import function

        none = tf.constant([], tf.float32)
        given = [none if each is None else each for each in (self.bias, self.constants)]
        inputs = [self.sums, none if self.x is None else self.x, self.state, *given, tf.constant([], tf.bool)]
        options = {
            "cell": self.native.kernel(self.cell),
            **{"go_backwards": False, "return_sequences": True, "zero_output_for_mask": False},
        }

        @tf.function(autograph=False)
        def run() -> Any:
            y, state, history = function("OstinatoElementwiseV1")(*inputs, **options, keep_history=True)
            gradient = function("OstinatoElementwiseGradV1")
            return y, *gradient(*inputs, y, history, self.dy, tf.zeros_like(state), **options)

        return lambda: run()

    def differentiated(self, outputs: Callable[[Any, Any], Any]) -> Call:
        """Outputs and the gradients of products and x, as a compiled function."""
        import tensorflow as tf

        @tf.function(autograph=False)
        def run() -> Any:
            sources = [self.sums] if self.x is None else [self.sums, self.x]
            with tf.GradientTape() as tape:
                tape.watch(sources)
                y = outputs(self.sums if self.bias is None else self.sums + self.bias, self.x)
            return y, *tape.gradient(y, sources, self.dy)

        return lambda: run()

    def parts(self, tensor: Any, count: int) -> list[Any]:
        import tensorflow as tf

        return [] if tensor is None else tf.split(tensor, count, axis=-1)

    def scan(self) -> Call:
        """`tf.scan` over the cell's own recurrence."""
        import tensorflow as tf

        recurrence = self.native.recurrences[str(self.native.kernel(self.cell))]
        constants = self.parts(
            self.constants, 0 if self.constants is None else self.constants.shape[0] // UNITS
        )

        def outputs(sums: Any, x: Any) -> Any:
            def step(carried: Tensors, now: Tensors) -> Tensors:
                y, state = recurrence(
                    self.parts(now[0], self.blocks),
                    tuple(carried[1:]),
                    constants,
                    now[1] if len(now) > 1 else None,
                )
                return (y, *state)

            read = [tf.transpose(each, (1, 0, 2)) for each in (sums, x) if each is not None]
            zeros = tf.zeros((BATCH, UNITS))
            first = (tf.zeros((BATCH, self.outputs * UNITS)), *[zeros] * self.states)
            return tf.transpose(tf.scan(step, tuple(read), first)[0], (1, 0, 2))

        return self.differentiated(outputs)

    def associative_scan(self) -> Call:
        """h' = a ⊙ h + b by `keras.ops.associative_scan`, for recurrences that are linear in the state."""
        import keras
        import tensorflow as tf

        def combined(first: Tensors, second: Tensors) -> Tensors:
            return first[0] * second[0], second[0] * first[1] + second[1]

        def rotated(first: Tensors, second: Tensors) -> Tensors:
            (p, q, r, s), (a, b, c, d) = first, second
            return p * a - q * b, p * b + q * a, a * r - b * s + c, a * s + b * r + d

        def outputs(sums: Any, x: Any) -> Any:
            products = self.parts(sums, self.blocks)
            if self.name == "lru":
                re, im, gamma = self.parts(self.constants, 3)
                decay = [tf.broadcast_to(each, products[0].shape) for each in (re, im)]
                elements = (*decay, *[gamma * each for each in products])
                both: Any = keras.ops.associative_scan(rotated, elements, axis=1)
                return tf.concat(both[2:], -1)
            if self.name == "rg-lru":
                log_a = -self.constants * tf.sigmoid(products[0])
                a, b = tf.exp(log_a), tf.sqrt(-tf.math.expm1(2 * log_a)) * tf.sigmoid(products[1]) * x
            else:
                if self.name == "mingru":
                    kept = 1 - tf.sigmoid(products[0])
                else:
                    f, i = tf.sigmoid(products[0]), tf.sigmoid(products[1])
                    kept = f / (f + i)
                a, b = kept, (1 - kept) * products[-1]
            scanned: Any = keras.ops.associative_scan(combined, (a, b), axis=1)
            return scanned[1]

        return self.differentiated(outputs)

    def sum(self) -> Call:
        """The sum of two arrays that reads and writes as many bytes."""
        import tensorflow as tf

        draw = np.random.default_rng(0)
        size = self.arrays * BATCH * self.time * UNITS // 3
        a, b = (tf.constant(draw.normal(size=size), tf.float32) for _ in range(2))
        run = tf.function(lambda: a + b, autograph=False)
        return lambda: run()


def recurrences(rounds: int) -> list[dict[str, Any]]:
    checks = []
    for name in ELEMENTWISE:
        report(f"{name}: compiling")
        it = Recurrence(name)
        calls = {"ostinato": it.ours(), "tf.scan": it.scan(), "sum of two arrays": it.sum()}
        if name in LINEAR:
            calls["associative_scan"] = it.associative_scan()
        results = {key: calls[key]() for key in calls if key not in ("sum of two arrays",)}
        for key in results:
            for a, b in zip(results["ostinato"][:2], results[key][:2], strict=True):
                if not np.allclose(a, b, rtol=1e-3, atol=1e-3 * float(np.max(np.abs(b)))):
                    raise SystemExit(f"{name}: outputs or gradients are not those of {key}")
        ms = measure(calls, rounds, name)
        ratios = {key: ms[key] / ms["ostinato"] for key in WANTED_OVER_SCAN if key in ms}
        of_sum = ms["ostinato"] / ms["sum of two arrays"]
        held = all(ratio >= WANTED_OVER_SCAN[key] for key, ratio in ratios.items())
        limits = ", ".join(f"{key} ≥ {WANTED_OVER_SCAN[key]:g}" for key in ratios)
        checks += [
            check(f"{name}, recurrence: time", ms, "ms", None, ""),
            check(f"{name}, recurrence: times longer", ratios, "×", held, limits),
            check(
                f"{name}, recurrence: of the sum's time",
                {f"{it.arrays} arrays": of_sum},
                "×",
                of_sum <= WANTED_OF_SUM,
                f"≤ {WANTED_OF_SUM:g}",
            ),
        ]
    return checks


def lengths(rounds: int) -> list[dict[str, Any]]:
    checks = []
    for name in ELEMENTWISE:
        times = (TIME, 2 * TIME)
        ms = measure({str(time): Recurrence(name, time).ours() for time in times}, rounds, f"{name}, length")
        ratio = ms[str(times[1])] / ms[str(times[0])]
        title = f"{name}, recurrence: twice as many steps"
        checks.append(
            check(title, {"ratio": ratio}, "×", ratio <= WANTED_OF_LENGTH, f"≤ {WANTED_OF_LENGTH:g}")
        )
    return checks


def training(layer: Any) -> Call:
    """Outputs and the gradients of x and of the weights, as a compiled function."""
    import tensorflow as tf

    draw = np.random.default_rng(0)
    x = tf.constant(draw.normal(size=(BATCH, TIME, UNITS)), tf.float32)
    layer(x, training=True)
    dy: Any = tf.constant(draw.normal(size=layer(x).shape), tf.float32)

    @tf.function(autograph=False)
    def run() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, *tape.gradient(y, [x, *layer.trainable_weights], dy)

    return lambda: run()


def layers(rounds: int) -> list[dict[str, Any]]:
    import ostinato.layers
    from ostinato.cells import registry

    names = tuple(registry.OWN)
    calls = {name: training(registry.recurrent(name, UNITS, seed=1, return_sequences=True)) for name in names}
    calls["zoneout"] = training(ostinato.layers.LSTM(UNITS, zoneout=(0.05, 0.5), return_sequences=True))
    ms = measure(calls, rounds, "layers")
    checks = [check("whole layers: time", ms, "ms", None, "")]
    for name, limit in WANTED_OF_LSTM.items():
        ratio = ms[name] / ms["lstm"]
        checks.append(
            check(f"{name}: of the LSTM's time", {"ratio": ratio}, "×", ratio <= limit, f"≤ {limit:g}")
        )
    for name in ELEMENTWISE:
        ratio = ms["lstm"] / ms[name]
        title = f"{name}: the LSTM takes longer"
        checks.append(
            check(title, {"ratio": ratio}, "×", ratio >= WANTED_OVER_LSTM, f"≥ {WANTED_OVER_LSTM:g}")
        )
    return checks


def beside_keras(rounds: int) -> list[dict[str, Any]]:
    from ostinato.cells import registry

    calls = {
        engine: training(registry.recurrent("ln-lstm", UNITS, engine=engine, return_sequences=True))
        for engine in ("native", "keras")
    }
    ms = measure(calls, rounds, "ln-lstm in Keras' loop")
    ratio = ms["keras"] / ms["native"]
    return [
        check("ln-lstm: time", ms, "ms", None, ""),
        check(
            "ln-lstm: Keras' loop takes longer",
            {"ratio": ratio},
            "×",
            ratio >= WANTED_OVER_KERAS,
            f"≥ {WANTED_OVER_KERAS:g}",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, help="a part, which is printed and not written")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    os.environ.update(environment("ostinato"))
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    parts = {"recurrence": recurrences, "length": lengths, "layers": layers, "keras": beside_keras}
    checks = [
        each for name, part in parts.items() if options.only in (None, name) for each in part(options.rounds)
    ]
    print(f"{processor()}, {THREADS} threads, {BATCH} × {TIME} × {UNITS} → {UNITS}, forward + backward\n")
    print(check_table(checks))
    if options.only is None:
        file = RESULTS / f"cells-{processor_slug(cpuinfo())}.json"
        facts = {"processor": processor(), "threads": THREADS, "versions": versions(("tensorflow", "keras"))}
        file.write_text(json.dumps({**facts, "checks": checks}, indent=1, ensure_ascii=False) + "\n")
        print(f"\nwritten to {file}")


if __name__ == "__main__":
    main()
