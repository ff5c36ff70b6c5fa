"""Checkpoints: all that a training needs to continue as if it had never stopped.

A checkpoint is a folder `step-000000123` with one safetensors file for each group of arrays (weights,
optimizer, state) and `manifest.json` with the position of the training and the SHA-256 of every file. The
checksums are verified before anything else is parsed. The folder is written under another name, flushed, and
then renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from ostinato.errors import RunError
from ostinato.files import atomic as files
from ostinato.files.plain import read_plain
from ostinato.runs import reading
from ostinato.wording import quoted

Arrays = dict[str, np.ndarray]
SavedJson = dict[str, Any]
"""A JSON object of a run, with values that are checked where they are used."""

_NAME = re.compile(r"step-([0-9]{9,18})")
_GROUP = re.compile(r"[a-z_]+")
_VERSION = 1
_KINDS = {int: "a whole number", dict: "an object"}
GROUPS = ("weights", "optimizer", "state")
"""The groups of arrays of every checkpoint."""
AVERAGE = "average"
"""The group of the averaged weights, where a training keeps an average."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint folder.

    Attributes:
        step: the number of training steps done.
        position: the position of the training, JSON-able.
        groups: arrays by name, by group (weights, optimizer, state and, with an average, average).
    """

    step: int
    position: SavedJson
    groups: dict[str, Arrays]


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint in this folder, oldest first."""
    if not folder.is_dir():
        return []
    names = (_NAME.fullmatch(entry.name) for entry in folder.iterdir())
    found = ((int(name[1]), name[0]) for name in names if name)
    return sorted(step for step, name in found if name == path_of(folder, step).name)


def path_of(folder: Path, step: int) -> Path:
    """The folder of the checkpoint of a step."""
    return folder / f"step-{step:09d}"


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint. An existing checkpoint of this step keeps its arrays and gets the new position.

    The arrays of a step never change, but its position does when the evaluation after the step is done.

    Raises:
        RunError: the disk is full or the folder cannot be written; no incomplete checkpoint is left under a
            checkpoint's name.
    """
    final = path_of(folder, checkpoint.step)
    aside = folder / f".writing-{os.getpid()}"
    with files.writing(final):
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            if final.exists():
                _write_manifest(aside, checkpoint, _read_manifest(final).digests)
                os.replace(aside / "manifest.json", final / "manifest.json")
                files.sync_folder(final)
                aside.rmdir()
                return final
            digests: SavedJson = {}
            for group, arrays in checkpoint.groups.items():
                data = safetensors.numpy.save({name: np.asarray(a, order="C") for name, a in arrays.items()})
                files.write_synced(aside / f"{group}.safetensors", data)
                digests[f"{group}.safetensors"] = hashlib.sha256(data).hexdigest()
            _write_manifest(aside, checkpoint, digests)
            files.sync_folder(aside)
            os.rename(aside, final)
            files.sync_folder(folder)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    return final


def _write_manifest(folder: Path, checkpoint: Checkpoint, digests: SavedJson) -> None:
    manifest = {
        "version": _VERSION,
        "step": checkpoint.step,
        "position": checkpoint.position,
        "sha256": digests,
    }
    files.write_synced(folder / "manifest.json", files.to_json(manifest))


def load(folder: Path, step: int, groups: tuple[str, ...] | None = None) -> Checkpoint:
    """Reads a checkpoint.

    Args:
        folder: the run's `checkpoints` folder.
        step: the step of the checkpoint.
        groups: the groups of arrays to read; None reads all that it has.

    Raises:
        RunError: it is damaged or was written by a newer version.
    """
    path = path_of(folder, step)
    manifest = _read_manifest(path)
    if manifest.step != step:
        raise RunError(f"{path / 'manifest.json'} is damaged: step must be {step}, got {manifest.step}")
    if groups is None:
        groups = (*GROUPS, AVERAGE) if f"{AVERAGE}.safetensors" in manifest.digests else GROUPS
    read = {group: _read_group(path, group, manifest.digests) for group in groups}
    return Checkpoint(step, manifest.position, read)


class _Manifest(NamedTuple):
    step: int
    position: SavedJson
    digests: SavedJson


def _read_manifest(path: Path) -> _Manifest:
    file = path / "manifest.json"
    manifest = reading.read_json(file, reading.LARGEST_SETTINGS)
    if not isinstance(manifest, dict):
        raise RunError(f"{file} is damaged: it must be an object")
    for name, kind in (("version", int), ("step", int), ("position", dict), ("sha256", dict)):
        if type(manifest.get(name)) is not kind:
            raise RunError(f"{file} is damaged: {name!r} must be {_KINDS[kind]}")
    if manifest["version"] > _VERSION:
        raise RunError(
            f"{path} was written by a newer version of ostinato (format {manifest['version']}); "
            "upgrade to read it"
        )
    return _Manifest(manifest["step"], manifest["position"], manifest["sha256"])


def _read_group(path: Path, group: str, digests: SavedJson) -> Arrays:
    assert _GROUP.fullmatch(group)
    name = f"{group}.safetensors"
    try:
        data = read_plain(path / name, reading.memory())
    except OSError as error:
        raise RunError(f"checkpoint {path} is damaged: {name}: {error.strerror or error}") from None
    if hashlib.sha256(data).hexdigest() != digests.get(name):
        raise RunError(f"checkpoint {path} is damaged: {name} does not match its checksum")
    try:
        return safetensors.numpy.load(data)
    except (safetensors.SafetensorError, json.JSONDecodeError, KeyError, ValueError) as error:
        raise RunError(f"checkpoint {path} is damaged: {name}: {quoted(error)}") from None


def remove_all_but(folder: Path, keep: set[int | None]) -> None:
    """Deletes the checkpoints of all other steps, and the leftovers of killed saves."""
    for step in steps(folder):
        if step not in keep:
            # Renamed first, so that a kill leaves no incomplete checkpoint under a checkpoint's name.
            doomed = folder / f".removing-{step}"
            os.rename(path_of(folder, step), doomed)
            shutil.rmtree(doomed, ignore_errors=True)
    for leftover in folder.glob(".*-*"):
        shutil.rmtree(leftover, ignore_errors=True)
