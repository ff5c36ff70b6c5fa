"""Chord outputs: which of several keys sound at a step, each decided with knowledge of those before it.

    p(v | s) = Π_k p(v_k | v_1 … v_{k−1}, s)                     exact: over all chords it sums to 1
    h_j = relu(b_j + s U_j + Σ_{i < m_j} v_i W_ij)               a hidden unit sees the first m_j keys
    score_k = c_k + s C_k + Σ_{i < k} v_i D_ik + Σ_{m_j ≤ k} h_j V_jk
    loss = −log p(v | s)                                         in nats, summed over the keys

v are the keys, 0 or 1; s is the state of a recurrent network. The sums over i and j are products with
matrices that are zero elsewhere, so that one pass scores all keys of all steps. W is learned as W / LOUD. Not
to be confused with `bernoulli`, where keys do not know of each other.

With onsets, a chord also says which keys are struck again: r_k, for each key that sounded before and still
does. They follow the keys, each with knowledge of all of these and of the r before it. Elsewhere r_k is 0.

Source: Germain et al. 2015, "MADE" (arXiv:1502.03509), conditioned as in Boulanger-Lewandowski et al. 2012
(arXiv:1206.6392), whose RNN-NADE also decides key after key.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ostinato.cells.base import KerasOption
from ostinato.engines.product import product

RARE = -3.0
"""The first score of every key: it sounds in one of twenty steps."""
LOUD = 2.0 * math.cosh(RARE / 2.0)
"""What networks read for a key that sounds: 1/√(p(1 − p)) for p = σ(RARE), so that its variance is one.

