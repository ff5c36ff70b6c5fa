"""Checkpoints: everything a training needs to go on as if it had never stopped.

A checkpoint is a folder `step-000000123` with one safetensors file for each group of arrays (weights,
optimizer, state) and `manifest.json`, which holds the training's position and a SHA-256 of every file. The
checksums are verified before anything else is parsed. The folder is written under another name, flushed and
renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from ostinato.errors import RunError
from ostinato.files import atomic as files
from ostinato.files.plain import read_plain
from ostinato.runs import reading
from ostinato.wording import quoted, shown

Arrays = dict[str, np.ndarray]

_NAME = re.compile(r"step-([0-9]{9,18})")
_GROUP = re.compile(r"[a-z_]+")
_VERSION = 1
GROUPS = ("weights", "optimizer", "state")
"""The groups of arrays of a checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds.

    Attributes:
        step: how many training steps were done.
        position: the training's position, JSON-able.
        groups: arrays by name, by group (weights, optimizer, state).
    """

    step: int
    position: dict[str, Any]
    groups: dict[str, Arrays]


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint in this folder, oldest first."""
    if not folder.is_dir():
        return []
    names = (_NAME.fullmatch(entry.name) for entry in folder.iterdir())
    found = ((int(name[1]), name[0]) for name in names if name)
    return sorted(step for step, name in found if name == path_of(folder, step).name)


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:09d}"


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint. A step that has one keeps its arrays, and gets the position.

    A step has one set of arrays; its position changes when the evaluation after the step is done.

    Raises:
        RunError: when the disk is full or the folder cannot be written; nothing half-written is left under a
            checkpoint's name.
    """
    final = path_of(folder, checkpoint.step)
    aside = folder / f".writing-{os.getpid()}"
    with files.writing(final):
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            if final.exists():
                digests = _read_manifest(final)["sha256"]
                _write_manifest(aside, checkpoint, digests)
                os.replace(aside / "manifest.json", final / "manifest.json")
                files.sync_folder(final)
                aside.rmdir()
                return final
            digests = {}
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


def _write_manifest(folder: Path, checkpoint: Checkpoint, digests: dict[str, str]) -> None:
    manifest = {
        "version": _VERSION,
        "step": checkpoint.step,
        "position": checkpoint.position,
        "sha256": digests,
    }
    files.write_synced(folder / "manifest.json", files.to_json(manifest))


def load(folder: Path, step: int, groups: tuple[str, ...] = GROUPS) -> Checkpoint:
    """Reads a checkpoint.

    Args:
        folder: the run's `checkpoints` folder.
        step: which one.
        groups: the groups of arrays to read.

    Raises:
        RunError: when it is damaged or of a newer version.
    """
    path = path_of(folder, step)
    manifest = _read_manifest(path)
    if manifest["step"] != step:
        raise RunError(f"{path / 'manifest.json'} is damaged: it speaks of step {manifest['step']}")
    read = {group: _read_group(path, group, manifest["sha256"]) for group in groups}
    return Checkpoint(step, manifest["position"], read)


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = reading.read_json(path / "manifest.json", reading.LARGEST_SETTINGS)
    try:
        version, step, position, digests = parts = [
            manifest[name] for name in ("version", "step", "position", "sha256")
        ]
    except (KeyError, TypeError) as error:
        raise RunError(f"{path / 'manifest.json'} is damaged: {shown(repr(error))}") from None
    if [type(part) for part in parts] != [int, int, dict, dict]:
        raise RunError(f"{path / 'manifest.json'} is damaged: its step or its position is none")
    if version > _VERSION:
        raise RunError(
            f"{path} was written by a newer version of ostinato (format {version}); upgrade to read it"
        )
    return {"step": step, "position": position, "sha256": digests}


def _read_group(path: Path, group: str, digests: dict[str, Any]) -> Arrays:
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
    """Deletes the checkpoints of other steps, and what a killed save left behind."""
    for step in steps(folder):
        if step not in keep:
            # Renamed first: a kill in the middle leaves no half of one under a checkpoint's name.
            doomed = folder / f".removing-{step}"
            os.rename(path_of(folder, step), doomed)
            shutil.rmtree(doomed, ignore_errors=True)
    for leftover in folder.glob(".*-*"):
        shutil.rmtree(leftover, ignore_errors=True)
