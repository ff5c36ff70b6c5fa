"""JSON lines: an object on every line. Errors name the line."""

import json
from collections.abc import Iterator
from pathlib import Path

from ostinato.errors import SourceError
from ostinato.files.atomic import JsonObject
from ostinato.files.lines import OnRead, read_lines


def read_objects(path: Path, name: str, on_read: OnRead | None = None) -> Iterator[tuple[int, JsonObject]]:
    """(line, object) of every line that is not blank; the arguments are those of `read_lines`.

    Raises:
        SourceError: what `read_lines` raises; or a line is not a JSON object.
    """
    for number, line in enumerate(read_lines(path, name, on_read), 1):
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


def _type(value: object) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")