With 1 instead, the first weights of Glorot hear next to nothing, and learn at a fifth of the pace."""


@keras.saving.register_keras_serializable(package="ostinato")
class ChordOutput(keras.layers.Layer):
    """Scores the keys of a step, given the state and the keys before each.

    Args:
        keys: the number of keys.
        hidden: the number of hidden units.
        onsets: whether chords also say which keys are struck again; they then have 2 · keys values.
        independent: whether no key knows of another: scores are then a linear function of the state, the
            output of most of the literature. There are no hidden units.
        seed: seed of the initial weights.
    """

    def __init__(
        self,
        keys: int,
        hidden: int,
        *,
        onsets: bool = False,
        independent: bool = False,
        seed: int = 0,
        **kwargs: KerasOption,
    ):
        super().__init__(**kwargs)
        self.keys, self.hidden, self.onsets = keys, hidden, onsets
        self.independent, self.seed = independent, seed
        self.width = 2 * keys if onsets else keys
        self._seen = np.arange(hidden) * self.width // max(1, hidden)  # m_j
        places = np.arange(self.width)
        self._to_hidden = LOUD * (places[:, None] < self._seen[None]).astype(np.float32)
        self._from_hidden = (self._seen[:, None] <= places[None]).astype(np.float32)
        self._direct = (places[:, None] < places[None]).astype(np.float32)

    def build(self, input_shape: Any) -> None:
        units: int = input_shape[-1]

        def weight(name: str, *shape: int, start: object = None) -> keras.Variable:
            start = (
                keras.initializers.GlorotUniform(seed=self.seed + len(self.weights))
                if start is None
                else start
            )
            return self.add_weight(shape=shape, initializer=start, name=name)

        self.state_to_scores = weight("state_to_scores", units, self.width)
        self.bias = weight("bias", self.width, start=keras.initializers.Constant(RARE))
        if not self.independent:
            self.state_to_hidden = weight("state_to_hidden", units, self.hidden)
            self.keys_to_hidden = weight("keys_to_hidden", self.width, self.hidden)
            self.hidden_bias = weight("hidden_bias", self.hidden, start="zeros")
            self.keys_to_scores = weight("keys_to_scores", self.width, self.width, start="zeros")
            self.hidden_to_scores = weight("hidden_to_scores", self.hidden, self.width)
        self.built = True

    def call(self, state: tf.Tensor, chord: tf.Tensor) -> tf.Tensor:
        """The scores of all keys, before the sigmoid.

        Args:
            state: shape (…, units).
            chord: which keys sound and, with onsets, which of them are struck again, 0.0 or 1.0, shape
                (…, width). A score depends on the values before its own.

        Returns:
            Shape (…, width).
        """
        scores = product(state, self.state_to_scores) + self.bias
        if self.independent:
            return scores
        hidden = tf.nn.relu(
            product(state, self.state_to_hidden)
            + product(chord, self.keys_to_hidden * self._to_hidden)
            + self.hidden_bias
        )
        return (
            scores
            + product(chord, self.keys_to_scores * self._direct)
            + product(hidden, self.hidden_to_scores * self._from_hidden)
        )

    def drawer(self) -> ChordDrawer:
        """Draws chords with the present weights."""
        return ChordDrawer(self)

    def get_config(self) -> dict[str, KerasOption]:
        own = ("keys", "hidden", "onsets", "independent", "seed")
        return super().get_config() | {name: getattr(self, name) for name in own}


def loss(chord: tf.Tensor, scores: tf.Tensor, before: tf.Tensor | None = None) -> tf.Tensor:
    """−log p(chord) in nats.

    Args:
        chord: 0.0 or 1.0, shape (…, width).
        scores: of that chord, shape (…, width).
        before: with onsets, which keys sounded at the step before, shape (…, keys).

    Returns:
        Shape (…).
    """
    nats = tf.nn.sigmoid_cross_entropy_with_logits(chord, scores)
    if before is not None:
        values: Any = chord
        sounding = values[..., : before.shape[-1]]
        nats *= tf.concat([tf.ones_like(sounding), before * sounding], axis=-1)
    return tf.reduce_sum(nats, axis=-1)


class ChordDrawer:
    """Draws chords key after key, in NumPy, with the weights that a `ChordOutput` has now."""

    def __init__(self, output: ChordOutput):
        units, width = output.state_to_scores.shape
        self._keys = output.keys
        self._state_to_scores, self._bias = np.asarray(output.state_to_scores), np.asarray(output.bias)
        if output.independent:
            self._state_to_hidden, self._hidden_bias = np.zeros((units, 0)), np.zeros(0)
            self._keys_to_hidden, self._hidden_to_scores = np.zeros((width, 0)), np.zeros((0, width))
            self._keys_to_scores = np.zeros((width, width))
            return
        self._state_to_hidden = np.asarray(output.state_to_hidden)
        self._keys_to_hidden = np.asarray(output.keys_to_hidden) * output._to_hidden
        self._hidden_bias = np.asarray(output.hidden_bias)
        self._keys_to_scores = np.asarray(output.keys_to_scores) * output._direct
        self._hidden_to_scores = np.asarray(output.hidden_to_scores) * output._from_hidden

    def draw(
        self,
        state: np.ndarray,
        random: np.random.Generator,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        most: int | None = None,
        fixed: np.ndarray | None = None,
        before: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Chords for some states.

        Args:
            state: shape (rows, units).
            random: the numbers to draw with: one for each row and key.
            temperature: divides the scores; 0 takes the likelier answer of every key.
            top_p: the likelier answer is taken, not drawn, where its probability is at least this.
            most: the most keys that sound; None allows all.
            fixed: values that are given, int8, shape (rows, width): 0 or 1, and −1 where one is drawn.
            before: with onsets, which keys sounded at the step before, bool, shape (rows, keys).

        Returns:
            The chords, bool, shape (rows, width), and −log of their probability under the model itself,
            without temperature and top_p, in nats, shape (rows,).
        """
        rows, width = len(state), len(self._bias)
        possible = np.ones(rows, bool)
        hidden = state @ self._state_to_hidden + self._hidden_bias
        scores = state @ self._state_to_scores + self._bias
        chord, nats, count = np.zeros((rows, width), bool), np.zeros(rows), np.zeros(rows, int)
        numbers = random.random((rows, width))
        for key in range(width):
            score = scores[:, key] + np.maximum(hidden, 0.0) @ self._hidden_to_scores[:, key]
            on = numbers[:, key] < _chance(score, temperature, top_p)
            if most is not None and key < self._keys:
                on &= count < most
            if fixed is not None:
                on = np.where(fixed[:, key] < 0, on, fixed[:, key] > 0)
            if key >= self._keys and before is not None:  # only a key that goes on is struck again
                possible = before[:, key - self._keys] & chord[:, key - self._keys]
                on &= possible
            nats += possible * np.logaddexp(0.0, np.where(on, -score, score))
            chord[:, key], count = on, count + on
            hidden[on] += self._keys_to_hidden[key]
            scores[on] += self._keys_to_scores[key]
        return chord, nats


def _chance(score: np.ndarray, temperature: float, top_p: float) -> np.ndarray:
    """The probability with which a key is drawn."""
    if temperature == 0.0:
        return (score > 0).astype(float)
    chance = np.exp(-np.logaddexp(0.0, -score / temperature))
    if top_p == 1.0:
        return chance
    return np.where(np.maximum(chance, 1.0 - chance) >= top_p, (chance > 0.5).astype(float), chance)
