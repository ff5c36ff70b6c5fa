"""One op updates all weights as Keras' optimizers do."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.engines import native, updating
from ostinato.engines.updating import Rule, update

SLICES: Any = tf.IndexedSlices  # takes whatever becomes a tensor

pytestmark = pytest.mark.skipif(not native.available(), reason="the native engine was not built")

RATE = 0.03
RULES: dict[str, tuple[Any, Rule]] = {
    "sgd": (lambda: keras.optimizers.SGD(RATE), Rule("sgd")),
    "sgd with decay": (lambda: keras.optimizers.SGD(RATE, weight_decay=0.2), Rule("sgd", decay=0.2)),
    "momentum": (lambda: keras.optimizers.SGD(RATE, momentum=0.8), Rule("momentum", momentum=0.8)),
    "nesterov": (
        lambda: keras.optimizers.SGD(RATE, momentum=0.8, nesterov=True),
        Rule("nesterov", momentum=0.8),
    ),
    "adam": (lambda: keras.optimizers.Adam(RATE), Rule("adam")),
    "adam with other betas": (
        lambda: keras.optimizers.Adam(RATE, beta_1=0.8, beta_2=0.99, epsilon=1e-5),
        Rule("adam", beta_1=0.8, beta_2=0.99, epsilon=1e-5),
    ),
    "adamw": (lambda: keras.optimizers.AdamW(RATE, weight_decay=0.3), Rule("adam", decay=0.3)),
}
SHAPES = st.lists(st.lists(st.integers(1, 40), max_size=3).map(tuple), min_size=1, max_size=5)


def step_size(rule: Rule, step: int) -> tf.Tensor:
    powers = [tf.pow(tf.constant(beta), tf.constant(step + 1.0)) for beta in (rule.beta_1, rule.beta_2)]
    return tf.constant(RATE) * tf.sqrt(1 - powers[1]) / (1 - powers[0])


class Ours:
    """Weights, their slots and a rule."""

    def __init__(self, rule: Rule, arrays: list[np.ndarray]):
        self.rule, self.steps = rule, 0
        self.weights = [tf.Variable(tf.constant(array)) for array in arrays]
        self.slots = [[tf.Variable(tf.zeros_like(w)) for w in self.weights] for _ in range(rule.slots)]

    def step(self, gradients, **options) -> float:
        norm = update(
            self.rule,
            self.weights,
            self.slots,
            gradients,
            [True] * len(self.weights),
            rate=tf.constant(RATE),
            step_size=step_size(self.rule, self.steps),
            **options,
        )
        self.steps += 1
        return float(norm)

    def arrays(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in [*self.weights, *(s for slots in self.slots for s in slots)]]


def drawn(shapes, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=shape).astype("f4") for shape in shapes]


@settings(max_examples=12, deadline=None)
@given(SHAPES, st.integers(0, 99))
@pytest.mark.parametrize("name", RULES)
def test_without_clipping_every_rule_has_the_bits_of_keras(name, shapes, seed):
    theirs, rule = RULES[name][0](), RULES[name][1]
    weights = [keras.Variable(array) for array in drawn(shapes, seed)]
    ours = Ours(rule, drawn(shapes, seed))
    for step in range(4):
        gradients = [tf.constant(array) for array in drawn(shapes, 100 * seed + step)]
        theirs.apply(gradients, weights)
        ours.step(gradients, wants_norm=False)
    for weight, variable in zip(weights, ours.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), variable.numpy())


@settings(max_examples=25, deadline=None)
@given(st.data())
@pytest.mark.parametrize("name", ["sgd", "nesterov", "adamw"])
def test_the_rows_of_a_table_update_it_as_their_dense_sum_does(name, data):
    rows, width, count = (data.draw(st.integers(least, most)) for least, most in ((1, 60), (1, 30), (0, 90)))
    indices = data.draw(st.lists(st.integers(0, rows - 1), min_size=count, max_size=count))
    shapes, clip = [(rows, width), (5,)], data.draw(st.sampled_from([None, 0.5, 1e6]))
    sparse, dense = (Ours(RULES[name][1], drawn(shapes, 0)) for _ in range(2))
    for step in range(3):
        values, other = drawn([(count, width), (5,)], step + 1)
        table = SLICES(values, tf.constant(indices, tf.int64), (rows, width))
        whole = np.zeros((rows, width), "f4")
        np.add.at(whole, indices, values)
        norm = sparse.step([table, tf.constant(other)], clip=clip, divisor=3.0)
        assert norm == pytest.approx(np.sqrt(np.sum(whole**2) + np.sum(other**2)) / 3, rel=1e-5)
        dense.step([tf.constant(whole), tf.constant(other)], clip=clip, divisor=3.0)
    for one, other in zip(sparse.arrays(), dense.arrays(), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def test_large_weights_are_updated_by_several_threads_as_by_one():
    native.function("OstinatoUpdateV1")  # first sets TensorFlow's own number
    set_threads = native.found().functions.ostinato_set_threads  # pyright: ignore
    shapes, results = [(400, 300), (50_000, 16), (3,)], []
    indices = np.random.default_rng(7).integers(50_000, size=700)
    try:
        for threads in (1, 2, 5):
            set_threads(threads)
            ours = Ours(Rule("adam", decay=0.1), drawn(shapes, 0))
            for step in range(3):
                kernel, values, bias = drawn([(400, 300), (700, 16), (3,)], step + 1)
                table = SLICES(values, tf.constant(indices), (50_000, 16))
                ours.step([tf.constant(kernel), table, tf.constant(bias)], clip=1.0)
            results.append(ours.arrays())
    finally:
        set_threads(0)
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_clipping_is_by_the_norm_of_all_gradients_together():
    arrays = drawn([(30, 20), (20,)], 3)
    norm = np.sqrt(sum(np.sum(np.square(array, dtype="f8")) for array in arrays))
    ours = Ours(Rule("sgd"), [np.zeros_like(array) for array in arrays])
    assert ours.step([tf.constant(array) for array in arrays], clip=0.5) == pytest.approx(norm, rel=1e-6)
    for weight, array in zip(ours.weights, arrays, strict=True):
        np.testing.assert_allclose(weight.numpy(), -RATE * 0.5 / norm * array, rtol=2e-6)


def test_a_gradient_that_is_used_elsewhere_keeps_its_values():
    ours = Ours(Rule("sgd"), [np.ones((4, 3), "f4")])

    @tf.function
    def step(x):
        gradient = x * 2.0
        ours.step([gradient], wants_norm=False)
        return gradient, ours.weights[0].read_value()

    gradient, weight = step(tf.ones((4, 3)))
    np.testing.assert_array_equal(gradient, np.full((4, 3), 2.0, "f4"))
    np.testing.assert_array_equal(weight, np.float32(1) - np.float32(2) * np.full((4, 3), RATE, "f4"))


def test_values_that_were_read_before_stay_as_they_were():
    ours = Ours(Rule("adam"), [np.ones((40, 30), "f4")])
    before = ours.weights[0].read_value()
    ours.step([tf.ones((40, 30))])
    np.testing.assert_array_equal(before, np.ones((40, 30), "f4"))
    assert (ours.weights[0].numpy() < 1).all()


@pytest.mark.parametrize(
    ("gradient", "said"),
    [
        (tf.zeros((3, 4)), r"\(3, 4\), but \(4, 3\)"),
        (SLICES(tf.zeros((2, 3)), [1, 4]), "rows\\[1\\] is 4, but the weight has rows from 0 to 3"),
        (SLICES(tf.zeros((2, 3)), [1, -1]), "is -1"),
        (SLICES(tf.zeros((2, 2)), [1, 2]), r"\(2, 2\), but \(2, 3\)"),
    ],
)
def test_gradients_that_do_not_fit_are_refused(gradient, said):
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        Ours(Rule("sgd"), [np.ones((4, 3), "f4")]).step([gradient])


def test_what_the_op_does_not_update_has_a_reason():
    assert updating.obstacle([tf.Variable(tf.zeros(3))]) is None
    assert "float64" in (updating.obstacle([tf.Variable(tf.zeros(3, tf.float64))]) or "")
    large = tf.Variable(tf.zeros(updating.MOST_WEIGHTS + 1))
    assert "4,000,001 weights" in (updating.obstacle([large]) or "")
