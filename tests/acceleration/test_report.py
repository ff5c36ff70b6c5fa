"""Every recurrent layer of a model has a row: what runs it, why, and what would after `accelerate`."""

import keras
import pytest

import ostinato
from ostinato.engines import choose, native
from ostinato.errors import EngineError
from ostinato.layers import GRU, LSTM

layers = keras.layers
TIME = 5
needs_library = pytest.mark.skipif(not native.available(), reason=f"no native engine: {native.reason()}")


class Kept(layers.Layer):
    """A cell that gives back its state; with a layer of its own, where there is one."""

    state_size = output_size = 3

    def __init__(self, inner=None, **options):
        super().__init__(**options)
        self.inner = inner

    def call(self, x, states):
        return states[0], states


class Mine(layers.LSTM):
    pass


class Looped(layers.RNN):
    pass


class Around(layers.Layer):
    """A wrapper of one's own around layers in a list, which know what they stand in."""

    def __init__(self, *inner, **options):
        super().__init__(**options)
        self.inner = list(inner)
        for layer in inner:
            layer.outer = self

    def call(self, x):
        for layer in self.inner:
            x = layer(x)
        return x


def rows(*stack):
    return ostinato.report(keras.Sequential([*stack]), measure=False)


def test_every_recurrent_layer_has_a_row_with_engine_reason_and_what_acceleration_changes():
    found = rows(
        keras.Input((TIME, 3)),
        layers.Bidirectional(LSTM(3, return_sequences=True, name="lstm"), name="both"),
        layers.GRU(200, return_sequences=True, name="middle"),
        GRU(8, return_sequences=True, engine="scratch", name="textbook"),
        LSTM(3, activation="gelu", return_sequences=True, name="smoothed"),
        layers.RNN([layers.LSTMCell(2), layers.GRUCell(5)], unroll=True, name="top"),
    )
    engine = choose("auto").engine
    assert [(row.layer, row.kind, row.engine, row.accelerated) for row in found] == [
        ("both/forward_lstm", "LSTM(3)", engine, engine),
        ("both/backward_lstm", "LSTM(3)", engine, engine),
        ("middle", "GRU(200)", "keras", engine),
        ("textbook", "GRU(8)", "scratch", "scratch"),
        ("smoothed", "LSTM(3)", "keras", "keras"),
        ("top", "RNN([LSTMCell(2), GRUCell(5)])", "keras", engine),
    ]
    if engine == "native":
        assert found[2].reason == "it is a Keras layer, which has only Keras' own loop"
        assert "the layer's activation is gelu of keras.src.activations.activations" in found[4].reason
        assert found[5].reason == found[2].reason


@pytest.mark.parametrize(
    ("layer", "kind", "reason"),
    [
        (Looped(layers.LSTMCell(4)), "Looped(LSTMCell(4))", "and this is the subclass Looped(LSTMCell)"),
        (layers.RNN(Kept()), "RNN(Kept)", "it does not know the cell Kept"),
        (layers.RNN([layers.LSTMCell(4), Kept()]), "RNN([LSTMCell(4), Kept])", "does not know the cell Kept"),
        (
            layers.RNN([layers.LSTMCell(4), layers.GRUCell(2, "gelu", name="odd")]),
            "RNN([LSTMCell(4), GRUCell(2)])",
            "(in its cell 'odd')",
        ),
        (layers.ConvLSTM1D(2, 3), "ConvLSTM1D(2)", "it does not know the cell ConvLSTMCell"),
        (layers.ConvLSTM2D(2, 3), "ConvLSTM2D(2)", "it does not know the cell ConvLSTMCell"),
        (layers.ConvLSTM3D(2, 3), "ConvLSTM3D(2)", "it does not know the cell ConvLSTMCell"),
        (Mine(4), "Mine(4)", "Mine is a subclass, which may differ from Keras' layer in any way"),
        (Mine(4, activation="relu"), "Mine(4)", "Mine is a subclass"),
        (
            layers.GRU(4, dtype="complex64"),
            "GRU(4)",
            "it computes in float32 and float64, also for bfloat16, float16 and their mixed policies, and "
            "the layer's dtype is 'complex64'",
        ),
    ],
)
@needs_library
def test_a_layer_that_would_not_gain_says_why(layer, kind, reason):
    [row] = rows(layer)
    assert (row.layer, row.kind, row.engine, row.accelerated) == (layer.name, kind, "keras", "keras")
    assert reason in row.reason
    assert "bench" not in str(rows(layer))


