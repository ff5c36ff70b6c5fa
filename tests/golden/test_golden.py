"""Runs and models of before are read, used and trained on as then, whatever the processor: to 1e-5."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import ostinato
from ostinato.errors import ConfigWarning

from ..variants import thorough
from .figures import SOURCE, TIMES, outputs_of, trainings, uses_of, weights_of, write_source

KEPT = Path(__file__).parent / "kept"
ONE_OF_EACH_TASK = ("lm-char", "classify-attention", "translate-additive")
NAMES = [name if name in ONE_OF_EACH_TASK else thorough(name) for name in trainings()]


def figures(name):
    """The figures of then, and the arrays: `outputs` and the final weights by their names."""
    arrays = dict(np.load(KEPT / name / "arrays.npz"))
    return json.loads((KEPT / name / "figures.json").read_text()), arrays


def told_of_the_older_word():
    """All runs and models of before say where the reset gate acts, in the word of then."""
    return pytest.warns(ConfigWarning, match="the setting reset_before is now called reset_after")


def assert_close(found, expected):
    """Equal texts, and numbers to 1e-5 of their size; of lists and dictionaries, each part."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        found, expected = [*found.values()], [*expected.values()]
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for each, other in zip(found, expected, strict=True):
            assert_close(each, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
    else:
        assert found == expected


@pytest.fixture
def run(request, tmp_path):
    """The path of a run as it was when it was interrupted, its source beside it."""
    path = shutil.copytree(KEPT / request.param / "run", tmp_path / "run")
    source = write_source(request.param, tmp_path)
    settings = (path / "config.json").read_text()
    assert SOURCE in settings
    (path / "config.json").write_text(settings.replace(f'"{SOURCE}"', json.dumps(str(source))))
    return path


@pytest.mark.parametrize(
    ("name", "run"),
    [thorough(*[each.values[0]] * 2) if not isinstance(each, str) else (each, each) for each in NAMES],
    indirect=["run"],
)
def test_a_run_of_before_goes_on_and_ends_with_its_weights_and_figures(name, run, monkeypatch):
    expected, arrays = figures(name)
    # The figures were taken when a search tried fewer length penalties on the validation part.
    monkeypatch.setattr("ostinato.tasks.translator.answers._LENGTHS", (0.6, 1.0, 1.4, 1.8))
    with told_of_the_older_word():
        resumed = ostinato.resume(run)
    arrays.pop("outputs")
    found = {key.replace("/", ":"): array for key, array in weights_of(resumed).items()}
    assert found.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_allclose(found[key], array, rtol=1e-5, atol=1e-5, err_msg=key)
    rows = [{k: v for k, v in row.items() if not k.endswith(TIMES)} for row in resumed.directory.rows()]
    assert_close(rows, expected["rows"])
    assert_close(uses_of(resumed), expected["uses"])
    evaluation = ostinato.evaluate(resumed, split="validation")
    assert_close({name: evaluation[name] for name in expected["evaluation"]}, expected["evaluation"])


@pytest.mark.parametrize("name", NAMES)
def test_a_model_file_of_before_says_what_it_said(name):
    with told_of_the_older_word():
        model = keras.models.load_model(KEPT / name / "model.keras")
    task = json.loads((KEPT / name / "run" / "config.json").read_text())["task"]
    np.testing.assert_allclose(outputs_of(model, task), figures(name)[1]["outputs"], rtol=1e-5, atol=1e-5)
