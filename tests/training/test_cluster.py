"""Which cluster TF_CONFIG and Slurm describe, and which worker this process is."""

import itertools
import json

import pytest
import tensorflow as tf

from ostinato.errors import ConfigError
from ostinato.training import cluster
from ostinato.training.cluster import is_chief, join


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ("{", "cannot read the cluster"),
        ("[]", "cannot read the cluster"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "cannot read the cluster"),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
            "no task worker 2",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": -1}}',
            "no task worker -1",
        ),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
            "at most one chief, got ps",
        ),
    ],
    ids=itertools.count(),
)
def test_a_cluster_that_is_not_valid_is_refused(monkeypatch, config, what):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ConfigError, match=what):
        join(None, pytest.fail)


@pytest.mark.parametrize(
    ("task", "chief"),
    [({"type": "chief", "index": 0}, True), ({"type": "worker", "index": 0}, False), (None, True)],
)
def test_a_chief_comes_before_the_workers(monkeypatch, task, chief):
    cluster = {"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": task}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster if task else {}))
    assert is_chief() == chief


def test_a_cluster_of_one_is_no_cluster(monkeypatch):
    cluster = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    workers = join(None, pytest.fail)
    assert (workers.count, workers.replica_count, workers.chief) == (1, 1, True)


def test_devices_and_a_cluster_exclude_each_other(monkeypatch):
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(ConfigError, match="leave out devices="):
        join(2, pytest.fail)


def test_a_slurm_step_is_a_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    step = {"STEP_NUM_TASKS": "3", "STEP_NODELIST": "n[1-2]", "STEP_TASKS_PER_NODE": "2,1", "PROCID": "2"}
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    found = cluster._cluster()
    assert found is not None
    assert found.cluster_spec().as_dict() == {"worker": ["n1:8888", "n1:8889", "n2:8888"]}
    assert cluster._place(found) == (2, 3)
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert is_chief()


def test_devices_that_are_not_valid_are_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ConfigError, match="devices must be 1 to 1024, got 0"):
        join(0, pytest.fail)
    tf.zeros(1)
    with pytest.raises(ConfigError, match="before any other use of TensorFlow"):
        join(2, pytest.fail)
