"""ostinato info"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Annotated

import typer

from ostinato import engines, layers
from ostinato.cli.quiet import import_tensorflow
from ostinato.cli.usage import Command, click_command
from ostinato.errors import ConfigError
from ostinato.runs.directory import RunDirectory
from ostinato.runs.opened import open_to_use
from ostinato.wording import printable


def command() -> Command:
    """What Click runs."""
    return click_command(info)


def info(
    run: Annotated[
        Path | None, typer.Argument(help="A run directory; without one, this machine is shown.")
    ] = None,
    cells: Annotated[
        bool, typer.Option("--cells", help="List the recurrent cells: states, weights, products, engine.")
    ] = False,
    units: Annotated[
        int, typer.Option(min=1, max=65536, help="With --cells: the width of the layer and of its inputs.")
    ] = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Shows versions, devices, and which engine runs recurrent layers here, and why; or a run.

    Example: ostinato info

    Example: ostinato info runs/classify-001 --json

    Example: ostinato info --cells --units 256
    """
    if cells:
        if run is not None:
            raise ConfigError("--cells lists the cells of this machine; it takes no run")
        return _print_cells(units, as_json)
    facts = _of_machine() if run is None else _of_run(run)
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    for name, value in facts.items():
        print(f"{name:<14}{_shown(value)}")


def _print_cells(units: int, as_json: bool) -> None:
    """The figures of every cell, as a table or one JSON object."""
    engines.check("auto")  # what OSTINATO_ENGINE asks for
    import_tensorflow()
    from ostinato.cells.cards import card

    cards = [card(name, units=units, features=units) for name in layers.cells()]
    if as_json:
        print(json.dumps({"units": units, "cells": [each._asdict() for each in cards]}, ensure_ascii=False))
        return
    rows = [("cell", "states", "weights", "products a step", "engine")]
    for each in cards:
        states = ", ".join(f"{name} ({size:,})" for name, size in each.states.items())
        products = "" if each.multiplications is None else f"{each.multiplications:,}"
        rows.append((each.name, states, f"{each.parameters:,}", products, each.engine))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        numbers = (2, 3)
        cells = [
            text.rjust(width) if at in numbers else text.ljust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))


def _of_run(path: Path) -> dict[str, object]:
    """The facts of a run: what every run has, and what its task knows."""
    opened = open_to_use(path, "best")
    directory = opened.directory
    return {
        "run": str(path),
        "task": directory.task,
        "best step": opened.saved.step,
        **({"chosen": _chosen(directory)} if directory.chosen else {}),
        **(opened.spec.output["info"](opened.facts) if "info" in opened.spec.output else {}),
    }


def _chosen(directory: RunDirectory) -> dict[str, object]:
    """The settings that a rule chose, with their values, and why."""
    settings = directory.task_config | directory.training
    names = [name for name in directory.chosen.get("settings", ()) if name in settings]
    return {name: settings[name] for name in names} | {"because": directory.chosen.get("because", "")}


def _of_machine() -> dict[str, object]:
    engines.check("auto")  # what OSTINATO_ENGINE asks for
    import_tensorflow()
    import keras
    import tensorflow as tf

    import ostinato
    from ostinato.files import cache

    choice = engines.choose("auto")
    return {
        "ostinato": ostinato.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": f"{keras.__version__} on {keras.backend.backend()}",
        "devices": ", ".join(
            device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()
        ),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "engine": choice.engine,
        "why": choice.reason,
        **_kernels(),
        "cells": ", ".join(layers.cells()),
        "cache": str(cache.folder()),
    }


def _kernels() -> dict[str, str | int]:
    """What the native engine's kernels run with, when they are there."""
    from ostinato.engines import native

    if not native.available():
        return {}
    return {"instructions": native.instruction_set(), "threads": native.threads()}
