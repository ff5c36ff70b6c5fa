"""ostinato's layers, and Keras' own, on TensorFlow; and `ostinato.fast_predict`, which is without it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .layers import Call, Layer, Problem, keras_layer, problem, square

STEPS = 1000


class TensorFlowPeer:
    """ostinato's layers, or Keras' own on TensorFlow, in a `tf.function`.

    Args:
        threads: how many threads an operation may use.
        engine: how ostinato's layers run; None takes Keras' layers.
        jit: compile with XLA.
    """

    packages = ("tensorflow-cpu", "tensorflow", "keras")

    def __init__(self, threads: int, *, engine: str | None = None, jit: bool = False):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        # Loaded here, so that the memory at the start has it.
        self._layers: Any = importlib.import_module("keras.layers" if engine is None else "ostinato.layers")
        self._engine, self._jit = engine, jit
        self.passes: dict[str, Callable[[Layer], Call]] = {
            "forward": self.forward,
            "training": self.training,
            "step": self.step,
            "model": self.model,
            "matmul": self.matmul,
        }
        self.facts: dict[str, Any] = {}
        if engine == "native":
            from ostinato.engines import native

            if native.available():
                self.facts = {"instruction_set": native.instruction_set(), "engine_threads": native.threads()}

    def _layer(self, layer: Layer, given: Problem, **options: Any) -> Any:
        if self._engine is not None:
            options["engine"] = self._engine
        return keras_layer(self._layers, layer, given, **options)

    def forward(self, layer: Layer) -> Call:
        import tensorflow as tf

        given = problem(layer)
        built = self._layer(layer, given)
        run: Any = tf.function(lambda x: [built(x, training=False)], jit_compile=self._jit or None)
        x = tf.constant(given.x)
        return lambda: run(x)

    def training(self, layer: Layer) -> Call:
        import tensorflow as tf

        given = problem(layer)
        built = self._layer(layer, given)

        @tf.function(jit_compile=self._jit or None)
        def run(x, upstream):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = built(x, training=True)
            return [y, *tape.gradient(y, [x, *built.trainable_variables], output_gradients=upstream)]

        x, upstream = tf.constant(given.x), tf.constant(given.upstream)
        return lambda: run(x, upstream)

    def step(self, layer: Layer) -> Call:
        import tensorflow as tf

        given = problem(layer)
        built = self._layer(layer, given, return_state=True)
        parts = 2 if layer.cell == "lstm" else 1

        @tf.function(jit_compile=self._jit or None)
        def run(x):
            def body(count, *state):
                _, *state = built(x, initial_state=list(state), training=False)
                return (count + 1, *state)

            zeros = [tf.zeros((layer.batch, layer.units))] * parts
            return tf.while_loop(lambda count, *_: count < STEPS, body, (tf.constant(0), *zeros))[1:]

        x = tf.constant(given.x)
        return lambda: run(x)

    def model(self, layer: Layer) -> Call:
        import tensorflow as tf

        import ostinato
        from ostinato.cells.base import initial_state
        from ostinato.runs import weights
        from ostinato.tasks.language_model import LanguageModel, LanguageModelConfig
        from ostinato.tasks.language_model.source import open_source
        from ostinato.training.optimizers import Optimizer
        from ostinato.training.step import as_tensors, make_train_step

        config = LanguageModelConfig(
            cell=layer.cell.removesuffix("-before"),
            reset_after=layer.cell != "gru-before",
            units=(layer.units,),
            batch=layer.batch,
            seq_len=layer.time,
            validation_fraction=0.0,
            engine=self._engine or "keras",
        )
        symbols = np.arange(layer.batch * layer.time * 4) % layer.features
        task = LanguageModel(config)
        data = task.read(open_source(["".join(chr(ord("a") + symbol) for symbol in symbols)]))
        network, training = task.build(data.vocabulary), ostinato.TrainingConfig(steps=1)
        part = data.part("train")
        assert part is not None
        variables = network.trainable_variables
        step = make_train_step(
            task,
            network,
            part.signature,
            Optimizer(training, weights.names(network, variables), variables),
        )
        batch = as_tensors(next(iter(part.batches(epoch=0))))
        state = initial_state(task.states(network), layer.batch)
        arguments = (tf.constant(0), tf.constant(1e-3), tf.zeros(4))
        return lambda: step((batch,), (state,), *arguments)[:1]

    def matmul(self, layer: Layer) -> Call:
        import tensorflow as tf

        a = tf.constant(square())
        run: Any = tf.function(lambda a: [tf.matmul(a, a)])
        return lambda: run(a)


class FastPredictPeer:
    """`ostinato.fast_predict` of a model of one layer: NumPy in, NumPy out. Forward only."""

    packages = ()

    def __init__(self, threads: int):
        self._ostinato: Any = importlib.import_module("ostinato")
        self._keras: Any = importlib.import_module("keras")
        self.facts: dict[str, Any] = {}
        self.passes: dict[str, Callable[[Layer], Call]] = {"forward": self.forward}

    def forward(self, layer: Layer) -> Call:
        given = problem(layer)
        built = keras_layer(self._keras.layers, layer, given)
        shape = (layer.time, layer.features)
        predict = self._ostinato.fast_predict(self._keras.Sequential([self._keras.Input(shape), built]))
        return lambda: [predict(given.x)]
