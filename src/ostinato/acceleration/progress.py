"""How far a measurement has come, on a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Progress = Callable[[str, int, int], None]
"""Called with what is being done, the steps done and the steps in all."""


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
    """A bar on standard error while work is done; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("loading")
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
