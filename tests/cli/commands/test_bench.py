"""ostinato bench: one flat object, or a table for people; one line for whatever is wrong."""

from pathlib import Path

import keras
import pytest

from ostinato.acceleration import timing
from ostinato.acceleration.compare import Comparison
from ostinato.cli.commands.bench import show

layers = keras.layers
FAST = ("--rounds", "1", "--no-memory")


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    """How exact a time is does not matter here."""
    monkeypatch.setattr(timing, "TURN_SECONDS", 0.0)


@pytest.fixture
def model(folder) -> Path:
    """A small compiled model over ids, in the working directory."""
    network = keras.Sequential(
        [keras.Input((None,)), layers.Embedding(7, 3), layers.GRU(4), layers.Dense(2, activation="softmax")]
    )
    network.compile("adam", "sparse_categorical_crossentropy")
    network.save("model.keras")
    return Path("model.keras")


def test_json_is_one_flat_object(ostinato, model):
    before = model.read_bytes()
    answer = ostinato("bench", model, "--input", "2,5", "--train", *FAST, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert list(answer.json) == list(Comparison._fields)
    assert (answer.json["model"], answer.json["inputs"]) == ("model.keras", "2,5")
    assert answer.json["loss"] == "sparse_categorical_crossentropy"
    assert answer.json["training_ratio"] > 0
    assert model.read_bytes() == before


def test_people_get_a_table(ostinato, model):
    answer = ostinato("bench", model, "--input", "2,5", "--train", *FAST)
    heading, columns, forward, training, basis = answer.out.splitlines()
    assert heading == "model.keras on inputs of 2,5"
    assert columns.split() == ["keras", "ostinato", "ratio", "largest", "difference"]
    assert forward.startswith("forward ")
    assert forward.count(" ms") == 2
    assert training.startswith("forward + backward ")
    assert "recurrent layer" in basis
    assert "medians of 1 round;" in basis
    assert "loss: sparse_categorical_crossentropy" in basis


def test_memory_has_two_lines_of_the_table(capsys):
    figures = Comparison("m.keras", "2,5", 1, 1, "", 7, 4.0, 2.0, 2.0, 1e-7, memory_of="forward")
    memory = {"keras_extra_mib": 40.0, "ostinato_extra_mib": 6.5, "keras_peak_mib": 1600.0}
    show(figures._replace(**memory, ostinato_peak_mib=569.25))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[3] == ["memory", "to", "run", "40.0", "MiB", "6.5", "MiB"]
    assert lines[4] == ["peak,", "all", "included", "1,600.0", "MiB", "569.2", "MiB"]


def test_h5_files_are_read_too(ostinato, folder):
    keras.Sequential([keras.Input((None, 3)), layers.LSTM(4)]).save("model.h5")
    answer = ostinato("bench", "model.h5", "--input", "2,5,3", *FAST, "--json")
    assert answer.code == 0
    assert answer.json["recurrent_layers"] == 1


def test_every_input_has_a_shape_of_its_own(ostinato, folder):
    left, right = keras.Input((None, 3)), keras.Input((None, 2))
    merged = layers.Concatenate()([layers.GRU(4)(left), layers.SimpleRNN(4)(right)])
    keras.Model([left, right], merged).save("two.keras")
    answer = ostinato("bench", "two.keras", "--input", "2,5,3", "--input", "2,6,2", *FAST, "--json")
    assert answer.json["inputs"] == "2,5,3 2,6,2"
    assert answer.json["recurrent_layers"] == 2


def refused(answer) -> str:
    """The one line of an error."""
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Error: ")
    assert answer.err.count("\n") == 1
    return answer.err


def test_what_is_no_model_is_refused(ostinato, folder):
    assert "gone.keras" in refused(ostinato("bench", "gone.keras"))
    assert "text.txt" in refused(ostinato("bench", "text.txt"))
    Path("empty.keras").write_text("nothing")
    assert "empty.keras" in refused(ostinato("bench", "empty.keras"))


def test_a_file_that_would_run_code_of_its_own_is_refused(ostinato, folder):
    network = keras.Sequential([keras.Input((None, 3)), layers.LSTM(4), layers.Lambda(lambda x: 2 * x)])
    network.save("lambda.keras")
    assert "lambda" in refused(ostinato("bench", "lambda.keras"))


def test_a_model_without_recurrent_layers_is_refused(ostinato, folder):
    keras.Sequential([keras.Input((3,)), layers.Dense(1)]).save("plain.keras")
    assert "plain.keras has no SimpleRNN, GRU or LSTM layer" in refused(ostinato("bench", "plain.keras"))


def test_shapes_that_do_not_fit_are_refused(ostinato, model):
    assert "2,5,3 does not fit the input" in refused(ostinato("bench", model, "--input", "2,5,3"))
    assert "must be sizes above 0 separated by commas, as in 32,100,8, got 2,x" in refused(
        ostinato("bench", model, "--input", "2,x")
    )
    assert "must be sizes above 0 separated by commas, as in 32,100,8, got 2,0" in refused(
        ostinato("bench", model, "--input", "2,0")
    )
    assert "rounds" in refused(ostinato("bench", model, "--rounds", "0"))
