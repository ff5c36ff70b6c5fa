"""Weights travel as arrays with stable names, and never into another network."""

import keras
import numpy as np
import pytest

from ostinato.errors import RunError
from ostinato.runs import weights


def network(units: int = 3, name: str = "net", **options) -> keras.Model:
    layers = [keras.Input((None, 2)), keras.layers.LSTM(units, name="lstm", **options)]
    return keras.Sequential([*layers, keras.layers.Dense(1, name="out")], name=name)


def test_a_network_takes_the_weights_of_an_equal_one_of_another_name():
    one, other = network(name="one"), network(name="other")
    weights.assign(other, weights.to_arrays(one), origin="one")
    for array, same in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(array, same)


def test_the_state_of_kerass_seed_generators_is_no_weight():
    assert weights.to_arrays(network(dropout=0.5)).keys() == {
        "lstm/lstm_cell/kernel",
        "lstm/lstm_cell/recurrent_kernel",
        "lstm/lstm_cell/bias",
        "out/kernel",
        "out/bias",
    }


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"units": 4}, r"bias has shape \(16,\), expected \(12,\)"),
        ({"use_bias": False}, r"bias has shape none, expected \(12,\)"),
    ],
)
def test_another_networks_weights_are_refused_and_nothing_changes(other, named):
    model = network()
    before = model.get_weights()
    with pytest.raises(RunError, match=f"the weights of somewhere are another network's: .*{named}"):
        weights.assign(model, weights.to_arrays(network(**other)), origin="somewhere")
    for array, same in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(array, same)
