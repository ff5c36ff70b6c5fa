"""Dynamic evaluation: a language model whose weights adapt to a text while it reads.

After each window of the text, whose loss counts before anything is learned from it, every weight takes a
step against the gradient of that window, and a step back towards where it was before the text:

    θ ← θ − rate · g / (m + ε) + decay · (m / mean m) · (θ₀ − θ),

where m is the root mean square of a weight's gradients over the training text. So repeated names and phrases
cost less each time. The figures are not comparable with those of a static evaluation, whose weights stay.

Source: Krause et al. 2017, "Dynamic evaluation of neural sequence models", arXiv:1709.07432, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ostinato.cells.base import initial_state
from ostinato.errors import ConfigError
from ostinato.layers.tracing import traced
from ostinato.tasks.base import Batch, Loss, Metrics, OnBatch, Part, Task
from ostinato.tasks.language_model.data import LanguagePart
from ostinato.tasks.language_model.network import RecurrentLanguageModel

WINDOW = 32
"""Tokens between two changes of the weights."""
_STATISTICS = 400
"""So many windows of the training text give the sizes of gradients, spread evenly over it."""
_EPSILON = 1e-5


class Adaptation(NamedTuple):
    """How the weights adapt.

    Attributes:
        rate: how far a weight moves for a gradient of its usual size.
        decay: the share of its way that a weight of mean size goes back at each window.
    """

    rate: float = 1e-3
    decay: float = 2e-2

    def checked(self) -> Adaptation:
        """Itself. Raises ConfigError when a value is out of range."""
        for name, value, most in (("dynamic_rate", self.rate, 1.0), ("dynamic_decay", self.decay, 1.0)):
            if not 0 <= value <= most:
                raise ConfigError(f"{name} must be 0 to {most:g}, got {value:g}")
        return self


def dynamic_metrics(
    task: Task,
    model: RecurrentLanguageModel,
    part: LanguagePart | None,
    train: LanguagePart | None,
    how: Adaptation,
    on_batch: OnBatch | None = None,
) -> Metrics:
    """The metrics of a part under dynamic evaluation; afterwards the model has its own weights again.

    Args:
        task, model: the trained model.
        part: the part to read, in one row from its beginning to its end, with windows of `WINDOW` tokens.
        train: the training part in the same form, for the sizes of gradients.
        how: how the weights adapt.
        on_batch: called with (windows done, total windows).

    Raises:
        ConfigError: a value is out of range, or a part is empty.
    """
    if part is None or train is None:
        raise ConfigError("dynamic evaluation needs a text that was trained on, and one to read")
    reader = _Reader(task, model, how.checked())
    before = [weight.numpy() for weight in reader.weights]
    try:
        reader.measure(_spread(train))
        sums: dict[str, float] = {}
        for number, (loss, weight, further) in enumerate(reader.read(part)):
            for key, value in {"loss": loss, "weight": weight, **further}.items():
                sums[key] = sums.get(key, 0.0) + float(value)
            if on_batch is not None:
                on_batch(number + 1, part.steps)
    finally:
        for weight, value in zip(reader.weights, before, strict=True):
            weight.assign(value)
    return task.metrics(Loss(sums.pop("loss"), sums.pop("weight"), sums))


def _spread(part: LanguagePart) -> Iterator[Batch]:
    """Windows from all over a part."""
    every = max(1, part.steps // _STATISTICS)
    for number, batch in enumerate(part.batches()):
        if number % every == 0:
            yield batch


class _Reader:
    """A model that reads window after window and adapts."""

    def __init__(self, task: Task, model: RecurrentLanguageModel, how: Adaptation):
        self._task, self._model, self._how = task, model, how
        self.weights: Sequence[tf.Variable] = model.trainable_variables
        self._first = [tf.constant(weight.numpy()) for weight in self.weights]
        self._sizes = [tf.Variable(tf.zeros_like(first), trainable=False) for first in self._first]
        self._mean = tf.Variable(tf.constant(1.0), trainable=False)
        self._learn, self._adapt = traced(self._gradients), traced(self._adapted)

    def measure(self, batches: Iterator[Batch]) -> None:
        """Sets the root mean squares of the gradients."""
        count, state = 0, initial_state(self._task.states(self._model), 1)
        squares = [tf.zeros_like(first) for first in self._first]
        for batch in batches:
            gradients, _, state = self._learn(_tensors(batch), state)
            squares = [total + tf.square(g) for total, g in zip(squares, gradients, strict=True)]
            count += 1
        for size, total in zip(self._sizes, squares, strict=True):
            size.assign(tf.sqrt(total / max(count, 1)))
        values = np.concatenate([size.numpy().ravel() for size in self._sizes])
        self._mean.assign(max(float(values.mean()), 1e-12))

    def read(self, part: Part) -> Iterator[tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]]:
        """The loss, the weight and further sums of each window, learned from afterwards."""
        state = initial_state(self._task.states(self._model), 1)
        for batch in part.batches():
            found, state = self._adapt(_tensors(batch), state)
            yield found

    def _gradients(self, batch: Batch, state: tuple[tf.Tensor, ...]):
        with tf.GradientTape() as tape:
            loss, weight, sums, after, _ = self._task.loss(self._model, batch, state)
            mean = loss / tf.maximum(weight, 1.0)
        gradients = tape.gradient(mean, self.weights)
        return [tf.convert_to_tensor(gradient) for gradient in gradients], (loss, weight, dict(sums)), after

    def _adapted(self, batch: Batch, state: tuple[tf.Tensor, ...]):
        gradients, found, after = self._gradients(batch, state)
        rate, decay = self._how
        for weight, first, size, gradient in zip(
            self.weights, self._first, self._sizes, gradients, strict=True
        ):
            # A weight never goes back by more than its whole way.
            back = tf.minimum(decay * size / self._mean, 1.0) * (first - weight)
            weight.assign_add(back - rate * gradient / (size + _EPSILON))
        return found, after


def _tensors(batch: Batch) -> dict[str, tf.Tensor]:
    return {name: tf.constant(value) for name, value in batch.items()}
