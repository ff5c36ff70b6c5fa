"""Broadcasts the run and the checkpoint that the chief read, when several workers resume a training.

Workers do not read the files themselves. A cluster may have no shared folder, and a network file system may
show one machine an older checkpoint than another.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import safetensors.numpy

from ostinato.runs.checkpoints import Arrays, Checkpoint
from ostinato.runs.directory import RunDirectory
from ostinato.training.workers import Workers


def broadcast_run(
    found: tuple[RunDirectory, Checkpoint] | None, workers: Workers
) -> tuple[RunDirectory, Checkpoint]:
    """The chief's run and checkpoint, on every worker.

    Args:
        found: the chief's run and checkpoint; None on the other workers.
        workers: every one of them must call this.
    """
    if workers.count > 1:
        return _unpack(workers.broadcast_bytes(0, b"" if found is None else _pack(*found)))
    assert found is not None
    return found


def _pack(run: RunDirectory, checkpoint: Checkpoint) -> bytes:
    about = {
        "run": {**asdict(run), "path": str(run.path)},
        "step": checkpoint.step,
        "position": checkpoint.position,
        "groups": list(checkpoint.groups),
    }
    arrays = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
    for group, named in checkpoint.groups.items():
        arrays |= {f"{group}:{name}": np.asarray(array, order="C") for name, array in named.items()}
    return safetensors.numpy.save(arrays)


def _unpack(data: bytes) -> tuple[RunDirectory, Checkpoint]:
    arrays = safetensors.numpy.load(data)
    about = json.loads(arrays.pop("about").tobytes())
    groups: dict[str, Arrays] = {group: {} for group in about["groups"]}
    for key, array in arrays.items():
        group, _, name = key.partition(":")
        groups[group][name] = array
    run = RunDirectory(**{**about["run"], "path": Path(about["run"]["path"])})
    return run, Checkpoint(about["step"], about["position"], groups)
