"""What a stranger may do to a file: contents damaged as Hypothesis draws, and what is not a regular file."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st


def nested(depth: int, of: Any = 0) -> Any:
    for _ in range(depth):
        of = [of]
    return of


VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 1.5, -0.5, 1e-300, 1e308, math.nan, math.inf, -math.inf),
    *(255, 256, 65536, 2**31 - 1, 2**31, 2**53, 2**63, 10**30, 10**400, -(10**30)),
    *("", " ", "x", "NaN", "1", "\0", "\n", "\ud800", "☃", "<unk>", "a" * 5000, "\u0660" * 9),
    *("../../outside/secret.json", "/dev/zero", "/dev/stdin", "..", ".", "outside", "os.system", "__class__"),
    *([], {}, [[]], [None], ["a", "a"], [1, 2], [0.5] * 3, {"a": {}}, nested(60), nested(200)),
)
"""What a number, a text or anything else of a JSON file is replaced by."""
TOKENS = (
    *(b"\0", b"\n", b"\r", b'"', b"'", b"\t", b",", b"{", b"}", b"[[[[", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"NaN", b"-Infinity", b"null", b"1e999", b"9" * 5000, b"[" * 3000, b'{"a":' * 1500, b"\xed\xa0\x80"),
    *("☃é".encode(), b"\x1b[2J", b"../", b"= ", b"[a]\n", b"a.b.c = 1\n"),
)
"""What is put into a file somewhere."""


@st.composite
def changed_bytes(draw, data: bytes) -> bytes:
    """The content with something flipped, cut, put in, taken out, doubled, or a number made another."""
    at = draw(st.integers(0, max(0, len(data) - 1)), "at")
    end = min(len(data), at + draw(st.sampled_from([1, 2, 4, 16, 64, 4096])))
    how = draw(st.sampled_from(["flip", "cut", "insert", "remove", "double", "number", "zero", "empty"]))
    if how == "flip" and data:
        return data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
    if how == "cut":
        return data[:at]
    if how == "remove":
        return data[:at] + data[end:]
    if how == "double":
        return data[:end] + data[at:end] * draw(st.sampled_from([1, 2, 50])) + data[end:]
    if how == "zero":
        return data[:at] + bytes(end - at) + data[end:]
    if how == "number" and (numbers := list(re.finditer(rb"-?\d+(\.\d+)?", data))):
        number = draw(st.sampled_from(numbers))
        other = draw(
            st.sampled_from([b"-1", b"0", b"1e400", b"9" * 30, b"NaN", b'"x"', b"null", b"[]", b"1.5"])
        )
        return data[: number.start()] + other + data[number.end() :]
    return b"" if how == "empty" else data[:at] + draw(st.sampled_from(TOKENS)) + data[at:]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all that is inside a JSON value; of a long list, of its beginning only."""
    inside = (
        value.items() if isinstance(value, dict) else enumerate(value[:20]) if isinstance(value, list) else ()
    )
    return [found for key, inner in inside for found in ((*path, key), *places(inner, (*path, key)))]


