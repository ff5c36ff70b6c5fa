"""The package as a whole: its names, its version, and that it loads only what is used."""

import importlib.metadata
import subprocess
import sys

import pytest

import ostinato
from ostinato.tasks import registry
from ostinato.training import recipes
from ostinato.training.config import TrainingConfig

LAZY = """
import sys
import ostinato
loaded = [name in sys.modules for name in ("tensorflow", "keras", "numpy")]
ostinato.LanguageModelConfig(units=8), ostinato.TrainingConfig(steps=3), ostinato.OstinatoError
print(loaded, "tensorflow" in sys.modules, sorted(vars(ostinato).keys() & set(ostinato.__all__)))
"""


def test_importing_it_and_making_settings_do_not_import_tensorflow():
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True)
    assert done.stdout == "[False, False, False] False []\n", done.stderr


def test_every_public_name_is_there():
    for name in ostinato.__all__:
        assert getattr(ostinato, name).__name__ == name
    assert set(ostinato.__all__) >= {"LanguageModelConfig", "TrainingConfig", "train", "load", "evaluate"}


@pytest.mark.parametrize(
    "name", ["data", "decoding", "engines", "layers", "runs", "scratch", "tasks", "training"]
)
def test_every_stage_is_there(name):
    assert getattr(ostinato, name).__name__ == f"ostinato.{name}"


@pytest.mark.parametrize(("former", "name"), [("explain", "report"), ("restore", "to_keras")])
def test_a_former_name_is_the_present_function_with_a_warning(former, name):
    sentence = (
        rf"^ostinato\.{former} is now ostinato\.{name}; the old name will be removed in the next version$"
    )
    with pytest.warns(DeprecationWarning, match=sentence) as warned:
        assert getattr(ostinato, former) is getattr(ostinato, name)
    assert warned[0].filename == __file__
    assert former not in ostinato.__all__


def test_another_name_is_not():
    with pytest.raises(AttributeError, match="module 'ostinato' has no attribute 'transformer'"):
        _ = ostinato.transformer


def test_the_version_is_that_of_the_installed_package():
    assert ostinato.__version__ == importlib.metadata.version("ostinato")


def test_it_is_typed():
    assert importlib.resources.files("ostinato").joinpath("py.typed").is_file()


@pytest.mark.parametrize(
    ("task", "name"), [(task, name) for task in registry.names() for name in recipes.names(task)]
)
def test_every_recipe_of_the_package_makes_settings(task, name):
    recipe = recipes.read_recipe(task, name)
    config = registry.spec(task).config(**recipe.task)
    assert registry.spec_of(config).config.task == task
    TrainingConfig(**recipe.training)
