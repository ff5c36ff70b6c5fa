"""JSON: an object on every line, or an array of objects. Errors name the line or the object."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from ostinato.errors import SourceError
from ostinato.files.atomic import JsonObject
from ostinato.files.encodings import UTF8
from ostinato.files.lines import MARK, OnRead, read_lines, reading, spelled
from ostinato.files.plain import open_plain, unpacked
from ostinato.wording import option

LARGEST_ARRAY = 1 << 29
"""Bytes; an array is read whole, lines are not."""


def read_objects(
    path: Path, name: str, on_read: OnRead | None = None, encoding: str = UTF8
) -> Iterator[tuple[int, JsonObject]]:
    """(line, object) of every line that is not blank; the arguments are those of `read_lines`.

    Raises:
        SourceError: what `read_lines` raises; or a line is not a JSON object.
    """
    for number, line in enumerate(read_lines(path, name, on_read, encoding), 1):
        if line.isspace():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
            raise SourceError(
                f"{name}, line {number} is not JSON ({reason}); every line must be one object"
            ) from None
        if not isinstance(record, dict):
            raise SourceError(
                f"{name}, line {number} is a JSON {_type(record)}; every line must be one object"
            )
        yield number, record


def read_array(
    path: Path, name: str, on_read: OnRead | None = None, encoding: str = UTF8
) -> Iterator[tuple[int, JsonObject]]:
    """(place, object) of an array of objects, which may be the value of "data" or the only array in an
    object.

    Raises:
        SourceError: the file cannot be read, or contains something else.
    """
    with reading(name), open_plain(path) as raw:
        data = unpacked(raw, path).read(LARGEST_ARRAY + 1)
        if on_read is not None:
            on_read(raw.tell())
    if len(data) > LARGEST_ARRAY:
        raise SourceError(
            f"{name} has more than {LARGEST_ARRAY:,} bytes; write its objects one on each line (.jsonl)"
        )
    try:
        value = json.loads(data.decode(encoding).removeprefix(MARK))
    except UnicodeError as error:
        raise SourceError(
            f"{name} is not {spelled(encoding)} ({error}); give its encoding with {option('encoding')}"
        ) from None
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise SourceError(f"{name} is not JSON ({reason})") from None
    if isinstance(value, dict):
        arrays = [each for each in value.values() if isinstance(each, list)]
        value = (
            value["data"] if isinstance(value.get("data"), list) else arrays[0] if len(arrays) == 1 else value
        )
    if not isinstance(value, list):
        raise SourceError(
            f'{name} is a JSON {_type(value)}; it must be an array of objects, {{"data": [...]}}, or an '
            "object on "
            "every line"
        )
    for number, record in enumerate(value, 1):
        if not isinstance(record, dict):
            raise SourceError(
                f"{name}, object {number} is a JSON {_type(record)}; every element of the array must be an "
                "object"
            )
        yield number, cast(JsonObject, record)


def is_array(path: Path, name: str, encoding: str) -> bool:
    """Whether JSON in a file is one value and not an object on every line.

    Raises SourceError as `read_lines` does.
    """
    lines = (line for line in read_lines(path, name, encoding=encoding) if line.strip())
    first, second = next(lines, "").strip(), next(lines, None)
    if first.startswith("["):
        return True
    try:
        return not isinstance(json.loads(first), dict) or (second is None and _has_array(first))
    except (ValueError, RecursionError):
        return first.startswith("{") and second is not None and not second.lstrip().startswith("{")


def _has_array(text: str) -> bool:
    """Whether an object on a line alone has rows in it: an array of objects."""
    value = json.load(io.StringIO(text))
    return any(isinstance(each, list) and each and isinstance(each[0], dict) for each in value.values())


def _type(value: object) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")
