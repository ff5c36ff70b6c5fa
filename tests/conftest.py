"""What every test shares: quiet TensorFlow, a cache of its own, and reproducible property tests."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ostinato", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ostinato")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Every test reads and writes a cache folder of its own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("OSTINATO_CACHE", str(folder))
    return folder
