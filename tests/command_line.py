"""The command line, called in this process."""

import sys

import pytest


def command(*arguments):
    """Calls `ostinato` with these arguments; its exit code."""
    from ostinato.cli.app import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ostinato", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code
