"""Weights in HDF5 from anyone: read once in a process of their own before anything else reads them.

HDF5's library may crash on a damaged file, or never return, and takes the whole process with it. This file is
the program of that other process, too; it imports nothing but h5py, so that it starts at once.
"""

import hashlib
import pathlib
import subprocess
import sys
from typing import Any

import h5py

HARMLESS = 1 << 26
"""Bytes that any file may ask for, however small it is."""
EXPANDS = 100
"""How many times more than is stored may be unpacked from it; Keras stores weights as they are."""
MOST_PARTS = 100_000
"""Groups and arrays of weights."""
_SECONDS, _BYTES_A_SECOND = 60, 1 << 24  # what a slow disk needs, and longer

_sound: set[str] = set()


def problem(path: pathlib.Path) -> str:
    """What is wrong with an HDF5 file, as it follows its name; empty when nothing is.

    Links, and arrays that lie in other files, are wrong, too, and so is what claims to be far larger than the
    file.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest in _sound:
        return ""
    command = [sys.executable, "-P", __file__, str(path)]
    patience = _SECONDS + path.stat().st_size / _BYTES_A_SECOND
    try:
        done = subprocess.run(command, capture_output=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        return f"its HDF5 is damaged: it was not read within {patience:.0f} seconds"
    if done.returncode != 0:
        return "its HDF5 is damaged: HDF5's library crashes on it"
    found = done.stdout.decode().strip()
    if not found:
        _sound.add(digest)
    return found


def look_through(path: str) -> str:
    """The same, in this process."""
    size = pathlib.Path(path).stat().st_size
    with h5py.File(path, "r") as file:
        waiting, seen = [file["/"]], set()
        while waiting:
            part = waiting.pop()
            information = h5py.h5o.get_info(part.id)
            if (information.fileno, information.addr) in seen:
                continue
            seen.add((information.fileno, information.addr))
            if len(seen) + len(waiting) > MOST_PARTS:
                return "it has far too many arrays"
            if found := _attributes(part, size):
                return found
            if isinstance(part, h5py.Group):
                for name in part:
                    if not isinstance(part.get(name, getlink=True), h5py.HardLink):
                        return f"its part {name!r:.100} lies elsewhere"
                    waiting.append(part[name])
            elif isinstance(part, h5py.Dataset) and (found := _array(part, size)):
                return f"its weights {part.name!r:.100} {found}"
    return ""


def _attributes(part: Any, size: int) -> str:
    for name in part.attrs:
        attribute = part.attrs.get_id(name)
        count = attribute.get_space().get_simple_extent_npoints()
        if count * attribute.get_type().get_size() > max(size, HARMLESS):
            return f"its attribute {name!r:.100} claims to be larger than the file"
        part.attrs[name]
    return ""


def _array(array: h5py.Dataset, size: int) -> str:
    if array.external or array.is_virtual:
        return "lie in another file"
    if array.dtype.kind not in "biufcV":
        return "are no numbers"
    if array.nbytes > max(HARMLESS, EXPANDS * min(size, array.id.get_storage_size())):
        return f"claim {array.nbytes:,} bytes"
    if array.chunks is None:
        array[()]
    else:
        for place in array.iter_chunks():
            array[place]
    return ""


if __name__ == "__main__":
    try:
        said = look_through(sys.argv[1])
    except Exception as error:  # h5py raises whatever HDF5 says, in many ways
        said = "its HDF5 is damaged: " + " ".join(str(error).split())[:200]
    print(said)
