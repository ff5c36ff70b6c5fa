"""What is known of a run before TensorFlow is imported: whether a command can use it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ostinato
from ostinato.errors import ConfigError, RunError, SourceError
from ostinato.runs.directory import open_run
from ostinato.runs.opened import check_resume, check_start, open_to_use, refusal, settings_of, source_of
from ostinato.runs.weights import to_arrays
from ostinato.tasks.classifier import ClassifierConfig
from ostinato.tasks.language_model import LanguageModelConfig

from ..tiny import change

KEPT = Path(__file__).parents[1] / "golden" / "kept"
# The word of then for `reset_after`.
pytestmark = pytest.mark.filterwarnings("ignore:the setting reset_before")


def test_an_opened_run_knows_its_task_settings_and_weights(finished_run):
    opened = open_to_use(finished_run, "last", "generate")
    assert (opened.spec.command, type(opened.config)) == ("lm", LanguageModelConfig)
    assert opened.saved.step == 12
    assert opened.facts.path == finished_run
    assert opened.facts.config == opened.config == settings_of(open_run(finished_run))
    assert opened.facts.vocabulary == json.loads((finished_run / "vocabulary.json").read_text())


def test_loaded_it_is_what_load_makes_of_it(finished_run):
    loaded, expected = open_to_use(finished_run, "best").loaded(), ostinato.load(finished_run)
    assert loaded.step == expected.step
    ours, theirs = to_arrays(loaded.model), to_arrays(expected.model)
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)


@pytest.mark.parametrize(
    ("name", "command", "able"),
    [
        ("lm-char", "predict", "; ostinato train classify and ostinato train translate train runs that can"),
        ("classify-several", "generate", "; ostinato train lm and ostinato train music train runs that can"),
        ("translate-fed", "generate", "; ostinato train lm and ostinato train music train runs that can"),
        ("translate-fed", "dance", ""),
    ],
)
def test_a_command_that_the_task_does_not_have_is_refused_with_the_tasks_that_do(name, command, able):
    path = KEPT / name / "run"
    with pytest.raises(ConfigError) as caught:
        open_to_use(path, "best", command)
    run = open_run(path)
    assert str(caught.value) == f"{path} is a {run.task} run, which cannot {command}{able}"
    assert str(refusal(run, command)) == str(caught.value)


@pytest.mark.parametrize("which", ["newest", "Best", ""])
def test_a_checkpoint_is_the_best_or_the_last(finished_run, which):
    with pytest.raises(ConfigError, match=f"^checkpoint must be 'best' or 'last', got '{which}'"):
        open_to_use(finished_run, which)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task_config": {"units": 0}}, r"config\.json is damaged: units must be 1 to 64 layers"),
        ({"task_config": {"colour": 1}}, r"config\.json is damaged: unknown setting 'colour'"),
        ({"task": "painter"}, "unknown task 'painter'; this version has language_model"),
        (
            {"task": "painter", "packages": {"painter": "easel 0.3"}},
            "needs the task painter of the package easel 0.3, which is not installed here; install it",
        ),
        (
            {"task_config": {"cell": "leaky"}, "packages": {"leaky": "strange 2.1"}},
            r"needs the cell leaky of the package strange 2\.1, which is not installed here; install it",
        ),
        ({"task_config": {"cell": "leaky"}}, "needs the cell leaky, which no installed package brings"),
    ],
)
def test_settings_that_no_network_is_made_of_are_refused_by_every_use(run_path, changes, message):
    change(run_path, **changes)
    uses = (lambda: open_to_use(run_path, "best"), lambda: settings_of(open_run(run_path)))
    for use in (*uses, lambda: check_resume(run_path)):
        with pytest.raises(RunError, match=message):
            use()


def test_a_training_starts_from_a_run_of_its_own_task(finished_run):
    assert check_start(finished_run, LanguageModelConfig).path == finished_run
    with pytest.raises(ConfigError, match="is a language_model run, not a classifier run"):
        check_start(finished_run, ClassifierConfig)


def interrupted(tmp_path, source: dict):
    """A run that was interrupted, with another description of its source."""
    run = shutil.copytree(KEPT / "lm-char" / "run", tmp_path / "interrupted")
    change(run, source={"description": source})
    return run


def test_a_run_whose_source_is_gone_cannot_go_on(tmp_path):
    (tmp_path / "book.txt").write_text("a text")
    run = interrupted(tmp_path, {"kind": "file", "path": str(tmp_path / "book.txt")})
    check_resume(run)
    (tmp_path / "book.txt").unlink()
    with pytest.raises(SourceError, match=r"book\.txt"):
        check_resume(run)


@pytest.mark.parametrize(
    "description", [5, None, [], "-", {}, {"kind": "file"}, {"kind": "file", "path": 5}], ids=str
)
def test_a_damaged_description_of_a_source_is_refused(tmp_path, description):
    run = interrupted(tmp_path, description)
    with pytest.raises(RunError, match="damaged: "):
        source_of(open_run(run))


def test_a_finished_run_needs_no_source_to_be_resumed(run_path):
    change(run_path, source={"description": {"kind": "file", "path": "/gone"}})
    check_resume(run_path)


WITHOUT = """
import sys
from ostinato.runs import opened
from ostinato.tasks import registry
run = opened.open_to_use(sys.argv[1], "best", "generate")
opened.check_start(sys.argv[1], registry.spec("language_model").config)
opened.check_resume(sys.argv[1])
print(*{"tensorflow", "keras"} & sys.modules.keys())
"""


def test_all_that_is_known_without_tensorflow_and_keras(finished_run):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(finished_run)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"
