"""Windows over a one-dimensional array of ids: the split of a text, and the batches of an epoch.

A window is `seq_len` inputs and, one place later, their `seq_len` targets. All functions are pure: a
batch depends on (seed, epoch) and its place in the epoch only, so resuming and sharding need no other state.
Ids are copied batch by batch, so the array may be memory-mapped and larger than memory.

Batches for truncated back-propagation through time come in the two ways of the textbooks:

    sequential  every row of the batch reads one contiguous part of the text; row r of a batch continues row r
                of the previous batch, so the state can be carried over
    random      all windows of the text in an order drawn for each epoch; the state starts from zero in each

Both start an epoch at a random offset of less than one window, so windows begin elsewhere in each epoch. The
random order of few windows is a shuffled array. That of many is a permutation computed batch by batch, so an
epoch of any size starts, or resumes, at once and needs no memory for its order.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np

from ostinato.data.batches.permutation import KEYS, permuted
from ostinato.data.batches.shards import rows_of
from ostinato.errors import ConfigError, SourceError
from ostinato.wording import option

Sampling = Literal["sequential", "random"]
Batch = tuple[np.ndarray, np.ndarray]
WeightedBatch = tuple[np.ndarray, np.ndarray, np.ndarray]

IN_MEMORY_WINDOWS = 1 << 22
"""At most this many windows are shuffled as an array, which takes 16 MiB and 0.1 s an epoch."""


class Split(NamedTuple):
    """The parts of a text, each (start, stop)."""

    train: tuple[int, int]
    validation: tuple[int, int]
    test: tuple[int, int]


class Windows(NamedTuple):
    """The shape of every epoch: rows in a batch, and batches."""

    rows: int
    steps_per_epoch: int


def split(count: int, *, validation_fraction: float, test_fraction: float) -> Split:
    """Cuts a text of `count` ids into contiguous parts: training, then validation, then test at the end.

    The test part is the last `round(count * test_fraction)` ids, the validation part the
    `round(count * validation_fraction)` before it.

    Raises:
        ConfigError: the fractions are negative, or leave nothing to train on.
    """
    fractions = f"validation fraction {validation_fraction} and test fraction {test_fraction}"
    if not (validation_fraction >= 0 and test_fraction >= 0):
        raise ConfigError(f"the {fractions} must not be negative")
    if not validation_fraction + test_fraction < 1:
        raise ConfigError(f"the {fractions} leave nothing to train on; together they must be less than 1")
    test = count - round(count * test_fraction)
    validation = max(test - round(count * validation_fraction), 0)
    return Split((0, validation), (validation, test), (test, count))


def plan(count: int, *, batch: int, seq_len: int, sampling: Sampling, part: str = "training part") -> Windows:
    """The shape of the epochs over `count` ids. A text with fewer windows than `batch` gives fewer rows.

    Raises:
        SourceError: there are fewer than `seq_len + 1` ids; the message names the `part`.
        ConfigError: `batch` or `seq_len` is not positive, or `sampling` is unknown.
    """
    rows = min(batch, _whole_windows(count, seq_len, part, batch))
    # The windows that fit at every offset; a text of only `rows` windows has no offset.
    in_every_epoch = max((count - seq_len) // seq_len, rows)
    if sampling not in ("sequential", "random"):
        raise ConfigError(f"sampling must be sequential or random, got {sampling!r}")
    return Windows(rows, in_every_epoch // rows)


def train_batches(
    ids: np.ndarray,
    *,
    batch: int,
    seq_len: int,
    sampling: Sampling,
    seed: int,
    epoch: int,
    start: int = 0,
    shard: tuple[int, int] = (0, 1),
    part: str = "training part",
    in_memory: int = IN_MEMORY_WINDOWS,
) -> Iterator[Batch]:
    """The batches of one epoch.

    Args:
        ids: shape (ids,).
        batch: rows in a batch; fewer when the text has fewer windows, see `plan`.
        seq_len: steps in a window.
        sampling: "sequential" or "random", see above.
        seed, epoch: decide the offset and the order; not negative.
        start: the number of batches to skip.
        shard: (index, count): only the rows from index * rows // count to (index + 1) * rows // count.
        part: what messages call the text.
        in_memory: at most this many windows, up to 2**32, are shuffled as an array; the order of more is
            computed.

    Returns:
        (inputs, targets), each int32 (rows of the shard, seq_len). Ids beyond the last whole window or batch
        are left out.

    Raises:
        SourceError, ConfigError: as `plan` does, at the call.
    """
    rows, steps = plan(len(ids), batch=batch, seq_len=seq_len, sampling=sampling, part=part)
    mine = rows_of(shard, rows)
    pairs = len(ids) - 1
    random = np.random.default_rng([seed, epoch])
    offset = int(random.integers(min(seq_len - 1, pairs - steps * rows * seq_len) + 1))
    ids = np.asarray(ids)

    def sequential() -> Iterator[Batch]:
        firsts = offset + np.arange(mine.start, mine.stop, dtype=np.int64) * ((pairs - offset) // rows)
        for step in range(start, steps):
            yield _gather(ids, firsts + step * seq_len, seq_len)

    def shuffled() -> Iterator[Batch]:
        order = _shuffled_order((pairs - offset) // seq_len, random, in_memory)
        for step in range(start, steps):
            chosen = order(step * rows + np.arange(mine.start, mine.stop, dtype=np.int64))
            yield _gather(ids, offset + chosen * seq_len, seq_len)

    return sequential() if sampling == "sequential" else shuffled()


def evaluation_batches(
    ids: np.ndarray,
    *,
    rows: int,
    seq_len: int,
    shard: tuple[int, int] = (0, 1),
    part: str = "text",
) -> Iterator[WeightedBatch]:
    """Batches in which every id but the first is a target exactly once, in order within each row.

    The text is cut into `rows` contiguous parts with the same number of whole windows. A part begins
    without any context but its first id, the last target of the previous part. Padding (id 0) with weight 0
    fills the last window and the last rows.

    Args:
        ids: shape (ids,).
        rows: rows in a batch; 1 gives every target its full context.
        seq_len: steps in a window.
        shard: (index, count), as for `train_batches`.
        part: what messages call the text.

    Returns:
        (inputs, targets, weights): int32, int32 and float32, each (rows of the shard, seq_len), in every
        batch.

    Raises:
        SourceError: there are fewer than `seq_len + 1` ids; the message names the `part`.
        ConfigError: `rows` or `seq_len` is not positive.
    """
    steps = evaluation_steps(len(ids), rows=rows, seq_len=seq_len, part=part)
    mine = rows_of(shard, rows)
    last = len(ids) - 1
    ids = np.asarray(ids)

    def batches() -> Iterator[WeightedBatch]:
        rows_of_shard = np.arange(mine.start, mine.stop, dtype=np.int64)[:, None]
        firsts = rows_of_shard * (steps * seq_len) + np.arange(seq_len)
        for step in range(steps):
            places = firsts + step * seq_len
            weights = (places < last).astype(np.float32)
            places = np.minimum(places, last - 1)
            inside = weights > 0
            yield (
                np.where(inside, ids[places], 0).astype(np.int32),
                np.where(inside, ids[places + 1], 0).astype(np.int32),
                weights,
            )

    return batches()


def evaluation_steps(count: int, *, rows: int, seq_len: int, part: str = "text") -> int:
    """The number of batches of `evaluation_batches` for `count` ids. Raises the same errors."""
    _whole_windows(count, seq_len, part, rows)
    return -(-(count - 1) // (rows * seq_len))


def _whole_windows(count: int, seq_len: int, part: str, batch: int) -> int:
    """The number of whole windows. Raises when a size is not positive, or there is none."""
    for what, size in (("batch", batch), ("sequence length", seq_len)):
        if size < 1:
            raise ConfigError(f"the {what} must be 1 or more, got {size}")
    windows = (count - 1) // seq_len
    if windows < 1:
        raise SourceError(
            f"the {part} has {max(count, 0)} tokens, too few for one window of {seq_len} steps and its "
            f"targets ({seq_len + 1} tokens); give more text, a smaller {option('seq_len')}, or "
            f"other {option('validation_fraction')} and {option('test_fraction')}"
        )
    return windows


def _shuffled_order(
    count: int, random: np.random.Generator, in_memory: int
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from positions in a shuffled 0 … count - 1 to the numbers there, int64."""
    if count > in_memory:
        keys = random.integers(2**64, size=KEYS, dtype=np.uint64)
        return lambda positions: permuted(positions, count, keys)
    order = np.arange(count, dtype=np.uint32)
    random.shuffle(order)
    return lambda positions: order[positions].astype(np.int64)


def _gather(ids: np.ndarray, firsts: np.ndarray, seq_len: int) -> Batch:
    """Copies of the windows that begin at `firsts`."""
    window = ids[firsts[:, None] + np.arange(seq_len + 1)]
    return window[:, :-1].astype(np.int32), window[:, 1:].astype(np.int32)
