"""Files that stay whole when the process is killed: written under another name, flushed, then renamed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ostinato.errors import ConfigError, RunError

JsonObject = dict[str, object]
"""A JSON object as Python reads and writes it."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an error of writing (disk full, no permission) into one sentence.

    Raises:
        RunError: with the path and the reason.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"could not write {path}: {reason}; what was saved before is intact") from error


def write_synced(path: Path, data: bytes) -> None:
    """Writes a new file and flushes it."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flushes the entries of a folder, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def placed_in(folder: Path) -> Iterator[Path]:
    """A temporary folder; the files written into it are moved to `folder` when the block ends.

    Each file appears whole or not at all, and replaces one with the same name. After an exception nothing is
    moved.

    Args:
        folder: made when it is missing; its parent exists.
    """
    with tempfile.TemporaryDirectory() as elsewhere:
        yield Path(elsewhere)
        folder.mkdir(exist_ok=True)
        for file in sorted(Path(elsewhere).iterdir()):
            aside = folder / f".{file.name}.writing-{os.getpid()}"
            try:
                write_synced(aside, file.read_bytes())
                os.replace(aside, folder / file.name)
            except OSError:
                with suppress(OSError):
                    aside.unlink()
                raise
        sync_folder(folder)


def to_json(value: object) -> bytes:
    """Readable JSON, keys in the order given."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def check_place(flag: str, path: Path | None) -> None:
    """Refuses a path where no file can be written. Raises ConfigError that names the flag."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise ConfigError(f"{flag} must be a file in a folder that exists, got {path}")


def replace(path: Path, data: bytes) -> None:
    """Writes a file; a kill at any instant leaves what was there, or all of it. Raises RunError."""
    partial_path = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with writing(path):
            write_synced(partial_path, data)
            os.replace(partial_path, path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            partial_path.unlink(missing_ok=True)
