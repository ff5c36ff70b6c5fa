"""Packages that only some exports need."""

import importlib.util

from ostinato.errors import ExportError


def need(package: str, extra: str, what: str) -> None:
    """Raises ExportError where a package is not installed, with the command that installs it."""
    if importlib.util.find_spec(package) is None:
        raise ExportError(f"{what} needs {package}, which is not installed; pip install 'ostinato[{extra}]'")
