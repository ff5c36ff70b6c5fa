"""What `benchmarks/engine.py` measures: the same layer in several frameworks, each in a process of its own.

A process is told what to do in JSON lines on standard input, and answers each with one on standard output.
Every framework gets the same inputs, weights and upstream gradient, and gives them back in the same order, so
that `engine.py` can see that all compute the same thing.

What is timed is one compiled function where the framework compiles:

    forward     outputs of the whole sequence, without what a gradient would need
    training    outputs with `training=True`, and the gradients with respect to the inputs and to the weights,
                and to nothing else, for a given gradient of the outputs
    step        `STEPS` single steps inside a `tf.while_loop` (TensorFlow only)
    model       a training step of ostinato's language model with this layer (TensorFlow only)
    matmul      a product of two square matrices of `MATMUL_SIZE`
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import importlib.metadata
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

MATMUL_SIZE, STEPS = 2048, 1000
LEAST_CALLS = 3

Call = Callable[[], Any]


class Layer(NamedTuple):
    """A recurrent layer and the size of what it reads; `gru-before` resets before the recurrent product."""

    cell: str
    batch: int
    time: int
    features: int
    units: int

    @classmethod
    def parse(cls, name: str) -> Layer:
        """From a name such as lstm-32x35x28-256: cell, batch x time x features, units.

        Raises:
            ValueError: it is no such name.
        """
        cell, sizes, units = name.rsplit("-", 2)
        if cell not in GATES:
            raise ValueError(f"no cell {cell!r}")
        batch, time, features = sizes.split("x")
        return cls(cell, int(batch), int(time), int(features), int(units))

    @property
    def name(self) -> str:
        return f"{self.cell}-{self.batch}x{self.time}x{self.features}-{self.units}"

    @property
    def title(self) -> str:
        titles = {"gru": "GRU", "gru-before": "GRU (reset before)", "rnn": "SimpleRNN", "lstm": "LSTM"}
        return f"{titles[self.cell]} {self.batch}×{self.time}×{self.features}→{self.units}"

    def operations(self, what: str) -> int:
        """Floating-point operations of the matrix products; backward there are two for each one forward."""
        weights = GATES[self.cell] * self.units * (self.features + self.units)
        return 2 * self.batch * self.time * weights * (3 if what == "training" else 1)


GATES = {"rnn": 1, "gru": 3, "gru-before": 3, "lstm": 4}


class Problem(NamedTuple):
    """Inputs and weights in Keras' layout, and the gradient of the outputs."""

    x: np.ndarray
    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray
    upstream: np.ndarray


def problem(layer: Layer) -> Problem:
    """The same numbers in every process."""
    random = np.random.default_rng(0)
    width, limit = GATES[layer.cell] * layer.units, layer.units**-0.5

    def weight(*shape: int) -> np.ndarray:
        return random.uniform(-limit, limit, shape).astype(np.float32)

    return Problem(
        random.standard_normal((layer.batch, layer.time, layer.features), np.float32),
        weight(layer.features, width),
        weight(layer.units, width),
        weight(2, width) if layer.cell == "gru" else weight(width),
        random.standard_normal((layer.batch, layer.time, layer.units), np.float32),
    )


def keras_layer(layers: Any, layer: Layer, given: Problem, **options: Any) -> Any:
    """A built layer of `keras.layers` or of `ostinato.layers` with the problem's weights."""
    name = {"rnn": "SimpleRNN", "lstm": "LSTM"}.get(layer.cell, "GRU")
    if name == "GRU":
        options["reset_after"] = layer.cell == "gru"
    built = getattr(layers, name)(layer.units, return_sequences=True, **options)
    built.build(given.x.shape)
    built.set_weights([given.kernel, given.recurrent_kernel, given.bias])
    return built


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
        from ostinato.tasks.language_model.data import open_source
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
            training,
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