@needs_library
def test_layers_are_found_in_wrappers_cells_and_models_however_they_stand_there():
    loop = layers.RNN(layers.LSTMCell(4), return_sequences=True, name="loop")
    inner = keras.Sequential([loop], name="inner")
    found = rows(
        Around(layers.LSTM(4, return_sequences=True, name="lstm"), inner, name="around"),
        layers.Bidirectional(layers.RNN(layers.GRUCell(4), return_sequences=True, name="rnn"), name="both"),
        layers.TimeDistributed(layers.RNN(layers.GRUCell(4), name="each"), name="times"),
        layers.RNN(Kept(layers.GRU(3, name="gru"), name="kept"), name="outer"),
    )
    assert [(row.layer, row.accelerated) for row in found] == [
        ("around/lstm", "native"),
        ("around/inner/loop", "native"),
        ("both/forward_rnn", "native"),
        ("both/backward_rnn", "native"),
        ("times/each", "native"),
        ("outer", "keras"),
        ("outer/kept/gru", "native"),
    ]


@needs_library
def test_a_layer_of_ones_own_that_is_ostinatos_says_what_runs_it():
    class Own(GRU):
        pass

    [row] = rows(Own(4))
    assert (row.kind, row.engine, row.accelerated) == ("Own(4)", "native", "native")


@needs_library
def test_without_measurement_the_table_says_what_measures():
    table = str(rows(keras.Input((TIME, 3)), layers.LSTM(4, name="middle")))
    heading, row, note = table.splitlines()
    assert heading.split() == ["layer", "kind", "engine", "reason", "accelerated"]
    assert row.split()[0] == "middle"
    assert row.split()[-1] == "native"
    assert "×" not in table
    assert note.endswith("`ostinato.report(model)` and `ostinato bench` measure it.")
    assert "`ostinato bench`" in str(rows(LSTM(4)))


@needs_library
def test_no_name_is_cut_in_the_table():
    inner = layers.LSTM(4, name="a_layer_with_a_long_name_" + "x" * 60)
    for depth in range(3):
        inner = keras.Sequential([inner], name=f"a_model_with_a_long_name_{depth}")
    [row] = found = rows(keras.Input((TIME, 3)), inner)
    assert len(row.layer) > 120
    assert row.layer in str(found).split()


def test_a_model_without_recurrent_layers_says_so():
    assert str(rows(layers.Dense(2))) == "The model has no recurrent layers."


def test_the_environment_variable_is_the_reason_where_it_forces_kerass_loop(monkeypatch):
    model = keras.Sequential([layers.LSTM(4), LSTM(4, engine="scratch"), layers.RNN(layers.LSTMCell(2))])
    monkeypatch.setenv("OSTINATO_ENGINE", "keras")
    found = ostinato.report(model)  # nothing would change, so nothing is measured
    assert {(row.engine, row.accelerated) for row in found} == {("keras", "keras")}
    assert {row.reason for row in found} == {"the environment variable OSTINATO_ENGINE=keras asks for it"}
    assert "bench" not in str(found)
    monkeypatch.setenv("OSTINATO_ENGINE", "fast")
    with pytest.raises(EngineError, match="OSTINATO_ENGINE must be 'keras' or 'auto', got 'fast'"):
        ostinato.report(model)
