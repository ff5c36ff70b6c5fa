"""Checks HDF5 files of weights in a separate process, before anything else reads them.

On a damaged file HDF5's library may crash, taking the process with it, or never return. This file is also the
program of the separate process; it imports nothing but h5py, so it starts quickly.
"""

import hashlib
import pathlib
import subprocess
import sys
import textwrap

import h5py

ALWAYS_ALLOWED = 1 << 26
"""Bytes that any file may ask for, however small it is."""
MAX_EXPANSION = 100
"""How many times its stored size a part of a file may have when unpacked; Keras does not compress weights."""
MAX_PARTS = 100_000
"""Groups and arrays of weights in a file."""
MAX_CONFIG_BYTES = 1 << 26
"""Size of a configuration; that of a model of a thousand layers has about a million bytes."""
_SECONDS, _BYTES_PER_SECOND = 60, 1 << 24  # a generous time limit for a slow disk

_sound_digests: set[str] = set()


def find_problem(path: pathlib.Path) -> str:
    """What is wrong with an HDF5 file, to be put after its name; empty when nothing is.

    Problems are also links, arrays in other files, and sizes far above the size of the file.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest in _sound_digests:
        return ""
    command = [sys.executable, "-P", __file__, str(path)]
    timeout = _SECONDS + path.stat().st_size / _BYTES_PER_SECOND
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return f"its HDF5 is damaged: it was not read within {timeout:.0f} seconds"
    if done.returncode != 0:
        return "its HDF5 is damaged: HDF5's library crashes on it"
    problem = done.stdout.decode().strip()
    if not problem:
        _sound_digests.add(digest)
    return problem


def read_whole(path: str) -> str:
    """Reads the whole file in this process and returns what `find_problem` returns."""
    size = pathlib.Path(path).stat().st_size
    with h5py.File(path, "r") as file:
        waiting, seen = [file["/"]], set()
        while waiting:
            part = waiting.pop()
            information = h5py.h5o.get_info(part.id)
            if (information.fileno, information.addr) in seen:
                continue
            seen.add((information.fileno, information.addr))
            if len(seen) + len(waiting) > MAX_PARTS:
                return "it has far too many arrays"
            if problem := _attributes_problem(part, size):
                return problem
            if isinstance(part, h5py.Group):
                for name in part:
                    if not isinstance(part.get(name, getlink=True), h5py.HardLink):
                        return f"its part {name!r:.100} lies elsewhere"
                    waiting.append(part[name])
            elif isinstance(part, h5py.Dataset) and (problem := _array_problem(part, size)):
                return f"its weights {part.name!r:.100} {problem}"
    return ""


def _attributes_problem(part: h5py.HLObject, size: int) -> str:
    for name in part.attrs:
        attribute = part.attrs.get_id(name)
        count = attribute.get_space().get_simple_extent_npoints()
        if count * attribute.get_type().get_size() > max(size, ALWAYS_ALLOWED):
            return f"its attribute {name!r:.100} claims to be larger than the file"
        part.attrs[name]
    return ""


def _array_problem(array: h5py.Dataset, size: int) -> str:
    if array.external or array.is_virtual:
        return "lie in another file"
    if array.dtype.kind in "OSU":
        array[()]  # text that stands beside the weights, which nobody reads
        return ""
    if array.dtype.kind not in "biufcV":
        return "are not numbers"
    if array.nbytes > max(ALWAYS_ALLOWED, MAX_EXPANSION * min(size, array.id.get_storage_size())):
        return f"claim {array.nbytes:,} bytes"
    if array.chunks is None:
        array[()]
    else:
        for place in array.iter_chunks():
            array[place]
    return ""


if __name__ == "__main__":
    try:
        found = read_whole(sys.argv[1])
    except Exception as error:  # h5py raises HDF5's messages in many types of exception
        found = "its HDF5 is damaged: " + textwrap.shorten(str(error), 200, placeholder="…")
    print(found)
