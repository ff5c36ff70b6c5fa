"""The command line. Each command is one file: parse, call, print."""

from ostinato.cli.app import main

__all__ = ["main"]
