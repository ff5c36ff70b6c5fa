"""Tasks are found by name, by their config, and by the entry points of other packages."""

import importlib.metadata
import json
import shutil
import sys
import types
from pathlib import Path

import pytest

import ostinato
from ostinato.errors import ConfigError, RunError
from ostinato.runs.opened import open_to_use
from ostinato.tasks import registry
from ostinato.tasks.base import TaskSpec
from ostinato.tasks.classifier import Classifier, ClassifierConfig
from ostinato.tasks.config import TaskConfig
from ostinato.tasks.language_model import LanguageModel, LanguageModelConfig
from ostinato.tasks.music import MusicConfig, MusicModel
from ostinato.tasks.translator import Translator, TranslatorConfig
from ostinato.training.config import TrainingConfig

KEPT = Path(__file__).parents[1] / "golden" / "kept"
OURS = {
    "language_model": ("lm", LanguageModelConfig, LanguageModel),
    "classifier": ("classify", ClassifierConfig, Classifier),
    "translator": ("translate", TranslatorConfig, Translator),
    "music": ("music", MusicConfig, MusicModel),
}


class TaggerConfig(TaskConfig):
    """A tagger of words."""

    task = "tagger"

    tags: int = 3
    """How many tags there are."""


class Tagger:
    """As another package may write it: it leaves out whatever has a default."""

    def __init__(self, config):
        self.config = config


def tagger(**changes) -> TaskSpec:
    fields = {"command": "tag", "config": TaggerConfig, "task": Tagger, "source": lambda source: source}
    return TaskSpec(**(fields | changes))


class Distribution(importlib.metadata.Distribution):
    """A package that is installed, as far as Python can tell."""

    def read_text(self, filename):
        return "Metadata-Version: 2.1\nName: taggers\nVersion: 1.5\n" if filename == "METADATA" else None

    def locate_file(self, path):
        return path


@pytest.fixture
def install(monkeypatch):
    """install(…) a package whose entry points name these objects; None is one that does not load."""

    def install(*objects):
        module = types.ModuleType("taggers")
        module.__dict__.update({f"SPEC_{n}": found for n, found in enumerate(objects) if found is not None})
        monkeypatch.setitem(sys.modules, "taggers", module)
        points = importlib.metadata.EntryPoints(
            importlib.metadata.EntryPoint(f"tagger_{n}", f"taggers:SPEC_{n}", registry.GROUP)._for(
                Distribution()
            )
            for n in range(len(objects))
        )
        usual = importlib.metadata.entry_points

        def entry_points(**chosen):
            return points.select(**chosen) if chosen == {"group": registry.GROUP} else usual(**chosen)

        monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
        registry.specs.cache_clear()

    yield install
    registry.specs.cache_clear()


@pytest.mark.parametrize("name", OURS)
def test_a_task_is_found_by_its_name_and_by_its_config(name):
    command, config_class, task_class = OURS[name]
    spec = registry.spec(name)
    assert (spec.command, spec.config, spec.config.task) == (command, config_class, name)
    config = config_class(units=5)
    assert registry.spec_of(config) is spec
    task = registry.make(config)
    assert isinstance(task, task_class)
    assert task.config is config
    assert registry.package_of(config) is None


def test_our_tasks_come_first_in_the_order_of_the_help():
    assert registry.names()[: len(OURS)] == tuple(OURS)
    assert registry.names() == tuple(spec.config.task for spec in registry.specs())


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(RunError, match="unknown task 'painter'; this version has language_model, classifier"):
        registry.spec("painter")
    with pytest.raises(RunError, match=r"unknown task 'clasifier'.*did you mean 'classifier'\?"):
        registry.spec("clasifier")


def test_what_is_no_tasks_config_is_refused():
    for use in (registry.spec_of, registry.make):
        with pytest.raises(
            ConfigError, match=r"the config must be one of LanguageModelConfig, .*, got TrainingConfig"
        ):
            use(TrainingConfig())


# Of other packages.


def test_another_packages_task_is_found_by_name_and_config_and_its_package_is_named(install):
    spec = tagger()
    install(spec)
    assert registry.names() == (*OURS, "tagger")
    assert registry.spec("tagger") is registry.spec_of(TaggerConfig()) is spec
    assert registry.package_of(TaggerConfig()) == "taggers 1.5"
    assert registry.package_of(ClassifierConfig()) is None


def test_another_packages_task_gets_the_defaults_of_what_it_leaves_out(install):
    install(tagger())
    task = registry.make(TaggerConfig(tags=5))
    assert isinstance(task, Tagger)
    assert task.config.tags == 5
    assert (task.unit, task.evaluated_first) == ("examples", ("test", "validation"))
    assert task.states(None) == ()


def test_a_task_may_be_named_so_that_its_module_is_imported_only_when_it_is_made(install):
    install(tagger(task="taggers:Tagger"))
    assert registry.spec("tagger").command == "tag"
    sys.modules["taggers"].Tagger = Tagger
    assert isinstance(registry.make(TaggerConfig()), Tagger)


class OtherTaggerConfig(TaskConfig):
    task = "another_tagger"


@pytest.mark.parametrize(
    "objects",
    [
        [tagger(command="lm")],
        [tagger(config=type("Mine", (TaskConfig,), {"task": "classifier", "__doc__": "Mine."}))],
        [tagger(), tagger(config=OtherTaggerConfig)],
        [tagger(), tagger(command="tags")],
    ],
    ids=["our command", "our name", "one command twice", "one name twice"],
)
def test_a_task_must_have_a_name_and_a_command_of_its_own(install, objects):
    install(*objects)
    last, number = objects[-1], len(objects) - 1
    with pytest.raises(ConfigError) as caught:
        registry.specs()
    assert str(caught.value) == (
        f"the task 'tagger_{number}' (taggers:SPEC_{number}) must have a name and a command of its own, got "
        f"{last.config.task!r} and {last.command!r}"
    )


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Tagger, "must be a TaskSpec, got type"),
        (None, "does not load: module 'taggers' has no attribute 'SPEC_0'"),
    ],
    ids=["no spec", "nothing"],
)
def test_what_is_no_task_is_refused_in_one_sentence(install, found, sentence):
    install(found)
    with pytest.raises(ConfigError) as caught:
        registry.spec("tagger")
    assert str(caught.value) == f"the task 'tagger_0' (taggers:SPEC_0) {sentence}"


# Runs.


def of_task(run, name: str, packages: dict[str, str]):
    """Changes a run so that its task is another."""
    config = json.loads((run / "config.json").read_text())
    config |= {"task": name, "packages": packages}
    (run / "config.json").write_text(json.dumps(config))
    return run


@pytest.fixture
def run(tmp_path):
    """A run directory whose network no test makes."""
    return shutil.copytree(KEPT / "lm-char" / "run", tmp_path / "run")


def test_a_run_of_a_task_whose_package_is_not_installed_names_the_package(run):
    of_task(run, "tagger", {"tagger": "taggers 1.5"})
    for use in (ostinato.load, ostinato.evaluate, ostinato.resume, lambda path: open_to_use(path, "best")):
        with pytest.raises(RunError) as caught:
            use(run)
        assert str(caught.value) == (
            f"{run} needs the task tagger of the package taggers 1.5, which is not installed here; install it"
        )


def test_a_run_of_a_task_of_no_known_package_is_refused_with_the_known_tasks(run):
    of_task(run, "tagger", {})
    with pytest.raises(RunError, match="unknown task 'tagger'; this version has language_model"):
        ostinato.load(run)
