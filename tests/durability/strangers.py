"""Cases that are counted, and what holds for each: no hang, no great memory, nothing outside touched."""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

from ostinato.errors import OstinatoError

from ..hanging import no_hang
from .mutations import remove

FACTOR = int(os.environ.get("OSTINATO_HOSTILE_CASES", "1"))
MEMORY = 1 << 30
"""Bytes that a case may take."""
LONGEST = 1500
"""Characters of what is said; what it quotes of a file is shortened."""


def cases(count: int, record_property: Callable[[str, Any], None]) -> Callable[[Any], Callable[[], None]]:
    """Runs a property over so many cases, and counts them.

    Args:
        count: how many there are at least.
        record_property: pytest's, which is told how many there were.
    """

    def decorate(check: Any) -> Callable[[], None]:
        tried = 0
        inner = check.hypothesis.inner_test

        def counted(*arguments: Any, **options: Any) -> None:
            nonlocal tried
            tried += 1
            inner(*arguments, **options)

        check.hypothesis.inner_test = counted
        check = settings(
            max_examples=FACTOR * count,
            derandomize=FACTOR == 1,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )(check)

        def run() -> None:
            check()
            record_property("cases", tried)
            assert tried >= count

        return run

    return decorate


class Outside:
    """A folder with real files, copies of them to be damaged, and a folder that nobody may touch.

    Attributes:
        home: holds the real files.
        outside: nobody reads or writes here.
        cache: OSTINATO_CACHE.
    """

    def __init__(self, root: Path):
        self.home, self.outside, self.cache = root / "home", root / "outside", root / "cache"
        for folder in (self.home, self.outside, self.cache):
            folder.mkdir()
        (self.outside / "secret.json").write_text('{"format": "ostinato run", "secret": 1}')
        (self.outside / "notes.txt").write_text("a secret\n" * 20)
        self._state = self._look()

    @contextmanager
    def copy_of(self, real: Path) -> Iterator[Path]:
        """A copy of a real file or folder."""
        place = self.home.parent / "damaged"
        place.mkdir()
        try:
            copy = place / real.name
            shutil.copytree(real, copy) if real.is_dir() else shutil.copy(real, copy)
            yield copy
        finally:
            remove(place)

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Lets one sentence pass."""
        try:
            yield
        except OstinatoError as error:
            said = str(error)
        else:
            return
        assert 0 < len(said) < LONGEST
        assert said.isprintable()

    def write_sources(self) -> None:
        """Writes real tables, pairs, texts and a recipe into `home`."""
        rows = [
            (f"a {word} film, {n}", ("bad", "good")[n % 2]) for n, word in enumerate(["dull", "fine"] * 20)
        ]
        files = {
            "table.csv": "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows),
            "table.tsv": "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows),
            "table.jsonl": "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows),
            "pairs.tsv": "".join(f"go {n}\tva {n} !\n" for n in range(40)),
            "text.txt": "the cat sat on the mat and saw the rain\n" * 30,
            "recipe.toml": 'description = "small"\n[language_model]\nunits = [8, 8]\ndropout = 0.1\n'
            "[training]\nsteps = 3\nlearning_rate = 1e-3\nstep_at = [0.5, 0.75]\n",
        }
        for name, content in files.items():
            (self.home / name).write_text(content)
        for name in ("table.csv", "pairs.tsv", "text.txt"):
            packed = gzip.compress((self.home / name).read_bytes(), mtime=0)
            (self.home / f"{name}.gz").write_bytes(packed)

    def assert_untouched(self) -> None:
        assert self._look() == self._state

    def _look(self) -> list[tuple[str, bytes, int, int]]:
        return sorted(
            (entry.name, Path(entry).read_bytes(), entry.stat().st_mtime_ns, entry.stat().st_mode)
            for entry in os.scandir(self.outside)
        )


@contextmanager
def guarded(outside: Outside) -> Iterator[None]:
    """Fails when the block hangs, takes great memory, or touches what lies outside."""
    with no_hang(), _no_great_memory():
        yield
    outside.assert_untouched()


@contextmanager
def _no_great_memory() -> Iterator[None]:
    """A limit on the address space, beyond which to allocate fails."""
    if not sys.platform.startswith("linux"):
        yield
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
