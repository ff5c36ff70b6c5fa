"""Functions traced for one model after the other."""

import logging

import pytest
import tensorflow as tf

from ostinato.layers.tracing import traced


@pytest.fixture
def warnings(caplog):
    """The warnings of TensorFlow."""
    logger = logging.getLogger("tensorflow")
    level, propagates = logger.level, logger.propagate
    logger.propagate = True
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        yield caplog
    logger.propagate, logger.level = propagates, level


def times(model: int):
    return traced(lambda x: x * model, input_signature=[tf.TensorSpec((), tf.int32)])


def test_the_functions_of_many_models_are_not_one_that_is_traced_again_and_again(warnings):
    assert [int(times(model)(tf.constant(2))) for model in range(12)] == list(range(0, 24, 2))
    assert warnings.messages == []


def test_a_function_that_is_traced_again_and_again_is_still_warned_of(warnings):
    function = traced(lambda x: x)
    for number in range(12):
        function(number)
    assert "triggered tf.function retracing" in warnings.text