class TorchPeer:
    """PyTorch's own layers with autograd, not compiled. Its GRU resets after the recurrent product."""

    packages = ("torch",)

    def __init__(self, threads: int):
        self._torch: Any = importlib.import_module("torch")  # no type checker needs to find it
        self._torch.set_num_threads(threads)
        self._torch.set_num_interop_threads(threads)
        self.facts: dict[str, Any] = {}
        self.passes: dict[str, Callable[[Layer], Call]] = {
            "forward": self.forward,
            "training": self.training,
            "matmul": self.matmul,
        }

    def _layer(self, layer: Layer, given: Problem) -> Any:
        torch = self._torch
        if layer.cell == "gru-before":
            raise NotImplementedError("torch has no GRU that resets before the recurrent product")
        kind = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[layer.cell]
        built = kind(layer.features, layer.units, batch_first=True)
        # Keras' gates are update, reset, candidate; torch's GRU has reset, update, new. LSTMs agree.
        order = [1, 0, 2] if layer.cell == "gru" else list(range(GATES[layer.cell]))

        def rows(weight: np.ndarray) -> Any:
            gates = np.split(weight.T, len(order), axis=0)
            return torch.from_numpy(np.concatenate([gates[gate] for gate in order]))

        bias = given.bias if layer.cell == "gru" else np.stack([given.bias, np.zeros_like(given.bias)])
        weights = [rows(given.kernel), rows(given.recurrent_kernel), rows(bias[0]), rows(bias[1])]
        with torch.no_grad():
            for parameter, weight in zip(built.parameters(), weights, strict=True):
                parameter.copy_(weight)
        return built

    def forward(self, layer: Layer) -> Call:
        torch = self._torch
        given = problem(layer)
        built, x = self._layer(layer, given).eval(), torch.from_numpy(given.x)

        def run() -> list[Any]:
            with torch.inference_mode():
                return [built(x)[0]]

        return run

    def training(self, layer: Layer) -> Call:
        torch = self._torch
        given = problem(layer)
        built, x = self._layer(layer, given).train(), torch.from_numpy(given.x).requires_grad_()
        upstream, weights = torch.from_numpy(given.upstream), list(built.parameters())

        def run() -> list[Any]:
            y = built(x)[0]
            return [y.detach(), *torch.autograd.grad(y, [x, *weights], upstream)]

        return run

    def matmul(self, layer: Layer) -> Call:
        torch = self._torch
        a = torch.from_numpy(square())
        return lambda: [a @ a]


class JaxPeer:
    """A recurrence as a function of (weights, inputs) under `jax.jit`, with its gradient by `jax.vjp`.

    The threads are set by the environment, see `engine.py`.

    Args:
        keras: run Keras' layers on JAX rather than `lax.scan`, written by hand.
    """

    packages: tuple[str, ...] = ("jax", "jaxlib", "keras")

    def __init__(self, threads: int, *, keras: bool):
        self._jax: Any = importlib.import_module("jax")
        self._jax.config.update("jax_platforms", "cpu")
        self._make = self._keras if keras else self._scan
        self.facts: dict[str, Any] = {}
        self.passes: dict[str, Callable[[Layer], Call]] = {"forward": self.forward, "training": self.training}

    def forward(self, layer: Layer) -> Call:
        jax = self._jax
        given = problem(layer)
        function = self._make(layer, given, False)
        run = jax.jit(lambda weights, x: [function(weights, x)])
        weights, x = jax.device_put((tuple(given[1:4]), given.x))
        return lambda: jax.block_until_ready(run(weights, x))

    def training(self, layer: Layer) -> Call:
        jax = self._jax
        given = problem(layer)
        function = self._make(layer, given, True)

        @jax.jit
        def run(weights, x, upstream):
            y, pull = jax.vjp(function, weights, x)
            of_weights, of_x = pull(upstream)
            return [y, of_x, *of_weights]

        weights, x, upstream = jax.device_put((tuple(given[1:4]), given.x, given.upstream))
        return lambda: jax.block_until_ready(run(weights, x, upstream))

    def _keras(self, layer: Layer, given: Problem, training: bool) -> Callable[[Any, Any], Any]:
        import keras

        built = keras_layer(keras.layers, layer, given)
        others = [variable.value for variable in built.non_trainable_variables]
        return lambda weights, x: built.stateless_call(list(weights), others, x, training=training)[0]

    def _scan(self, layer: Layer, given: Problem, training: bool) -> Callable[[Any, Any], Any]:
        jnp, lax, nn = self._jax.numpy, self._jax.lax, self._jax.nn
        cell, units = layer.cell, layer.units

        def run(weights, x):
            kernel, recurrent_kernel, bias = weights
            zeros = jnp.zeros((x.shape[0], units))

            def rnn(h, projected):
                h = jnp.tanh(projected + h @ recurrent_kernel)
                return h, h

            def gru(h, projected):
                x_z, x_r, x_h = jnp.split(projected, 3, axis=-1)
                h_z, h_r, h_h = jnp.split(h @ recurrent_kernel + bias[1], 3, axis=-1)
                z, r = nn.sigmoid(x_z + h_z), nn.sigmoid(x_r + h_r)
                h = z * h + (1 - z) * jnp.tanh(x_h + r * h_h)
                return h, h

            def gru_before(h, projected):
                gates = nn.sigmoid(projected[:, : 2 * units] + h @ recurrent_kernel[:, : 2 * units])
                z, r = jnp.split(gates, 2, axis=-1)
                candidate = jnp.tanh(projected[:, 2 * units :] + (r * h) @ recurrent_kernel[:, 2 * units :])
                h = z * h + (1 - z) * candidate
                return h, h

            def lstm(state, projected):
                h, c = state
                i, f, g, o = jnp.split(projected + h @ recurrent_kernel, 4, axis=-1)
                c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
                h = nn.sigmoid(o) * jnp.tanh(c)
                return (h, c), h

            step: Any = {"rnn": rnn, "gru": gru, "gru-before": gru_before, "lstm": lstm}[cell]
            projected = x @ kernel + (bias[0] if cell == "gru" else bias)
            state = (zeros, zeros) if cell == "lstm" else zeros
            return lax.scan(step, state, projected.swapaxes(0, 1))[1].swapaxes(0, 1)

        return run


