"""The memory that a pass of a model takes, measured for each variant in a separate process.

What one variant keeps must not count for the other. This file is also the program of those processes.
"""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import keras

from ostinato.acceleration.accelerate import accelerate, to_keras
from ostinato.acceleration.inputs import Shape, make_inputs, pack_inputs
from ostinato.acceleration.timing import VARIANTS, compile_pass, prepare
from ostinato.interop.keras.loading import Source
from ostinato.wording import shortened

_MEBIBYTE = 1 << 20


class _Memory(NamedTuple):
    """Resident bytes of a process: before a pass, and at most during it."""

    rest: int
    peak: int


def measure_memory(
    model: Source, shapes: Sequence[Shape], kind: str, on_progress: Callable[[str, int], None]
) -> dict[str, object]:
    """The fields about memory of a `Comparison`.

    Args:
        model: a Keras model or the path of one.
        shapes: shapes of its inputs.
        kind: "forward" or "training".
        on_progress: called with what is being done, and the steps done.
    """
    if not sys.platform.startswith("linux"):
        return {"memory_note": "memory is measured on Linux only"}
    figures: dict[str, object] = {"memory_of": kind}
    with tempfile.TemporaryDirectory() as folder:
        path = model
        if isinstance(model, keras.Model):
            path = Path(folder) / "model.keras"
            model.save(path)
        for done, variant in enumerate(VARIANTS):
            on_progress(f"memory, {variant}", done)
            request = {"path": str(path), "shapes": shapes, "kind": kind, "variant": variant}
            answer = _measure_in_process(request)
            if isinstance(answer, str):
                return {"memory_note": answer}
            figures[f"{variant}_extra_mib"] = (answer.peak - answer.rest) / _MEBIBYTE
            figures[f"{variant}_peak_mib"] = answer.peak / _MEBIBYTE
    return figures


def _measure_in_process(request: Mapping[str, object]) -> _Memory | str:
    """The memory of a new process; or why it could not be measured."""
    command = [sys.executable, "-m", __name__, json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
        sentence = re.sub(r"^[\w.]+(?:Error|Exception): ", "", last_line)
        return f"memory could not be measured in a process of its own: {shortened(sentence)}"
    return _Memory(**json.loads(done.stdout.splitlines()[-1]))


def _resident_bytes(field: str) -> int:
    """Resident bytes from /proc: VmRSS, the present number, or VmHWM, the highest so far."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def _memory_of_pass(path: str, shapes: Sequence[Shape], kind: str, variant: str) -> _Memory:
    """Loads a model, runs a pass of it three times, and returns the memory of that.

    Args:
        path: path of the model.
        shapes: shapes of its inputs.
        kind: "forward" or "training".
        variant: "keras" or "ostinato".
    """
    model = cast("keras.Model", to_keras(path))
    x = pack_inputs(model, make_inputs(model, shapes))
    y, _ = prepare(model, x, kind)
    model = cast("keras.Model", (accelerate if variant == "ostinato" else to_keras)(model))
    run = compile_pass(kind, model, model.trainable_variables, x, y)
    run.trace()
    gc.collect()
    try:
        # Resets the peak, which is that of loading the model so far.
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        rest = _resident_bytes("VmHWM")
    else:
        rest = _resident_bytes("VmRSS")
    for _ in range(3):
        run()
    return _Memory(rest, max(rest, _resident_bytes("VmHWM")))


if __name__ == "__main__":
    print(json.dumps(_memory_of_pass(**json.loads(sys.argv[1]))._asdict()))
