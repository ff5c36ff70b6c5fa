"""Drawn inputs for a network, and whether the results of an exported file agree with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from ostinato.acceleration.agreement import changed_values
from ostinato.acceleration.inputs import fill_shape, make_numbers
from ostinato.errors import ExportError
from ostinato.exports.network import Network

Arrays = list[np.ndarray]
Run = Callable[[Arrays, Arrays], tuple[Arrays, Arrays]]
"""Runs an exported file: maps inputs and states to outputs and the next states."""

TOLERANCE = 1e-5
"""The largest difference that counts as agreement, of the largest number of an output."""
INT8_TOLERANCE = 0.1
"""The same with weights of eight bits."""
_LEAST_SIZE = 1e-2  # below it a rounding of sigmoid near 1 would count: ONNX Runtime's is exact to 1e-7
_MOST_MAGNIFIED = 1e-3
_SIZES = ((4, 9), (1, 16))


def draws(
    network: Network, *, batch: int | None, time: int | None, sizes: Sequence[tuple[int, int]] = _SIZES
) -> Iterator[tuple[Arrays, Arrays]]:
    """Inputs and states of two batches and lengths, and where steps may be skipped, with padding everywhere.

    Args:
        network: whose inputs they are.
        batch, time: fixed sizes; None is an open one.
        sizes: batches and lengths where they are open.
    """
    random = np.random.default_rng(1)
    axes = list(dict.fromkeys(each.axis for each in network.inputs))
    for number, (rows, steps) in enumerate((*sizes, *(sizes[:1] if len(axes) > 1 else ()))):
        rows, steps = batch or rows, time or steps
        # In a draw of its own inputs have different lengths, if the network takes that.
        apart = 3 if number == len(sizes) and time is None else 0
        inputs = []
        for each in network.inputs:
            length = steps + apart * axes.index(each.axis)
            drawn = make_numbers(random, fill_shape(each.shape, rows, length), each.dtype, each.ids).numpy()
            inputs.append(_with_padding(drawn, each.padding, random) if each.padding is not None else drawn)
        if apart and not _takes(network, inputs):
            continue
        start = [spec.initial(len(inputs[0])) for spec in network.states]
        # States that the network reaches: others may be without meaning, such as a negative count.
        _, states = network.reference([tf.constant(each) for each in inputs], start) if start else (0, [])
        yield inputs, [np.asarray(each) for each in states]


def _takes(network: Network, inputs: Arrays) -> bool:
    try:
        start = [spec.initial(len(inputs[0])) for spec in network.states]
        network.reference([tf.constant(each) for each in inputs], start)
    except Exception:  # a network may say in any way that its inputs must be equally long
        return False
    return True


def _with_padding(drawn: np.ndarray, padding: float, random: np.random.Generator) -> np.ndarray:
    """Steps to skip: at the end of the first row, at the beginning of the second, within the third or a
    single row, and all of the fourth."""
    steps = drawn.shape[1]
    for row in range(len(drawn)):
        pattern = np.arange(steps)
        kinds = (pattern >= steps - 2, pattern < 3, random.random(steps) < 0.4, pattern >= 0)
        skipped = kinds[row % 4 if len(drawn) > 1 else 2]
        drawn[row, skipped] = padding
    return drawn


def relative(found: np.ndarray, wanted: np.ndarray, least: float) -> float:
    """The largest difference, of the largest number that is wanted, or of `least` where that is smaller."""
    size = max(least, float(np.max(np.abs(wanted))))
    return float(np.max(np.abs(found - wanted))) / size


def difference(network: Network, run: Run, drawn: tuple[Arrays, Arrays]) -> float:
    """The largest difference between a file's results and the network's, of an output's largest number."""
    inputs, states = drawn
    reference = network.reference(*([tf.constant(each) for each in part] for part in drawn))
    wanted = [np.asarray(each) for part in reference for each in part]
    found = [np.asarray(each) for part in run(inputs, states) for each in part]
    if len(found) != len(wanted):
        raise ExportError(f"the file must have {len(wanted)} outputs, got {len(found)}")
    largest = 0.0
    for one, other in zip(found, wanted, strict=True):
        if one.shape != other.shape:
            raise ExportError(f"an output of the file must have the shape {other.shape}, got {one.shape}")
        if not other.size:
            continue
        a, b = one.astype(np.float64), other.astype(np.float64)
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return float("inf")
        finite = np.isfinite(b)
        if finite.any():
            largest = max(largest, relative(a[finite], b[finite], _LEAST_SIZE))
    return largest


def agreement(
    network: Network, run: Run, *, batch: int | None, time: int | None, tolerance: float
) -> tuple[float, tuple[str, ...]]:
    """The largest difference over all draws, and sentences about it.

    A network may magnify roundings. One that a change of its weights by a millionth moves further than a file
    differs agrees with the file, too.

    Raises:
        ExportError: the difference is larger.
    """
    found, notes = [], ()
    for drawn in draws(network, batch=batch, time=time):
        found.append(difference(network, run, drawn))
        if found[-1] <= tolerance:
            continue
        moved = _sensitivity(network, drawn)
        if not found[-1] <= min(moved, _MOST_MAGNIFIED):
            raise ExportError(
                f"the exported {network.name} must differ from the network by at most {tolerance:g} of its "
                f"largest output, got {found[-1]:.1e}; nothing was written"
            )
        notes = (f"it magnifies roundings: a millionth more of its weights moves it by {moved:.1e}",)
    return max(found), notes


def _sensitivity(network: Network, drawn: tuple[Arrays, Arrays]) -> float:
    """How far the outputs move if all weights grow by a millionth."""

    def grown(inputs: Arrays, states: Arrays) -> tuple[Arrays, Arrays]:
        with changed_values(network.variables, lambda value: value * (1 + 1e-6)):
            found = network.reference(*([tf.constant(each) for each in part] for part in (inputs, states)))
        outputs, after = found
        return [np.asarray(each) for each in outputs], [np.asarray(each) for each in after]

    return difference(network, grown, drawn)
