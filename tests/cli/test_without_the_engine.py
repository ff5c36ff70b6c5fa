"""Where the native engine was not built, every command that makes a network says so, in one line."""

import json

import keras
import pytest

from ..variants import thorough

COMMAND = "from ostinato.cli import main; main()"
WARNING = "Warning: the native engine is not available: its library was not built"


def model():
    keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)]).save("model.keras")
    return ("bench", "model.keras", "--input", "2,5,3", "--rounds", "1", "--no-memory")


@pytest.mark.parametrize("command", ["train", thorough("generate"), thorough("bench")])
def test_it_is_told_once_in_one_line(without_library, run, tiny, command):
    arguments = {
        "train": ("train", "lm", "text.txt", "--steps", "1", "--evaluations", "1", *tiny),
        "generate": ("generate", run, "--length", "5"),
        "bench": model(),
    }
    told = without_library(COMMAND, *arguments[command])
    assert told.returncode == 0, told.stderr
    lines = [line for line in told.stderr.splitlines() if "native engine" in line]
    assert len(lines) == 1
    assert lines[0].startswith(WARNING)
    assert "OSTINATO_ENGINE=keras" in lines[0]


@pytest.mark.thorough
def test_nothing_is_told_where_kerass_loop_is_asked_for(without_library, run, tiny):
    training = ("train", "lm", "text.txt", "--steps", "1", "--evaluations", "1", *tiny)
    for told in (
        without_library(COMMAND, *training, "--engine", "keras"),
        without_library(COMMAND, "info"),
    ):
        assert (told.returncode, "Warning" in told.stderr) == (0, False), told.stderr


@pytest.mark.thorough
def test_a_run_that_asks_for_the_engine_is_not_damaged_and_opens_with_kerass_loop(without_library, run):
    settings = run / "config.json"
    config = json.loads(settings.read_text())
    config["task_config"]["engine"] = "native"
    settings.write_text(json.dumps(config))
    refused = without_library(COMMAND, "evaluate", run)
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "Error: the native engine cannot run this layer: its library was not built"
    )
    assert "OSTINATO_ENGINE=keras" in refused.stderr
    told = without_library(COMMAND, "evaluate", run, OSTINATO_ENGINE="keras")
    assert (told.returncode, "Warning" in told.stderr) == (0, False), told.stderr
