"""What an export wrote, and how it was checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tensor:
    """An input, an output or a state of an exported file.

    Attributes:
        name: its name in the file.
        dtype: for example "float32".
        shape: its sizes; a word stands for an open one.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join(map(str, self.shape))})"


@dataclass(frozen=True)
class Report:
    """What an export wrote.

    Attributes:
        path: the file or folder.
        format: "onnx", "saved_model", "c", "rtneural" or "safetensors".
        inputs, outputs: those of the file, without states.
        states: pairs of the state's input and output.
        operators: how many there are of each, where the format has operators.
        loops: recurrent layers that stayed a loop of single steps, with the reason.
        notes: sentences for the user.
        bytes: the size.
        largest_difference: between the file's results and the network's, of the largest number of an output;
            None where nothing was compared.
        checked: whether the file ran in its own runtime and agreed.
        unchecked: why it was not checked; empty if it was.
        parts: what was written beside it: a translator has a file for the step of its decoder.
    """

    path: str
    format: str
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    states: tuple[tuple[Tensor, Tensor], ...] = ()
    operators: dict[str, int] = field(default_factory=dict)
    loops: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    bytes: int = 0
    largest_difference: float | None = None
    checked: bool = False
    unchecked: str = ""
    parts: tuple[Report, ...] = ()

    def to_json(self) -> dict[str, object]:
        """As JSON has it."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.path}  {self.format}, {self.bytes:,} bytes"
        yield from (f"  input   {tensor}" for tensor in self.inputs)
        yield from (f"  output  {tensor}" for tensor in self.outputs)
        yield from (f"  state   {before} -> {after.name}" for before, after in self.states)
        if self.operators:
            counts = (f"{name} {count}" for name, count in sorted(self.operators.items()))
            yield f"  operators: {', '.join(counts)}"
        yield from (f"  {layer} stayed a loop: {why}" for layer, why in self.loops.items())
        yield from (f"  {note}" for note in self.notes)
        if self.checked:
            yield f"  checked: it differs from the network by {self.largest_difference:.1e} at most"
        else:
            yield f"  unchecked: {self.unchecked}"
        for part in self.parts:
            yield from part._lines()
