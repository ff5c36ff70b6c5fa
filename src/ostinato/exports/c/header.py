"""The text of a C99 header that runs a network step by step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

import ostinato
from ostinato.cells.base import CForm
from ostinato.cells.registry import find
from ostinato.errors import ExportError
from ostinato.exports.rows import rows_of_int8
from ostinato.runtime import program

FUNCTIONS = {
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
"""Activations in C, of a float x."""


class Header:
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

    def _array(self, kind: str, name: str, values: Iterable[str], count: int) -> str:
        full = f"{self.name}_{name}"
        self.arrays.append(f"static const {kind} {full}[{count}] = {{\n{_wrapped(values)}\n}};")
        return full

    def _floats(self, name: str, values: np.ndarray) -> str:
        return self._array("float", name, map(_literal, values.ravel()), values.size)

    def _matrix(self, name: str, rows: np.ndarray) -> tuple[str, str]:
        """A matrix (rows, columns), and the scales of its rows; "" without."""
        if not self.small:
            return self._floats(name, rows), ""
        whole, scales = rows_of_int8(rows, 0)
        array = self._array("signed char", name, map(str, whole.ravel()), whole.size)
        return array, self._floats(f"{name}_scales", scales)

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
            entry = f"{cast}{table}[id * {outputs} + i]{scale}"
            yield f"for (i = 0; i < {outputs}; ++i) {to}[i] = {offset} + {entry};"
            return
        table, scales = self._matrix(name, matrix.T)
        scale = f" * {scales}[i]" if scales else ""
        yield (
            f"for (i = 0; i < {outputs}; ++i) {to}[i] = {offset} + "
            f"{self.name}_dot({table} + i * {inputs}, {source}, {inputs}){scale};"
        )

    def _recurrent(self, stage: program.Recurrent) -> Iterator[str]:
        depth, units, form = self.depth, stage.units, _form_of(stage)
        h = f"s->h{depth}"
        self.state.append(f"float h{depth}[{units}];")
        if stage.states > 1:
            self.state.append(f"float c{depth}[{units}];")
        bias = stage.bias
        of_x, of_h = (bias[0], bias[1]) if bias is not None and bias.ndim == 2 else (bias, None)
        resets_before = bool(form.reset) and not stage.reset_after
        yield from self._products(f"kernel{depth}", stage.kernel, of_x, self.place, f"x{depth}")
        last = stage.recurrent.shape[1] - units
        gates = stage.recurrent[:, :last] if resets_before else stage.recurrent
        yield from self._products(f"recurrent{depth}", gates, of_h, h, f"r{depth}")
        loop = f"for (i = 0; i < {units}; ++i)"
        lines = form.before if resets_before else form.step
        if resets_before:
            yield f"float reset{depth}[{units}];"
            yield f"{loop} reset{depth}[i] = {self._filled(form.reset, stage)};"
            recurrent = stage.recurrent[:, last:]
            yield from self._products(f"candidate{depth}", recurrent, None, f"reset{depth}", f"k{depth}")
        yield f"{loop} {{"
        yield from (f"  {self._filled(line, stage)}" for line in lines)
        yield "}"
        self.place, self.width = h, units

    def _filled(self, line: str, stage: program.Recurrent) -> str:
        """A statement of a form with its names."""
        depth, units = self.depth, stage.units
        gates = range(stage.kernel.shape[1] // units)
        names = {f"{sums}{gate}": f"{sums}{depth}[i + {gate * units}]" for sums in "xr" for gate in gates}
        names |= {"h": f"s->h{depth}", "c": f"s->c{depth}", "k": f"k{depth}"}
        for name, activation in (("act", stage.activation), ("gate", stage.recurrent_activation)):
            if f"{{{name}}}" in line:
                names[name] = self._function(activation)
        return line.format(**names)

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
        self.functions.setdefault(name, f"static float {full}(float x) {{ return {FUNCTIONS[name]}; }}")
        return full

    @property
    def outputs(self) -> int:
        return self.width

    def text(self, given: np.ndarray, wanted: np.ndarray) -> str:
        """The header, with a self-test over some steps."""
        parts = [*self._begin(), *self._tools(), *self._functions(), *self._test(given, wanted)]
        return "\n".join([*parts, f"#endif  /* {self.name.upper()}_H */", ""])

    @property
    def _size(self) -> int:
        """How many ids there are, or numbers of an input."""
        return self._symbols() if self.reads_ids else self.features

    def _begin(self) -> Iterator[str]:
        name, upper = self.name, self.name.upper()
        yield f"/* A recurrent network in C99, written by ostinato {ostinato.__version__}."
        yield f"   {name}_init(&state); {name}_step(&state, ...) for each step; {name}_read(&state, logits)."
        yield "   It allocates nothing, and needs the mathematical library alone. */"
        yield f"#ifndef {upper}_H"
        yield f"#define {upper}_H"
        yield "#include <math.h>"
        yield "#include <string.h>"
        yield f"#define {upper}_{'SYMBOLS' if self.reads_ids else 'FEATURES'} {self._size}"
        yield f"#define {upper}_OUTPUTS {self.outputs}"
        yield f"typedef struct {{ {' '.join(self.state)} }} {name}_state;"
        yield from self.arrays

    def _tools(self) -> Iterator[str]:
        weight, cast = ("signed char", "(float)") if self.small else ("float", "")
        yield "/* With several partial sums, so that compilers make vectors of them. */"
        yield f"static float {self.name}_dot(const {weight} *w, const float *x, int n) {{"
        yield "  float a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;"
        yield "  int i = 0;"
        yield "  for (; i + 8 <= n; i += 8) {"
        yield from (f"    {total} += {cast}w[i + {at}] * x[i + {at}];" for at, total in enumerate("abcdefgh"))
        yield "  }"
        yield f"  for (; i < n; ++i) a += {cast}w[i] * x[i];"
        yield "  return ((a + e) + (c + g)) + ((b + f) + (d + h));"
        yield "}"
        yield from self.functions.values()

    def _functions(self) -> Iterator[str]:
        name, kind = self.name, "int id" if self.reads_ids else "const float *x"
        yield f"static inline void {name}_init({name}_state *s) {{ memset(s, 0, sizeof *s); }}"
        yield f"static inline void {name}_step({name}_state *s, {kind}) {{"
        yield "  int i;"
        if self.reads_ids:
            yield f"  if (id < 0 || id >= {self._size}) return;  /* no such id: the state stays */"
        yield from (f"  {line}" for line in self.step)
        yield "}"
        yield f"static inline void {name}_read(const {name}_state *s, float *logits) {{"
        yield "  int i;"
        yield from (f"  {line}" for line in self.read)
        yield f"  for (i = 0; i < {self.outputs}; ++i) logits[i] = {self.place}[i];"
        yield "}"

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


def _form_of(stage: program.Recurrent) -> CForm:
    form = find(stage.cell).c
    if form is None:
        raise ExportError(f"a C header has no {stage.cell}, the cell of '{stage.name}'")
    return form


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
