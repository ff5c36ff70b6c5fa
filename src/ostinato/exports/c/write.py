"""A network as one C99 header: constant arrays and functions for one step, without malloc."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.errors import ConfigError, ExportError
from ostinato.exports.c.header import FUNCTIONS, Header
from ostinato.exports.draws import INT8_TOLERANCE, relative
from ostinato.exports.network import Network
from ostinato.exports.report import Report, Tensor
from ostinato.runtime import program
from ostinato.runtime.reading import read

_TOLERANCE = 2e-5  # the C library's tanhf and expf are not those of the engine
_TESTED = 24  # steps of the self-test


def write(model: Any, network: Network, path: Path, options: dict[str, Any]) -> Report:
    """Writes a C header, compiles it with its self-test, and compares it with the network; see `export`."""
    stages = _checked_stages(read(model).stages)
    name = re.sub(r"\W", "_", path.stem)
    if name[0].isdigit():
        raise ConfigError(
            f"the name of a header must be one of C, and not begin with a digit, got '{path.stem}'"
        )
    given = _inputs(stages, network)
    wanted = [_last(network, given[:count]) for count in (len(given) // 3, len(given))]
    small = options["quantize"] is not None
    header = Header(name, stages, small=small)
    path.write_text(header.text(given, wanted[-1]))
    largest, unchecked = None, "check=False"
    if options["check"]:
        run = _compiled(path, header)
        largest = 0.0
        for count, expected in zip((len(given) // 3, len(given)), wanted, strict=True):
            largest = max(largest, relative(run(given[:count]), expected, 1e-3))
        limit = INT8_TOLERANCE if small else _TOLERANCE
        if not largest <= limit:
            raise ExportError(
                f"the C header must differ from the network by {limit:g} of its largest output at most, got "
                f"{largest:.1e}; nothing was written"
            )
        unchecked = ""
    inputs = Tensor("id", "int", ()) if header.reads_ids else Tensor("x", "float", (header.features,))
    return Report(
        path=str(path),
        format="c",
        inputs=(inputs,),
        outputs=(Tensor("logits", "float", (header.outputs,)),),
        notes=(
            *network.notes,
            f"{name}_init(&state), {name}_step(&state, {inputs.name}), {name}_read(&state, logits); link "
            "with -lm",
            f"a test of its own: cc -std=c99 -O2 -x c -D{name.upper()}_TEST {path.name} -lm",
        ),
        largest_difference=largest,
        checked=options["check"],
        unchecked=unchecked,
    )


def _checked_stages(stages: Sequence[program.Stage]) -> list[program.Stage]:
    found: list[program.Stage] = []
    for place, stage in enumerate(stages):
        first = isinstance(stage, program.Embedding | program.OneHot) and place == 0
        dense = isinstance(stage, program.Dense | program.Activation)
        if not (first or dense or isinstance(stage, program.Recurrent)):
            raise ExportError(
                f"a C header has embedding or one-hot, recurrent and dense layers in one direction, got "
                f"{type(stage).__name__}"
            )
        if isinstance(stage, program.Embedding) and stage.mask_zero:
            raise ExportError("a C header has no mask: an Embedding must have mask_zero=False")
        if isinstance(stage, program.Recurrent) and stage.go_backwards:
            raise ExportError(f"a C header reads forward, and '{stage.name}' has go_backwards=True")
        if isinstance(stage, program.Activation) and stage.options:
            raise ExportError(f"a C header has no options of {stage.name}, got {dict(stage.options)}")
        if isinstance(stage, program.Activation) and stage.name not in (
            *FUNCTIONS,
            "softmax",
            "log_softmax",
        ):
            raise ExportError(f"a C header has no {stage.name}")
        found.append(stage)
    recurrent = [place for place, stage in enumerate(found) if isinstance(stage, program.Recurrent)]
    if not recurrent:
        raise ExportError("a C header needs a recurrent layer, got a network without one")
    return found


def _inputs(stages: Sequence[program.Stage], network: Network) -> np.ndarray:
    """Ids (steps,), or numbers (steps, features)."""
    random = np.random.default_rng(3)
    first = stages[0]
    if isinstance(first, program.Embedding):
        return random.integers(0, len(first.table), _TESTED).astype(np.int32)
    if isinstance(first, program.OneHot):
        return random.integers(0, first.symbols, _TESTED).astype(np.int32)
    features = network.inputs[0].shape[-1]
    if features is None:
        raise ExportError("the number of features must be known")
    return random.normal(size=(_TESTED, features)).astype(np.float32)


def _last(network: Network, given: np.ndarray) -> np.ndarray:
    """The network's output after the last of these steps, (outputs,)."""
    import tensorflow as tf

    states = [state.initial(1) for state in network.states]
    found = np.asarray(network.reference([tf.constant(given[None], network.inputs[0].dtype)], states)[0][0])
    return (found[:, -1] if found.ndim == 3 else found)[0]


def _compiled(path: Path, header: Header) -> Callable[[np.ndarray], np.ndarray]:
    """A function that runs the header, compiled: the output after some steps."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise ExportError(
            "checking a C header needs a C compiler, which is not installed; check=False (--no-check) writes "
            "without"
        )
    kind = "const int" if header.reads_ids else "const float"
    argument = "given[i]" if header.reads_ids else f"given + i * {header.features}"
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "run.c", Path(folder) / "run.so"
        source.write_text(
            f'#include "{path.resolve()}"\n'
            f"void run({kind} *given, int count, float *found) {{\n"
            f"  {header.name}_state state;\n  int i;\n  {header.name}_init(&state);\n"
            f"  for (i = 0; i < count; ++i) {header.name}_step(&state, {argument});\n"
            f"  {header.name}_read(&state, found);\n}}\n"
        )
        flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-shared", "-fPIC"]
        done = subprocess.run(
            [compiler, *flags, str(source), "-o", str(library), "-lm"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ExportError(f"the C header does not compile: {done.stderr.strip().splitlines()[0]}")
        function = ctypes.CDLL(str(library)).run

    def run(given: np.ndarray) -> np.ndarray:
        given, found = np.ascontiguousarray(given), np.zeros(header.outputs, np.float32)
        function(given.ctypes.data_as(ctypes.c_void_p), len(given), found.ctypes.data_as(ctypes.c_void_p))
        return found

    return run
