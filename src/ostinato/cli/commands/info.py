"""ostinato info"""

from __future__ import annotations

import json
import os
import platform
from typing import Annotated

import typer

from ostinato import engines
from ostinato.cli.quiet import import_tensorflow
from ostinato.cli.usage import Command, click_command


def command() -> Command:
    """What Click runs."""
    return click_command(info)


def info(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Shows versions, devices, and which engine runs recurrent layers here, and why."""
    engines.check("auto")  # what OSTINATO_ENGINE asks for
    import_tensorflow()
    import keras
    import tensorflow as tf

    import ostinato
    from ostinato import layers
    from ostinato.files import cache

    choice = engines.choose("auto")
    facts = {
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
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        print(f"{name:<14}{value}")


def _kernels() -> dict[str, str | int]:
    """What the native engine's kernels run with, when they are there."""
    from ostinato.engines import native

    if not native.available():
        return {}
    return {"instructions": native.instruction_set(), "threads": native.threads()}
