"""A dry build has the shapes, names and size of the network, and takes no memory."""

import resource

import keras
import pytest

from ostinato.errors import EngineError
from ostinato.layers import GRU, LSTM, SimpleRNN
from ostinato.layers.dry_build import dry_build


def network(units: int, layer=LSTM, **options) -> keras.Model:
    inputs = keras.Input(batch_shape=(2, None, 3))
    return keras.Sequential([inputs, layer(units, **options), keras.layers.Dense(2)])


@pytest.mark.parametrize("layer", [SimpleRNN, GRU, LSTM, keras.layers.LSTM])
@pytest.mark.parametrize("options", [{}, {"stateful": True}, {"dropout": 0.5}], ids=str)
def test_it_has_the_shapes_and_the_size_of_the_network(layer, options):
    def shapes(model: keras.Model) -> list[tuple[int, ...]]:
        return [tuple(variable.shape) for variable in model.variables]

    built = dry_build(lambda: shapes(network(4, layer, **options)))
    model = network(4, layer, **options)
    assert built.error is None
    assert built.result == shapes(model)
    states = getattr(model.layers[0], "states", None) or []
    assert built.size == sum(variable.numpy().nbytes for variable in (*model.variables, *states))


def test_a_network_larger_than_any_memory_takes_none():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    built = dry_build(lambda: network(2**20).count_params())
    assert built.size > 2**43
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19  # KiB


def test_names_go_on_as_if_there_had_been_no_dry_build():
    def number() -> int:
        return int(LSTM(2).name.rpartition("_")[2].removeprefix("lstm") or 0)

    first = number()
    dry_build(number)
    assert number() == first + 1


def test_an_error_is_told_with_what_was_made_before_it():
    def fail() -> None:
        network(4)
        LSTM(2, engine="nativ")

    result, error, size = dry_build(fail)
    assert result is None
    assert isinstance(error, EngineError)
    assert size == dry_build(lambda: network(4).count_params()).size