class NumpyPeer:
    """NumPy's matrix product: one more measure of what this machine can do."""

    packages = ("numpy",)

    def __init__(self, threads: int):
        self.facts: dict[str, Any] = {}
        self.passes: dict[str, Callable[[Layer], Call]] = {"matmul": self.matmul}

    def matmul(self, layer: Layer) -> Call:
        a = square()
        return lambda: [a @ a]


def square() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((MATMUL_SIZE, MATMUL_SIZE), np.float32)


PEERS: dict[str, Callable[[int, str], Any]] = {
    "ostinato": lambda threads, engine: TensorFlowPeer(threads, engine=engine),
    "old": lambda threads, engine: TensorFlowPeer(threads, engine=engine),
    "keras": lambda threads, engine: TensorFlowPeer(threads),
    "keras-jit": lambda threads, engine: TensorFlowPeer(threads, jit=True),
    "torch": lambda threads, engine: TorchPeer(threads),
    "torch-passive": lambda threads, engine: TorchPeer(threads),
    "keras-jax": lambda threads, engine: JaxPeer(threads, keras=True),
    "jax-scan": lambda threads, engine: JaxPeer(threads, keras=False),
    "numpy": lambda threads, engine: NumpyPeer(threads),
}


class Jobs:
    """The functions made so far, each run on request."""

    def __init__(self, peer: Any):
        self._peer = peer
        self._calls: dict[tuple[str, str], Call] = {}

    def obey(self, request: dict[str, Any]) -> dict[str, Any]:
        key = (request.get("what", ""), request.get("layer", ""))
        match request["do"]:
            case "prepare":
                return self._prepare(*key)
            case "time":
                return {"seconds": median_seconds(self._calls[key], request["seconds"])}
            case "memory":
                return {"bytes": peak_memory()}
        raise ValueError(f"there is nothing to do for {request}")

    def _prepare(self, what: str, layer: str) -> dict[str, Any]:
        """Compiles and runs a function; answers with the norms of what it computed, and the peak before."""
        if what not in self._peer.passes:
            return {"lacking": f"nothing to measure for {what}"}
        try:
            call = self._peer.passes[what](Layer.parse(layer))
        except NotImplementedError as lacking:
            return {"lacking": str(lacking)}
        before = peak_memory()
        norms = [float(np.linalg.norm(np.asarray(array).ravel())) for array in call()]
        self._calls[what, layer] = call
        return {"norms": norms[:4], "bytes": before}


def median_seconds(call: Call, seconds: float) -> float:
    """Runs a function for a while, after a first time that does not count."""
    call()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < LEAST_CALLS or time.perf_counter() < until:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def peak_memory() -> int:
    """The most memory that was resident in this process, in bytes; Linux only.

    `resource.getrusage` would count what the parent had when it started this process.
    """
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def die_with_parent() -> None:
    """A worker is stopped between its turns; were its parent killed, it would stay so for ever."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description="A worker of benchmarks/engine.py.")
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--engine", default="native")
    options = parser.parse_args()
    die_with_parent()
    # Libraries print too; what they print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(reply: dict[str, Any]) -> None:
        print(json.dumps(reply), file=answers, flush=True)

    try:
        peer = PEERS[options.peer](options.threads, options.engine)
    except ModuleNotFoundError as missing:
        return answer({"missing": missing.name})
    answer({"versions": versions(peer.packages), "facts": peer.facts, "bytes": peak_memory()})
    jobs = Jobs(peer)
    for line in sys.stdin:
        answer(jobs.obey(json.loads(line)))


if __name__ == "__main__":
    main()
