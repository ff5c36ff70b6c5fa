"""What every test shares: quiet TensorFlow, a cache of its own, and reproducible property tests."""

import gc
import itertools
import os
import pathlib
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest
from hypothesis import HealthCheck, settings
from matplotlib.figure import Figure

import ostinato

from . import forks
from .disk import Disk
from .pictures import savefig
from .variants import THOROUGH

settings.register_profile(
    "ostinato", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ostinato")


FAST = tuple(
    f"tests/{name}.py"
    for name in [
        "data/batches/test_permutation",
        "data/batches/test_windows",
        "data/store/test_tokens",
        "decoding/test_sampling",
        "docs/test_numbers",
        "engines/test_keras",
        "files/test_atomic",
        "files/test_cache",
        "layers/test_attention",
        "cells/test_registry",
        "layers/test_stack",
        "runs/test_checkpoints",
        "runs/test_weights",
        "tasks/test_base",
        "tasks/test_config",
        "tasks/language_model/test_config",
        "tasks/language_model/test_network",
        "test_package",
        "training/test_budget",
        "training/test_config",
        "training/test_loop",
        "training/test_measuring",
        "training/test_optimizers",
        "training/test_schedules",
        "training/test_signals",
        "training/test_snapshot",
    ]
)
"""The tests of `make check`: some seconds each, and something of every room of the house."""

LONG = ("tests/native/test_passes.py", "tests/examples/test_plugin.py", "tests/docs/test_snippets.py")
"""With single tests of half a minute: begun last, one of them would keep a worker busy after the others."""


def pytest_addoption(parser):
    parser.addoption("--thorough", action="store_true", help="run the tests marked thorough, too")


def pytest_configure(config):
    if config.getoption("--thorough"):
        os.environ[THOROUGH] = "1"


def pytest_ignore_collect(collection_path, config):
    """With `-m fast`, the other files are not even imported."""
    if config.option.markexpr == "fast" and collection_path.name.startswith("test_"):
        return not collection_path.as_posix().endswith(FAST) or None
    return None


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.path.as_posix().endswith(FAST):
            item.add_marker("fast")
    if not config.getoption("--thorough"):
        left_out = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG))


def pytest_collection_finish(session):
    """Spares every collection of garbage the millions of objects that TensorFlow leaves for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.fixture(autouse=True, scope="session")
def small_pictures(request):
    """Pictures are small, but with `--thorough`."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.config.getoption("--thorough"):
            patch.setattr(Figure, "savefig", savefig)
        yield


@pytest.fixture(scope="session")
def caches(tmp_path_factory):
    """New empty folders in one, so that none has to look where the others are."""
    folder = tmp_path_factory.mktemp("caches")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def cache(caches, monkeypatch):
    """Every test reads and writes a cache folder of its own."""
    folder = next(caches)
    folder.mkdir()
    monkeypatch.setenv("OSTINATO_CACHE", str(folder))
    return folder


@pytest.fixture
def disk(monkeypatch):
    """What would be on the disk after a power cut."""
    return Disk(monkeypatch)


# The finder of an editable install would find the library of that install.
_AS_INSTALLED = (
    "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'ScikitBuild' not in type(f).__name__]\n"
)


@pytest.fixture(scope="session")
def without_library(tmp_path_factory):
    """without_library(code, …) runs Python code with an ostinato whose install built no native engine.

    Its arguments are those of the program; its options are environment variables. `.package` is where that
    ostinato lies.
    """
    folder = tmp_path_factory.mktemp("without_library")
    package = pathlib.Path(ostinato.__file__).parent

    def built(parent, names):
        return [name for name in names if name.startswith("libostinato") or name == "__pycache__"]

    shutil.copytree(package, folder / "ostinato", ignore=built)

    def run(code, *arguments, **environment):
        environment = os.environ | {"PYTHONPATH": str(folder)} | environment
        return forks.run("-c", _AS_INSTALLED + code, *arguments, env=environment)

    run.package = folder / "ostinato"
    return run
