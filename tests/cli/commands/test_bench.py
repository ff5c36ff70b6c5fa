"""ostinato bench: one flat object a batch, or a table for people; one line for whatever is wrong."""

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
    monkeypatch.setattr(timing, "RUNS", 3)


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


@pytest.mark.thorough
def test_json_of_several_batches_is_a_list_and_of_one_an_object(ostinato, model):
    answer = ostinato("bench", model, *FAST, "--json")
    assert (answer.code, answer.out.count("\n")) == (0, 1)
    assert [each["inputs"] for each in answer.json] == ["1,100", "8,100", "32,100"]
    assert [each["batch"] for each in answer.json] == [1, 8, 32]
    answer = ostinato("bench", model, "--batch", "2", "--length", "4", *FAST, "--json")
    assert (answer.json["inputs"], list(answer.json)) == ("2,4", list(Comparison._fields))


def test_people_get_a_table_with_a_row_for_each_batch_and_pass(ostinato, model):
    answer = ostinato("bench", model, "--batch", "1,3", "--length", "5", "--train", *FAST)
    assert answer.code == 0
    heading, columns, *rows, basis = answer.out.splitlines()
    assert heading == "model.keras on inputs of 1,5, 3,5"
    expected = "batch keras p50 p99 ostinato p50 p99 ratio runs largest difference"
    assert " ".join(columns.split()) == expected
    assert [row.partition("  ")[0] for row in rows] == ["forward"] * 2 + ["forward + backward"] * 2
    for row, batch in zip(rows, ["1", "3"] * 2, strict=True):
        assert row.count(" ms") == 4
        assert row.replace("forward + backward", "forward").split()[1] == batch
        assert " 3 and 3 " in row
    assert "recurrent layer" in basis
    assert "p50 and p99 of the runs of 1 round, ratio of p50; " in basis
    few = ", ".join(f"{kind} at batch {batch}" for batch in (1, 3) for kind in ("forward", "training"))
    assert f"fewer than 100 runs, of which p99 is the slowest, in {few}; " in basis
    assert "loss: sparse_categorical_crossentropy" in basis


def test_memory_has_two_lines_of_a_table_of_its_own(capsys):
    figures = Comparison(
        *("m.keras", "2,5", 2, 1, 1, "", 7, 4.0, 5.0, 100, 2.0, 2.5, 100, 2.0, 1e-7), memory_of="forward"
    )
    memory = {"keras_extra_mib": 40.0, "ostinato_extra_mib": 6.5, "keras_peak_mib": 1600.0}
    show([figures._replace(**memory, ostinato_peak_mib=569.25)])
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert lines[5] == ["memory", "to", "run", "2", "40.0", "MiB", "6.5", "MiB"]
    assert lines[6] == ["peak,", "all", "included", "2", "1,600.0", "MiB", "569.2", "MiB"]
    assert "fewer than" not in out


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
    assert "--batch must be sizes above 0 separated by commas, as in 1,8,32, got 1,-2" in refused(
        ostinato("bench", model, "--batch", "1,-2")
    )
    assert "leave out --batch and --length" in refused(
        ostinato("bench", model, "--input", "2,5", "--length", "7")
    )
    assert "rounds" in refused(ostinato("bench", model, "--rounds", "0"))