def _holder(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


@st.composite
def changed_json(draw, value: Any, *, often: tuple[str, ...] = ()) -> Any:
    """A JSON value with one to three of its parts replaced, removed, renamed, added or exchanged.

    Args:
        value: it is not changed itself.
        often: keys that are drawn as often as all the others.
    """
    value = copy.deepcopy(value)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        paths = places(value)
        wanted = [path for path in paths if path[-1] in often]
        if not paths:
            return draw(st.sampled_from(VALUES))
        path = draw(st.sampled_from(wanted) if wanted and draw(st.booleans()) else st.sampled_from(paths))
        holder, key = _holder(value, path), path[-1]
        how = draw(st.sampled_from(["replace"] * 4 + ["remove", "rename", "add", "exchange", "repeat"]))
        if how == "replace":
            holder[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif how == "remove":
            del holder[key]
        elif how == "exchange":
            other = draw(st.sampled_from(paths))
            place = _holder(value, other)
            one, two = copy.deepcopy(holder[key]), copy.deepcopy(place[other[-1]])
            holder[key], place[other[-1]] = two, one
        elif isinstance(holder, list):
            holder += copy.deepcopy(holder)[: 100 if how == "repeat" else 1]
        else:
            name = draw(
                st.sampled_from(["", "self", "layers", "units", "path", "kind", "x" * 3000, "__init__"])
            )
            holder[name] = (
                holder.pop(key) if how == "rename" else copy.deepcopy(draw(st.sampled_from(VALUES)))
            )
    return value


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


@st.composite
def changed_document(draw, data: bytes, *, often: tuple[str, ...] = ()) -> bytes:
    """A JSON file, changed as a JSON value or as bytes."""
    if draw(st.integers(0, 3)):
        return as_json(draw(changed_json(json.loads(data), often=often)))
    return draw(changed_bytes(data))


@st.composite
def changed_arrays(draw, data: bytes) -> bytes:
    """A safetensors file: a length that lies, another header, other numbers, or changed as bytes."""
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    how = draw(st.sampled_from(["length", "header", "header", "dtype", "numbers", "bytes"]))
    if how == "bytes":
        return draw(changed_bytes(data))
    if how == "length":
        length = draw(st.sampled_from([0, 1, length - 1, length + 1, 2**31, 2**60, 2**64 - 1]))
        return struct.pack("<Q", length) + data[8:]
    if how == "numbers":
        number = draw(st.sampled_from([math.nan, math.inf, -math.inf, 3e38]))
        at = 4 * draw(st.integers(0, max(0, len(body) // 4 - 1)))
        body = body[:at] + struct.pack("<f", number) + body[at + 4 :]
    elif how == "dtype" and header:
        name = draw(st.sampled_from(sorted(header)))
        kinds = ["F64", "F16", "BF16", "I32", "I64", "U8", "BOOL", "F8_E4M3", "C64", "F4", "f32", "O"]
        header[name] = header[name] | {"dtype": draw(st.sampled_from(kinds))}
        if draw(st.booleans()) and header[name]["dtype"] == "F64":
            header[name]["shape"] = [*header[name]["shape"][:-1], header[name]["shape"][-1] // 2]
    else:
        header = draw(changed_json(header, often=("data_offsets", "shape")))
    text = as_json(header)
    return struct.pack("<Q", len(text)) + text + body


@dataclass(frozen=True)
class NoPlainFile:
    """Something else in the place of a file.

    Attributes:
        what: its name, which is all that Hypothesis shows of it.
        make: makes it at a path; its second argument is a folder that nobody may touch.
    """

    what: str
    make: Callable[[Path, Path], object]

    def __repr__(self) -> str:
        return self.what


NO_PLAIN_FILES = (
    NoPlainFile("nothing", lambda path, outside: None),
    NoPlainFile("a folder", lambda path, outside: path.mkdir()),
    NoPlainFile("a pipe", lambda path, outside: os.mkfifo(path)),
    NoPlainFile("a link to a file outside", lambda path, outside: path.symlink_to(outside / "secret.json")),
    NoPlainFile("a link to a folder outside", lambda path, outside: path.symlink_to(outside)),
    NoPlainFile("a link to nothing", lambda path, outside: path.symlink_to(outside / "new.json")),
    NoPlainFile("a link to itself", lambda path, outside: path.symlink_to(path)),
    NoPlainFile("a link to a device", lambda path, outside: path.symlink_to("/dev/zero")),
    NoPlainFile("a file of a terabyte", lambda path, outside: sparse(path, 1 << 40)),
)


def sparse(path: Path, size: int) -> None:
    """A file of so many zeros, which take no place."""
    with open(path, "wb") as file:
        file.truncate(size)


def remove(path: Path) -> None:
    """Removes whatever lies at a path."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def put(path: Path, content: bytes | NoPlainFile, outside: Path) -> None:
    """Replaces a file."""
    remove(path)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content.make(path, outside)


def sign(checkpoint: Path) -> None:
    """Gives a checkpoint's manifest the checksums of what its files hold now, as anyone can."""
    manifest = json.loads((checkpoint / "manifest.json").read_bytes())
    for name in manifest["sha256"]:
        if (checkpoint / name).is_file():
            manifest["sha256"][name] = hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()
    (checkpoint / "manifest.json").write_bytes(as_json(manifest))
