"""A network as one C99 header: constant arrays and functions for one step, without malloc."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ostinato
from ostinato.errors import ConfigError, ExportError
from ostinato.exports.network import Network
from ostinato.exports.onnx.quantize import rows_of_int8
from ostinato.exports.report import Report, Tensor
from ostinato.runtime import program
from ostinato.runtime.reading import read

_TOLERANCE = 2e-5  # the C library's tanhf and expf are not those of the engine
_INT8_TOLERANCE = 0.1
_TESTED = 24  # steps of the self-test
_FUNCTIONS = {
    "elu": "x > 0.0f ? x : expf(x) - 1.0f",
    "exponential": "expf(x)",
    "gelu": "0.5f * x * (1.0f + erff(x * 0.70710678118654752f))",
    "hard_sigmoid": "fminf(1.0f, fmaxf(0.0f, x / 6.0f + 0.5f))",
    "keras2_hard_sigmoid": "fminf(1.0f, fmaxf(0.0f, 0.2f * x + 0.5f))",
    "linear": "x",
    "relu": "x > 0.0f ? x : 0.0f",
    "relu6": "fminf(6.0f, fmaxf(0.0f, x))",
    "selu": "1.0507009873554805f * (x > 0.0f ? x : 1.6732632423543772f * (expf(x) - 1.0f))",
    "sigmoid": "1.0f / (1.0f + expf(-x))",
    "silu": "x / (1.0f + expf(-x))",
    "softplus": "x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x))",
    "softsign": "x / (1.0f + fabsf(x))",
    "tanh": "tanhf(x)",
}


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
    header = _Header(name, stages, small=small)
    path.write_text(header.text(given, wanted[-1]))
    largest, unchecked = None, "check=False"
    if options["check"]:
        run = _compiled(path, header)
        largest = 0.0
        for count, expected in zip((len(given) // 3, len(given)), wanted, strict=True):
            size = max(1e-3, float(np.max(np.abs(expected))))
            largest = max(largest, float(np.max(np.abs(run(given[:count]) - expected))) / size)
        limit = _INT8_TOLERANCE if small else _TOLERANCE
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
            f"{name}_init(&state), {name}_step(&state, {inputs.name}), {name}_read(&state, logits); link with -lm",
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
            *_FUNCTIONS,
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


class _Header:
    """The text of a header.

    Args:
        name: what its functions begin with.
        stages: of the network.
        small: whether weights are stored as int8, with a scale for each row.
    """

    def __init__(self, name: str, stages: Sequence[program.Stage], *, small: bool):
        self.name, self.stages, self.small = name, stages, small
        self.reads_ids = isinstance(stages[0], program.Embedding | program.OneHot)
        self.arrays: list[str] = []
        self.functions: dict[str, str] = {}
        last = max(at for at, stage in enumerate(stages) if isinstance(stage, program.Recurrent))
        self.features = self._width_of_inputs()
        self.state: list[str] = []
        step = list(self._lines(stages[: last + 1], "step"))
        self.read_from = f"s->h{self.depth}"
        read = list(self._lines(stages[last + 1 :], "read"))
        self.step, self.read = step, read

    def _width_of_inputs(self) -> int:
        first = self.stages[0]
        if isinstance(first, program.Embedding):
            return first.table.shape[1]
        if isinstance(first, program.OneHot):
            return first.symbols
        kernel = getattr(first, "kernel", None)
        if kernel is None:
            raise ExportError("the first layer must be an embedding, one-hot, recurrent or dense")
        return len(kernel)

    # Arrays.

    def _floats(self, name: str, values: np.ndarray) -> str:
        self.arrays.append(
            f"static const float {self.name}_{name}[{values.size}] = {{\n{_wrapped(map(_literal, values.ravel()))}\n}};"
        )
        return f"{self.name}_{name}"

    def _matrix(self, name: str, rows: np.ndarray) -> tuple[str, str]:
        """A matrix (rows, columns), and the scales of its rows; "" without."""
        if not self.small:
            return self._floats(name, rows), ""
        whole, scales = rows_of_int8(rows, 0)
        self.arrays.append(
            f"static const signed char {self.name}_{name}[{whole.size}] = {{\n{_wrapped(map(str, whole.ravel()))}\n}};"
        )
        return f"{self.name}_{name}", self._floats(f"{name}_scales", scales)

    # Code.

    def _lines(self, stages: Sequence[program.Stage], where: str) -> Iterator[str]:
        """Statements for some stages, one after the other."""
        if where == "step":
            self.depth, self.count, self.place, self.width = -1, 0, "x", self.features
        else:
            self.place = self.read_from
        for stage in stages:
            self.count += 1
            if isinstance(stage, program.Embedding):
                yield from self._embedding(stage)
            elif isinstance(stage, program.OneHot):
                self.place = "id"
            elif isinstance(stage, program.Recurrent):
                self.depth += 1
                yield from self._recurrent(stage)
            elif isinstance(stage, program.Dense):
                yield from self._dense(stage)
            elif isinstance(stage, program.Activation):
                yield from self._activation(stage)

    def _embedding(self, stage: program.Embedding) -> Iterator[str]:
        table, scales = self._matrix("embedding", stage.table)
        here = f"v{self.count}"
        yield f"float {here}[{self.width}];"
        scale = f" * {scales}[id]" if scales else ""
        entry = f"(float){table}[id * {self.width} + i]" if scales else f"{table}[id * {self.width} + i]"
        yield f"for (i = 0; i < {self.width}; ++i) {here}[i] = {entry}{scale};"
        self.place = here

    def _products(
        self, name: str, matrix: np.ndarray, bias: np.ndarray | None, source: str, to: str
    ) -> Iterator[str]:
        """to = bias + source · matrix, where `source` may be an id; matrix is (inputs, outputs)."""
        outputs, inputs = matrix.shape[1], matrix.shape[0]
        offset = f"{self._floats(f'{name}_bias', bias)}[i]" if bias is not None else "0.0f"
        yield f"float {to}[{outputs}];"
        if source == "id":
            table, scales = self._matrix(name, matrix)
            cast, scale = ("(float)", f" * {scales}[id]") if scales else ("", "")
            yield f"for (i = 0; i < {outputs}; ++i) {to}[i] = {offset} + {cast}{table}[id * {outputs} + i]{scale};"
            return
        table, scales = self._matrix(name, matrix.T)
        scale = f" * {scales}[i]" if scales else ""
        yield (
            f"for (i = 0; i < {outputs}; ++i) {to}[i] = {offset} + "
            f"{self.name}_dot({table} + i * {inputs}, {source}, {inputs}){scale};"
        )

    def _recurrent(self, stage: program.Recurrent) -> Iterator[str]:
        depth, units = self.depth, stage.units
        act = self._function(stage.activation)
        gate = self._function(stage.recurrent_activation) if stage.cell != "rnn" else ""
        h = f"s->h{depth}"
        self.state.append(f"float h{depth}[{units}];")
        bias = stage.bias
        of_x, of_h = (bias[0], bias[1]) if bias is not None and bias.ndim == 2 else (bias, None)
        resets_before = stage.cell == "gru" and not stage.reset_after
        x, r = f"x{depth}", f"r{depth}"
        yield from self._products(f"kernel{depth}", stage.kernel, of_x, self.place, x)
        gates = stage.recurrent[:, : 2 * units] if resets_before else stage.recurrent
        yield from self._products(f"recurrent{depth}", gates, of_h, h, r)
        loop = f"for (i = 0; i < {units}; ++i)"
        if stage.cell == "rnn":
            yield f"{loop} {h}[i] = {act}({x}[i] + {r}[i]);"
        elif stage.cell == "lstm":
            self.state.append(f"float c{depth}[{units}];")
            c = f"s->c{depth}"
            sums = [f"{x}[i + {at * units}] + {r}[i + {at * units}]" for at in range(4)]
            yield f"{loop} {{"
            yield f"  {c}[i] = {gate}({sums[1]}) * {c}[i] + {gate}({sums[0]}) * {act}({sums[2]});"
            yield f"  {h}[i] = {gate}({sums[3]}) * {act}({c}[i]);"
            yield "}"
        else:
            yield from self._gru(stage, x, r, h, loop, act, gate)
        self.place, self.width = h, units

    def _gru(
        self, stage: program.Recurrent, x: str, r: str, h: str, loop: str, act: str, gate: str
    ) -> Iterator[str]:
        units, depth = stage.units, self.depth
        z = f"{gate}({x}[i] + {r}[i])"
        reset = f"{gate}({x}[i + {units}] + {r}[i + {units}])"
        if stage.reset_after:
            candidate = f"{act}({x}[i + {2 * units}] + {reset} * {r}[i + {2 * units}])"
        else:
            yield f"float reset{depth}[{units}];"
            yield f"{loop} reset{depth}[i] = {reset} * {h}[i];"
            last = stage.recurrent[:, 2 * units :]
            yield from self._products(f"candidate{depth}", last, None, f"reset{depth}", f"k{depth}")
            candidate = f"{act}({x}[i + {2 * units}] + k{depth}[i])"
        yield f"{loop} {{"
        yield f"  const float z = {z};"
        yield f"  {h}[i] = z * {h}[i] + (1.0f - z) * {candidate};"
        yield "}"

    def _dense(self, stage: program.Dense) -> Iterator[str]:
        here = f"v{self.count}"
        yield from self._products(f"dense{self.count}", stage.kernel, stage.bias, self.place, here)
        self.place, self.width = here, stage.kernel.shape[1]

    def _activation(self, stage: program.Activation) -> Iterator[str]:
        here = self.place
        if not here.startswith("v"):
            here = f"v{self.count}"
            yield f"float {here}[{self.width}];"
            yield f"for (i = 0; i < {self.width}; ++i) {here}[i] = {self.place}[i];"
        if stage.name not in ("softmax", "log_softmax"):
            yield f"for (i = 0; i < {self.width}; ++i) {here}[i] = {self._function(stage.name)}({here}[i]);"
        else:
            yield f"{self.name}_{stage.name}({here}, {self.width});"
            self.functions.setdefault(stage.name, _softmax(self.name, log=stage.name == "log_softmax"))
        self.place = here

    def _function(self, name: str) -> str:
        full = f"{self.name}_{name}"
        self.functions.setdefault(name, f"static float {full}(float x) {{ return {_FUNCTIONS[name]}; }}")
        return full

    @property
    def outputs(self) -> int:
        return self.width

    def text(self, given: np.ndarray, wanted: np.ndarray) -> str:
        """The header, with a self-test over some steps."""
        name, upper = self.name, self.name.upper()
        kind = "int id" if self.reads_ids else "const float *x"
        weight = "signed char" if self.small else "float"
        cast = "(float)" if self.small else ""
        size = self._symbols() if self.reads_ids else self.features
        check = [f"  if (id < 0 || id >= {size}) return;  /* no such id: the state stays */"] * self.reads_ids
        return "\n".join(
            [
                f"/* A recurrent network in C99, written by ostinato {ostinato.__version__}.",
                f"   {name}_init(&state); {name}_step(&state, …) for each step; {name}_read(&state, logits).",
                "   It allocates nothing, and needs the mathematical library alone. */",
                f"#ifndef {upper}_H",
                f"#define {upper}_H",
                "#include <math.h>",
                "#include <string.h>",
                f"#define {upper}_{'SYMBOLS' if self.reads_ids else 'FEATURES'} {size}",
                f"#define {upper}_OUTPUTS {self.outputs}",
                "",
                f"typedef struct {{ {' '.join(self.state)} }} {name}_state;",
                "",
                *self.arrays,
                "",
                f"static float {name}_dot(const {weight} *w, const float *x, int n) {{",
                "  float a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;",
                "  int i = 0;",
                "  for (; i + 8 <= n; i += 8) {",
                *(f"    {sum} += {cast}w[i + {at}] * x[i + {at}];" for at, sum in enumerate("abcdefgh")),
                "  }",
                f"  for (; i < n; ++i) a += {cast}w[i] * x[i];",
                "  return ((a + e) + (c + g)) + ((b + f) + (d + h));",
                "}",
                *self.functions.values(),
                "",
                f"static inline void {name}_init({name}_state *s) {{ memset(s, 0, sizeof *s); }}",
                f"static inline void {name}_step({name}_state *s, {kind}) {{",
                *check,
                "  int i;",
                *(f"  {line}" for line in self.step),
                "}",
                f"static inline void {name}_read(const {name}_state *s, float *logits) {{",
                "  int i;",
                *(f"  {line}" for line in self.read),
                f"  for (i = 0; i < {self.outputs}; ++i) logits[i] = {self.place}[i];",
                "}",
                "",
                *self._test(given, wanted),
                f"#endif  /* {upper}_H */",
                "",
            ]
        )

    def _symbols(self) -> int:
        first = self.stages[0]
        return len(first.table) if isinstance(first, program.Embedding) else first.symbols  # pyright: ignore

    def _test(self, given: np.ndarray, wanted: np.ndarray) -> Iterator[str]:
        name = self.name
        values = map(str, given) if self.reads_ids else map(_literal, given.ravel())
        argument = "given[i]" if self.reads_ids else f"given + i * {self.features}"
        limit = _literal(np.float32(max(1e-3, float(np.max(np.abs(wanted)))) * (0.1 if self.small else 1e-4)))
        yield f"#ifdef {name.upper()}_TEST"
        yield "#include <stdio.h>"
        yield "int main(void) {"
        yield f"  static const {'int' if self.reads_ids else 'float'} given[] = {{"
        yield f"{_wrapped(values)}}};"
        yield f"  static const float wanted[] = {{\n{_wrapped(map(_literal, wanted))}}};"
        yield f"  {name}_state state;"
        yield f"  float found[{self.outputs}], largest = 0;"
        yield "  int i;"
        yield f"  {name}_init(&state);"
        yield f"  for (i = 0; i < {len(given)}; ++i) {name}_step(&state, {argument});"
        yield f"  {name}_read(&state, found);"
        yield f"  for (i = 0; i < {self.outputs}; ++i) largest = fmaxf(largest, fabsf(found[i] - wanted[i]));"
        yield f'  printf("{name}: the largest difference is %g\\n", (double)largest);'
        yield f"  return largest <= {limit} ? 0 : 1;"
        yield "}"
        yield "#endif"


def _softmax(name: str, *, log: bool) -> str:
    kind = "log_softmax" if log else "softmax"
    last = "x[i] -= logf(sum)" if log else "x[i] /= sum"
    first = "x[i] -= largest, sum += expf(x[i])" if log else "sum += x[i] = expf(x[i] - largest)"
    return (
        f"static void {name}_{kind}(float *x, int n) {{\n"
        "  float largest = x[0], sum = 0;\n  int i;\n"
        "  for (i = 1; i < n; ++i) largest = fmaxf(largest, x[i]);\n"
        f"  for (i = 0; i < n; ++i) {first};\n"
        f"  for (i = 0; i < n; ++i) {last};\n}}"
    )


def _literal(value: Any) -> str:
    """A float of C that is this float32."""
    text = f"{float(value):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _wrapped(values: Any) -> str:
    """Numbers in lines of twelve."""
    words = list(values)
    return ",\n".join("  " + ", ".join(words[at : at + 12]) for at in range(0, len(words), 12))


def _compiled(path: Path, header: _Header) -> Callable[[np.ndarray], np.ndarray]:
    """A function that runs the header, compiled: the output after some steps."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise ExportError(
            "checking a C header needs a C compiler, which is not installed; check=False (--no-check) writes without"
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
