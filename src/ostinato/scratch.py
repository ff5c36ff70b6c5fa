"""RNN, GRU and LSTM written by hand in plain TensorFlow: everything a character model needs, in one file.

With inputs x (batch, features), hidden state h (batch, units), the logistic sigmoid σ and the elementwise
product ⊙:

    RNN     h' = tanh(x W_xh + h W_hh + b_h)

    GRU     z = σ(x W_xz + h W_hz + b_z)              update gate: how much of the past to keep
            r = σ(x W_xr + h W_hr + b_r)              reset gate: how much of the past the candidate sees
            h̃ = tanh(x W_xh + (r ⊙ h) W_hh + b_h)     candidate
            h' = z ⊙ h + (1 − z) ⊙ h̃

    LSTM    i = σ(x W_xi + h W_hi + b_i)              input gate: how much of the candidate to write
            f = σ(x W_xf + h W_hf + b_f)              forget gate: how much of the cell state to keep
            o = σ(x W_xo + h W_ho + b_o)              output gate: how much of the cell state to show
            c̃ = tanh(x W_xc + h W_hc + b_c)           candidate
            c' = f ⊙ c + i ⊙ c̃
            h' = o ⊙ tanh(c')

and, for all three, the output layer: logits = h' W_hq + b_q.

Elman 1990 (RNN); Cho et al. 2014, arXiv:1406.1078v3 (GRU); Hochreiter & Schmidhuber 1997 with the forget gate
of Gers et al. 2000 (LSTM). Names and conventions are those of "Dive into Deep Learning" (d2l.ai), chapters 9
and 10: sequences are time-major, (time, batch, features), and every gate has its own matrices.

The GRU has a second published form, in which the reset gate acts after the recurrent product:

            h̃ = tanh(x W_xh + b_xh + r ⊙ (h W_hh + b_hh))

cuDNN computes this form, and `keras.layers.GRU` defaults to it; here it is `gru_step_reset_after`. The two
forms are different functions: weights trained for one are useless for the other.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from ostinato.errors import ConfigError, warn_renamed

CELLS = ("rnn", "gru", "lstm")

NO_BIAS = 0.0
"""Replaces each bias of a layer without biases, so the equations stay the same."""

Array: TypeAlias = Any  # a tf.Tensor, tf.Variable or numpy array
State = tuple[tf.Tensor, ...]  # (h,) for RNN and GRU, (h, c) for LSTM, each (batch, units)
Step = Callable[..., tuple[tf.Tensor, State]]  # (x, state, params) -> h, state


# --- Parameters ---------------------------------------------------------------------------------------------
# W_x*: (features, units); W_h*: (units, units); b_*: (units,); W_hq: (units, vocab); b_q: (vocab,)


class RNNParams(NamedTuple):
    W_xh: Array
    W_hh: Array
    b_h: Array
    W_hq: Array = None
    b_q: Array = None


class GRUParams(NamedTuple):
    """The GRU that resets before the recurrent product."""

    W_xz: Array
    W_hz: Array
    b_z: Array
    W_xr: Array
    W_hr: Array
    b_r: Array
    W_xh: Array
    W_hh: Array
    b_h: Array
    W_hq: Array = None
    b_q: Array = None


class GRUResetAfterParams(NamedTuple):
    """The GRU that resets after the recurrent product; it has two biases per gate, one for each product."""

    W_xz: Array
    W_hz: Array
    b_xz: Array
    b_hz: Array
    W_xr: Array
    W_hr: Array
    b_xr: Array
    b_hr: Array
    W_xh: Array
    W_hh: Array
    b_xh: Array
    b_hh: Array
    W_hq: Array = None
    b_q: Array = None


class LSTMParams(NamedTuple):
    W_xi: Array
    W_hi: Array
    b_i: Array
    W_xf: Array
    W_hf: Array
    b_f: Array
    W_xo: Array
    W_ho: Array
    b_o: Array
    W_xc: Array
    W_hc: Array
    b_c: Array
    W_hq: Array = None
    b_q: Array = None


Params = RNNParams | GRUParams | GRUResetAfterParams | LSTMParams


def get_params(
    cell: str, vocab_size: int, num_hiddens: int, *, stddev: float = 0.01, seed: int | None = None
) -> Params:
    """Initial parameters of a model that reads and predicts one-hot symbols.

    Args:
        cell: "rnn", "gru" (reset before the product) or "lstm".
        vocab_size: number of symbols, the width of inputs and logits.
        num_hiddens: number of hidden units.
        stddev: standard deviation of the weights, which are normally distributed around 0. Biases are zero.
        seed: makes the draw repeatable; None draws new numbers each time.

    Returns:
        The named tuple of the cell, of float32 `tf.Variable`s.

    Raises:
        ConfigError: there is no such cell.
    """
    kind = {"rnn": RNNParams, "gru": GRUParams, "lstm": LSTMParams}[_checked(cell)]
    random = np.random.default_rng(seed)
    shapes = {"x": (vocab_size, num_hiddens), "h": (num_hiddens, num_hiddens), "q": (num_hiddens, vocab_size)}

    def draw(name: str) -> tf.Variable:
        if name.startswith("b"):
            return tf.Variable(tf.zeros(vocab_size if name == "b_q" else num_hiddens), name=name)
        shape = shapes["q"] if name == "W_hq" else shapes[name[2]]
        return tf.Variable(tf.constant(random.normal(0.0, stddev, shape), tf.float32), name=name)

    return kind(*[draw(name) for name in kind._fields])


def init_state(cell: str, batch_size: int, num_hiddens: int) -> State:
    """The state before the first step: (h,), or (h, c) for "lstm", zeros of shape (batch, units).

    Raises:
        ConfigError: there is no such cell.
    """
    count = 2 if _checked(cell) == "lstm" else 1
    return tuple(tf.zeros((batch_size, num_hiddens)) for _ in range(count))


def _checked(cell: str) -> str:
    if cell not in CELLS:
        raise ConfigError(f"cell must be one of {', '.join(CELLS)}, got {cell!r}")
    return cell


# --- One time step ------------------------------------------------------------------------------------------
# x: (batch, features); state: (h,) or (h, c), each (batch, units).
# Each returns the new h, (batch, units), and the new state.


def rnn_step(x: tf.Tensor, state: State, params: RNNParams) -> tuple[tf.Tensor, State]:
    """One step of the plain (Elman) recurrent network."""
    (h,) = state
    p = params
    h = tf.tanh(x @ p.W_xh + h @ p.W_hh + p.b_h)
    return h, (h,)


def gru_step(x: tf.Tensor, state: State, params: GRUParams) -> tuple[tf.Tensor, State]:
    """One step of the gated recurrent unit, reset before the product (Keras' `reset_after=False`)."""
    (h,) = state
    p = params
    z = tf.sigmoid(x @ p.W_xz + h @ p.W_hz + p.b_z)
    r = tf.sigmoid(x @ p.W_xr + h @ p.W_hr + p.b_r)
    candidate = tf.tanh(x @ p.W_xh + (r * h) @ p.W_hh + p.b_h)
    h = z * h + (1 - z) * candidate
    return h, (h,)


def gru_step_reset_after(x: tf.Tensor, state: State, params: GRUResetAfterParams) -> tuple[tf.Tensor, State]:
    """One step of the gated recurrent unit, reset after the product (Keras' `reset_after=True`)."""
    (h,) = state
    p = params
    z = tf.sigmoid(x @ p.W_xz + p.b_xz + h @ p.W_hz + p.b_hz)
    r = tf.sigmoid(x @ p.W_xr + p.b_xr + h @ p.W_hr + p.b_hr)
    candidate = tf.tanh(x @ p.W_xh + p.b_xh + r * (h @ p.W_hh + p.b_hh))
    h = z * h + (1 - z) * candidate
    return h, (h,)


def lstm_step(x: tf.Tensor, state: State, params: LSTMParams) -> tuple[tf.Tensor, State]:
    """One step of the long short-term memory."""
    h, c = state
    p = params
    i = tf.sigmoid(x @ p.W_xi + h @ p.W_hi + p.b_i)
    f = tf.sigmoid(x @ p.W_xf + h @ p.W_hf + p.b_f)
    o = tf.sigmoid(x @ p.W_xo + h @ p.W_ho + p.b_o)
    candidate = tf.tanh(x @ p.W_xc + h @ p.W_hc + p.b_c)
    c = f * c + i * candidate
    h = o * tf.tanh(c)
    return h, (h, c)


STEPS: dict[type, Step] = {
    RNNParams: rnn_step,
    GRUParams: gru_step,
    GRUResetAfterParams: gru_step_reset_after,
    LSTMParams: lstm_step,
}


# --- Whole sequences ----------------------------------------------------------------------------------------


def rnn(
    inputs: Array, state: Sequence[Array], params: RNNParams, *, step: Step | None = None
) -> tuple[tf.Tensor, State]:
    """The plain recurrent network over a whole sequence.

    Args:
        inputs: numpy array or tensor, time-major, shape (time, batch, features), converted to the parameters'
            dtype. Inside a `tf.function` the length must be static.
        state: (h,), of shape (batch, units).
        params: see `get_params` and `from_keras`.
        step: your own time step, in place of the one that belongs to the parameters. It is called with
            x (batch, features), the state and the parameters, and returns the output h and the next state.

    Returns:
        The logits of all steps, concatenated along the batch, (time × batch, vocab), and the final state.
        Parameters without an output layer give the hidden states instead, (time × batch, units).

    Raises:
        ConfigError: the parameters are of your own class, and there is no `step`.
    """
    return _over_time(inputs, state, params, step)


def gru(
    inputs: Array,
    state: Sequence[Array],
    params: GRUParams | GRUResetAfterParams,
    *,
    step: Step | None = None,
) -> tuple[tf.Tensor, State]:
    """The gated recurrent unit over a whole sequence, in the form of its parameters; otherwise like `rnn`."""
    return _over_time(inputs, state, params, step)


def lstm(
    inputs: Array, state: Sequence[Array], params: LSTMParams, *, step: Step | None = None
) -> tuple[tf.Tensor, State]:
    """The long short-term memory over a whole sequence, with the state (h, c); otherwise like `rnn`."""
    return _over_time(inputs, state, params, step)


def _over_time(
    inputs: Array, state: Sequence[Array], params: Params, step: Step | None = None
) -> tuple[tf.Tensor, State]:
    step = step or STEPS.get(type(params))
    if step is None:
        raise ConfigError(f"step must be given for parameters of the class {type(params).__name__}, got None")
    dtype, W_hq = params[0].dtype, getattr(params, "W_hq", None)
    state = tuple(tf.cast(s, dtype) for s in state)
    outputs = []
    for x in tf.unstack(tf.cast(inputs, dtype)):
        h, state = step(x, state, params)
        outputs.append(h if W_hq is None else h @ W_hq + params.b_q)
    return tf.concat(outputs, axis=0), state


# --- Training and sampling ----------------------------------------------------------------------------------


def one_hot(tokens: Array, vocab_size: int) -> tf.Tensor:
    """Tokens of shape (batch, time) as time-major one-hot vectors, shape (time, batch, vocab)."""
    return tf.one_hot(tf.transpose(tokens), vocab_size)


def cross_entropy(logits: tf.Tensor, targets: Array) -> tf.Tensor:
    """Softmax cross-entropy: the mean over all predictions of −log p(target), in nats.

    Args:
        logits: shape (time × batch, vocab), as the networks return them.
        targets: the next tokens, shape (batch, time), or in the order of the logits, (time × batch,).
    """
    truth = tf.one_hot(tf.reshape(tf.transpose(targets), (-1,)), logits.shape[-1], dtype=logits.dtype)
    log_probabilities = logits - tf.reduce_logsumexp(logits, axis=1, keepdims=True)
    return -tf.reduce_mean(tf.reduce_sum(truth * log_probabilities, axis=1))


def perplexity(loss: Array) -> tf.Tensor:
    """exp(mean cross-entropy in nats): the number of equally likely symbols that would give this loss."""
    return tf.exp(loss)


def clip_by_global_norm(gradients: Iterable[Array], max_norm: float) -> list[tf.Tensor]:
    """Gradients, all scaled down by one factor if their joint norm is over `max_norm` (Pascanu et al. 2013).

    Raises:
        ConfigError: a gradient is None, because the loss does not depend on that weight.
    """
    gradients = _without_none(gradients)
    norm = tf.sqrt(tf.add_n([tf.reduce_sum(g**2) for g in gradients]))
    scale = tf.minimum(tf.ones_like(norm), max_norm / norm)
    return [g * scale for g in gradients]


def sgd(params: Iterable[tf.Variable], gradients: Iterable[tf.Tensor], learning_rate: float) -> None:
    """One step of gradient descent: every parameter moves against its gradient.

    Raises:
        ConfigError: as for `clip_by_global_norm`; then no parameter has changed.
    """
    for parameter, gradient in zip(params, _without_none(gradients, params), strict=True):
        parameter.assign_sub(learning_rate * gradient)


def _without_none(gradients: Iterable[Array], params: Iterable[Array] = ()) -> list[Array]:
    names = getattr(gradients, "_fields", getattr(params, "_fields", ()))
    gradients = list(gradients)
    for number, gradient in enumerate(gradients):
        if gradient is None:
            name = names[number] if names else f"number {number + 1} of {len(gradients)}"
            raise ConfigError(f"the loss must depend on every weight, got no gradient for the weight {name}")
    return gradients


def sample(
    prompt: Sequence[int],
    length: int,
    params: Params,
    *,
    temperature: float = 0.0,
    seed: int | None = None,
    step: Step | None = None,
    state: Sequence[Array] | None = None,
) -> list[int]:
    """Continue a prompt.

    Args:
        prompt: tokens to read first, at least one.
        length: how many tokens to add.
        params: of a model with an output layer, see `get_params`.
        temperature: 0 takes the most likely token each time, as in the textbook; above 0, tokens are drawn
            from softmax(logits / temperature).
        seed: makes the draws repeatable.
        step: your own time step, as for `rnn`.
        state: the state before the prompt, for a batch of one; None is that of `init_state`.

    Returns:
        The tokens of the prompt and `length` more.

    Raises:
        ConfigError: the prompt is empty.
    """
    if not len(prompt):
        raise ConfigError("the prompt must be at least one token, got none")
    units, vocab_size = params.W_hq.shape
    if state is None:
        state = init_state("lstm" if isinstance(params, LSTMParams) else "rnn", 1, units)
    random = np.random.default_rng(seed)
    tokens = [int(token) for token in prompt]
    logits, state = _over_time(one_hot([tokens], vocab_size), state, params, step)
    for _ in range(length):
        scores = logits[-1].numpy().astype("float64")
        if temperature > 0:  # the largest of scores plus Gumbel noise is a draw from their softmax
            scores = scores / temperature + random.gumbel(size=vocab_size)
        tokens.append(int(np.argmax(scores)))
        logits, state = _over_time(one_hot([tokens[-1:]], vocab_size), state, params, step)
    return tokens


# --- To and from the fused weights of keras.layers.SimpleRNN, GRU and LSTM ----------------------------------
# Keras concatenates the matrices of all gates in one kernel, in this order.
_KERAS_GATES = {RNNParams: "h", GRUParams: "zrh", GRUResetAfterParams: "zrh", LSTMParams: "ifco"}


def to_keras_weights(params: Params) -> list[tf.Tensor]:
    """The recurrent layer's weights in Keras' form, for `set_weights`; the output layer is not included.

    Returns:
        For g gates [kernel (features, g × units), recurrent_kernel (units, g × units), bias (g × units,)]. A
        reset-after GRU has a bias of shape (2, 3 × units); with `NO_BIAS` there are only the two kernels.
    """

    def fuse(prefix: str) -> tf.Tensor:
        return tf.concat([getattr(params, prefix + gate) for gate in _KERAS_GATES[type(params)]], axis=-1)

    kernels = [fuse("W_x"), fuse("W_h")]
    if any(isinstance(parameter, float) for parameter in params):
        return kernels
    if isinstance(params, GRUResetAfterParams):
        return [*kernels, tf.stack([fuse("b_x"), fuse("b_h")])]
    return [*kernels, fuse("b_")]


def from_keras(weights: Sequence[Array], *, reset_after: bool | None = None) -> Params:
    """Parameters from a Keras layer's `get_weights()` or its variables; gradients flow through.

    The shapes show the cell, and the bias shows the form of a GRU: (2, 3 × units) resets after the product.

    Args:
        weights: [kernel, recurrent_kernel] or [kernel, recurrent_kernel, bias], see `to_keras_weights`.
        reset_after: the form of a GRU without bias, which its shapes do not show; None means before.

    Raises:
        ConfigError: the shapes are not those of a SimpleRNN, GRU or LSTM, or contradict `reset_after`.
    """
    weights = [tf.convert_to_tensor(weight) for weight in weights]
    kind = _kind_of([tuple(weight.shape) for weight in weights], reset_after)

    def split(prefix: str, fused: tf.Tensor) -> dict[str, Array]:
        gates = _KERAS_GATES[kind]
        parts = tf.split(fused, len(gates), axis=-1)
        return {prefix + gate: part for gate, part in zip(gates, parts, strict=True)}

    fields: dict[str, Array] = {
        name: NO_BIAS for name in kind._fields if name.startswith("b") and name != "b_q"
    }
    fields |= split("W_x", weights[0]) | split("W_h", weights[1])
    if len(weights) == 3 and kind is GRUResetAfterParams:
        fields |= split("b_x", weights[2][0]) | split("b_h", weights[2][1])
    elif len(weights) == 3:
        fields |= split("b_", weights[2])
    return kind(**fields)


def _kind_of(shapes: list[tuple[int, ...]], reset_after: bool | None) -> type[Params]:
    match shapes:
        case [(_, width), (units, same), *bias] if units and width == same and len(bias) < 2:
            after = bias == [(2, width)] if reset_after is None else reset_after
            gru = GRUResetAfterParams if after else GRUParams
            kind = {units: RNNParams, 3 * units: gru, 4 * units: LSTMParams}.get(width)
            if kind and (not bias or bias == [(2, width) if kind is GRUResetAfterParams else (width,)]):
                return kind
    form = "" if reset_after is None else f" with reset_after={reset_after}"
    raise ConfigError(
        f"the weights must be those of a SimpleRNN, GRU or LSTM{form}: a kernel (features, g × units), a "
        "recurrent kernel (units, g × units) with g = 1, 3 or 4 gates, and at most a bias (g × units,), "
        "which is (2, 3 × units) in a GRU that resets after the product; got "
        f"{', '.join(map(str, shapes)) or 'none'}"
    )


def __getattr__(name: str) -> object:
    if name == "to_keras":
        warn_renamed("ostinato.scratch.to_keras", "ostinato.scratch.to_keras_weights")
        return to_keras_weights
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
