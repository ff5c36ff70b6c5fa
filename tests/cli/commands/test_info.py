"""ostinato info"""

import keras
import tensorflow as tf

import ostinato as package
from ostinato.engines import native


def test_it_tells_versions_devices_and_the_engine_with_its_reason(ostinato, cache):
    facts = ostinato("info", "--json").json
    assert facts["ostinato"] == package.__version__
    assert facts["tensorflow"] == tf.__version__
    assert facts["keras"] == f"{keras.__version__} on tensorflow"
    assert "CPU:0" in facts["devices"]
    assert facts["processors"] >= 1
    choice = package.engines.choose("auto")
    assert (facts["engine"], facts["why"]) == (choice.engine, choice.reason)
    if native.available():
        assert facts["instructions"] == native.instruction_set()
        assert facts["threads"] == native.threads() >= 1
    assert {"rnn", "gru", "lstm"} <= set(facts["cells"].split(", "))
    assert facts["cache"] == str(cache)


def test_people_get_a_line_for_each(ostinato):
    facts = ostinato("info", "--json").json
    lines = ostinato("info").out.splitlines()
    assert [line.split()[0] for line in lines] == list(facts)


def test_the_environment_variable_is_told_as_the_reason(ostinato, monkeypatch):
    monkeypatch.setenv("OSTINATO_ENGINE", "keras")
    facts = ostinato("info", "--json").json
    assert facts["engine"] == "keras"
    assert facts["why"] == "the environment variable OSTINATO_ENGINE=keras asks for it"


def test_the_environment_variable_may_not_ask_for_anything_else(ostinato, monkeypatch):
    monkeypatch.setenv("OSTINATO_ENGINE", "fast")
    answer = ostinato("info")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "Error: OSTINATO_ENGINE must be 'keras' or 'auto', got 'fast'\n"


def test_cells_are_listed_with_their_figures(ostinato):
    found = {
        cell["name"]: cell for cell in ostinato("info", "--cells", "--units", "8", "--json").json["cells"]
    }
    assert list(found) == list(package.layers.cells())
    assert found["lstm"]["states"] == {"h": 8, "c": 8}
    assert found["lstm"]["parameters"] == 4 * (8 * 8 + 8 * 8 + 8)
    assert found["mingru"]["multiplications"] == 2 * 8 * 8
    lines = ostinato("info", "--cells", "--units", "8").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(found)


def test_a_run_has_no_list_of_cells(ostinato, tmp_path):
    answer = ostinato("info", str(tmp_path), "--cells")
    assert (answer.code, answer.out) == (2, "")
    assert "it takes no run" in answer.err
