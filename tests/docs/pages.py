"""What the pages of the documentation hold: fenced blocks, commands and tables."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((REPOSITORY / "docs").glob("*.md")))]


class Block(NamedTuple):
    """A fenced block: its language, "" for none, the line it begins at, and what is in it."""

    language: str
    line: int
    text: str


def read(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[Block]:
    """The blocks of a page, of these languages only if any is given."""
    text = read(page)
    found = [
        Block(match[1], text[: match.start()].count("\n") + 2, match[2])
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]
    return [block for block in found if not languages or block.language in languages]


def commands(text: str, program: str) -> Iterator[str]:
    """The command lines in a block, or in a piece of code within a sentence, from the program's name on."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if found := re.search(rf"(?:^|[\s|;&'\"]){program}( .*)?$", line.strip()):
            yield (program + re.split(r"\s#\s|\s\||\"? &$", found[1] or "")[0]).strip()


def inline_code(page: str) -> list[str]:
    """What stands between single backticks outside of blocks."""
    text = re.sub(r"^```.*?^```$", "", read(page), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]


def tables(page: str) -> list[list[list[str]]]:
    """The tables of a page, see `tables_of`."""
    return tables_of(read(page))


def section(page: str, heading: str) -> str:
    """What stands below the one heading that contains these words, up to the next heading."""
    [found] = [part for part in re.split(r"^#+ ", read(page), flags=re.M) if heading in part.split("\n")[0]]
    return found


def tables_of(text: str) -> list[list[list[str]]]:
    """The tables of a text: rows of cells, the header first, without bold type."""
    found = re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE)
    return [
        [
            [cell.strip().replace("**", "") for cell in line.strip("|").split("|")]
            for line in table.splitlines()
        ]
        for table in (re.sub(r"\n\|[-:| ]+\|\n", "\n", each).strip() for each in found)
    ]


def table(page: str, *header: str) -> list[list[str]]:
    """The rows below the header of the one table that begins with these columns."""
    [found] = [each for each in tables(page) if each[0][: len(header)] == list(header)]
    return found[1:]
