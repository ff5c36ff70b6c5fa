"""The contracts between a task and everything that trains, evaluates and uses it.

    TaskSpec   the task for the registry and the command line, without TensorFlow
    Task       made from a config: reads data, builds a network, computes its loss and metrics
    Data       the data of a task, in parts (training, validation, test)
    Part       the batches of a part
    Evaluates, Generates, Predicts, Attributes, Aligns, ComparesWords
               the abilities of a trained network: protocols of the object that `Task.use` returns

Losses are sums, never means, so workers with unequal numbers of tokens add up exactly.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from ostinato.cells.base import State, StateSpec
    from ostinato.tasks.config import TaskConfig

Answer = Any
"""The answer of a network: a translation, a label with its probability, an alignment."""
Network = Any
"""A keras.Model of the class of the task."""
Source = Any
"""The result of `TaskSpec.source`."""
Json = dict[str, Any]
"""A JSON object."""
OnProgress = Callable[[int, "int | None"], None]
"""Called with (bytes done, total bytes or None) while a long source is read."""
OnBatch = Callable[[int, int], None]
"""Called with (batches done, total batches)."""
Batch = Mapping[str, Any]
"""Arrays by name; a loss receives them as tensors."""
PARTS = ("train", "validation", "test")


class Loss(NamedTuple):
    """The loss of a batch, as sums.

    Attributes:
        total: the summed loss, a scalar; in nats if it is a likelihood.
        weight: the number of summed losses, a scalar; total / weight is the mean.
        sums: further sums by name, scalars, for the metrics.
        state: the recurrent state after the batch; empty if no state is carried.
        penalty: what a training adds to the total, and no figure does, such as a regularisation.
    """

    total: tf.Tensor | float
    weight: tf.Tensor | float
    sums: Mapping[str, tf.Tensor | float] = {}
    state: State = ()
    penalty: tf.Tensor | float = 0.0


class Metric(NamedTuple):
    """A figure for people.

    Attributes:
        name: as in metrics.jsonl and on the command line, for example `bits_per_character`.
        value: the value; nan if it is undefined.
        unit: the unit, for example `nats per token`; empty for a plain number.
        better: whether `lower` or `higher` values are better.
    """

    name: str
    value: float
    unit: str = ""
    better: Literal["lower", "higher"] = "lower"

    def beats(self, value: float | None) -> bool:
        """Whether it is better than an earlier value; true if there is none."""
        if value is None:
            return True
        return self.value < value if self.better == "lower" else self.value > value


Metrics = tuple[Metric, ...]
"""The first metric of the validation part selects the best checkpoint."""


def as_figures(metrics: Metrics) -> dict[str, float]:
    """The values by name."""
    return {metric.name: metric.value for metric in metrics}


class Part(Protocol):
    """One part of the data: training, validation or test."""

    @property
    def rows(self) -> int:
        """Rows of a global batch; the last one of an epoch may have fewer."""
        ...

    @property
    def steps(self) -> int:
        """Batches in an epoch, or in reading the part once if it is not trained on."""
        ...

    @property
    def carries_state(self) -> bool:
        """Whether a training batch starts with the last state of the previous batch."""
        return False

    @property
    def signature(self) -> Mapping[str, tf.TensorSpec] | None:
        """The type of every batch, with None for sizes that vary; None if all batches have the same type."""
        return None

    def batches(
        self, *, epoch: int | None = None, start: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """The batches from number `start` on: a pure function of its arguments.

        Args:
            epoch: the epoch of training; None reads the part once, in order, for evaluation.
            start: the number of the first batch.
            shard: (index, count): only the rows [index · rows / count, (index + 1) · rows / count) of every
                global batch. "first_row" in each batch is the number of its first row in the global batch.
        """
        ...


class Data(Protocol):
    """The data of a task. It is immutable, and nothing in it is None."""

    @property
    def vocabulary(self) -> Json:
        """What the network needs to know about the data, as JSON."""
        ...

    @property
    def source(self) -> Json:
        """{"description": for `TaskSpec.source` to open it again, "sha256": of the content}, as JSON."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user about the data."""
        return ()

    def part(self, name: str) -> Part | None:
        """The part `train`, `validation` or `test`; None if it is empty."""
        ...


@runtime_checkable
class ReadsInOrder(Protocol):
    """Data that can be read exactly, besides the fast way of training."""

    def in_order(self, name: str) -> Part | None:
        """The part from beginning to end, for an exact evaluation; None if it is empty."""
        ...


class Task(Protocol):
    """A task for recurrent networks. It is made from a config, `MyTask(config)`, and has no other state."""

    unit: str = "examples"
    """The unit of the weight of a loss."""
    evaluated_first: tuple[str, ...] = ("test", "validation")
    """By default, an evaluation uses the first of these parts that the data has."""

    def read(
        self,
        source: Source,
        *,
        vocabulary: Json | None = None,
        whole: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Data:
        """Reads a source.

        Args:
            source: the result of `TaskSpec.source`.
            vocabulary: the vocabulary of earlier data; None makes one from the training part.
            whole: take the source as one part, `train`, to evaluate on all of it.
            on_progress: called while a long source is read.

        Raises:
            SourceError: if the source cannot be read, or is too small.
            EncodingError: if it has symbols that the given vocabulary lacks.
        """
        ...

    def build(self, vocabulary: Json) -> keras.Model:
        """The network. Equal configs and vocabularies build equal weights.

        Raises:
            RunError: if the vocabulary is damaged.
        """
        ...

    def states(self, model: Network) -> tuple[StateSpec, ...]:
        """The tensors of the recurrent state that batches carry; empty if no state is carried."""
        return ()

    def loss(self, model: Network, batch: Batch, state: State, *, step: tf.Tensor | None = None) -> Loss:
        """The loss of a batch, as sums.

        Args:
            model: the keras.Model from `build`.
            batch: a batch of a part, as tensors.
            state: a flat tuple of tensors, as in `states`.
            step: the training step, for the dropout masks; None evaluates without dropout.
        """
        ...

    def metrics(self, sums: Loss) -> Metrics:
        """The figures for people, from sums over any number of batches, as floats."""
        ...

    def use(self, model: Network, vocabulary: Json) -> object:
        """An object with the abilities of a trained network: any of the protocols below."""
        return None


# The abilities of a trained network, checked with `isinstance`.


class Evaluation(Protocol):
    """The result of an evaluation."""

    @property
    def part(self) -> str: ...
    @property
    def figures(self) -> dict[str, float]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


@runtime_checkable
class Evaluates(Protocol):
    """Has its own evaluation, with more than the figures of `Task.loss` and `Task.metrics`."""

    def evaluate(
        self, data: Data, part: str, on_batch: OnBatch | None = None, **options: object
    ) -> Evaluation:
        """Evaluates a part that the data has."""
        ...

    def evaluate_quickly(self, data: Data, part: str, on_batch: OnBatch | None = None) -> Evaluation:
        """A faster evaluation for the end of training, which may be less exact."""
        ...

    def draw(self, evaluation: Evaluation, folder: Path) -> list[Path]:
        """Draws an evaluation into files in a folder; returns their paths."""
        ...


@runtime_checkable
class Generates(Protocol):
    """Writes sequences."""

    def generate(self, **options: object) -> list[str]: ...


@runtime_checkable
class Predicts(Protocol):
    """Answers texts, in their order."""

    def predictions(self, texts: Iterable[str], **options: object) -> Iterator[Answer]: ...


@runtime_checkable
class Attributes(Protocol):
    """Computes the contribution of each part of an input to the answer."""

    def attributions(self, texts: Iterable[str], **options: object) -> Iterator[Answer]: ...


@runtime_checkable
class Aligns(Protocol):
    """Has an attention from target to source tokens."""

    def align(self, source: str, target: str) -> Answer: ...


@runtime_checkable
class ComparesWords(Protocol):
    """Has a word embedding to compare words in."""

    def neighbors(self, word: str, count: int = 10) -> Answer: ...


# Tasks for the registry and the command line, without TensorFlow.


@dataclass(frozen=True)
class RunFacts:
    """The facts of a run before its network is built.

    Attributes:
        path: the run directory.
        config: the settings of its task.
        vocabulary: the vocabulary of its training data, as JSON.
    """

    path: Path
    config: TaskConfig
    vocabulary: Json


class Printer(Protocol):
    """Prints the answers to texts."""

    def say(self, texts: list[str]) -> None:
        """Prints the answers to some texts."""
        ...

    def end(self) -> None:
        """Called after the last text."""
        ...


@dataclass(frozen=True)
class Given:
    """A source as the user gave it: arguments and options for `TaskSpec.source`."""

    arguments: tuple[object, ...]
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Opened:
    """A source that `TaskSpec.source` has opened."""

    source: Source


@dataclass(frozen=True)
class TaskSpec:
    """A task for the registry: `ostinato train COMMAND`, and the commands that use its runs.

    Another package adds a task with an entry point in the group `ostinato.tasks` that names a `TaskSpec`; see
    examples/plugin.

    Attributes:
        command: the name on the command line; runs are called runs/COMMAND-001.
        config: the class of the settings. Its `task` names the task in run directories and recipes.
        task: the class of the task, or "module:Class", so that TensorFlow is imported only when needed.
        source: opens a source of the user for `Task.read`, without TensorFlow and, if possible, without
            reading it: `source(given, …, *, option=…)`. Its parameters are the arguments and flags of the
            command line. It also takes the "description" of `Data.source` and, in the optional keyword
            `vocabulary`, the vocabulary of a run to evaluate.
        rule: the rule for default settings, "module:function"; see `ostinato.tasks.fitting`. None where the
            defaults are the same for all data and budgets.
        output: the flags and the output of the command line, by command. A function checks its flags against
            the `RunFacts` before TensorFlow is imported, and returns a function of the result of `Task.use`:

                predict(facts, *, texts, as_json, …)     → function of the use → `Printer`
                generate(facts, *, as_json, …)           → function of the use → None, which prints
                neighbors(facts, word, *, as_json, …)    → function of the use → None, which prints
                info(facts)                              → facts of the run, by name
                evaluate(facts, *, …)                    → (options for `Evaluates.evaluate`, function of the
                                                            `Evaluation`, which prints what is not a figure)

            `texts` are those on the command line, or None. Every further parameter is a flag,
            `name: Annotated[type, Flag(group), "help"] = default`, as in `source`.
    """

    command: str
    config: type[TaskConfig]
    task: str | type[Task]
    source: Callable[..., Source]
    output: Mapping[str, Callable[..., Answer]] = field(default_factory=dict)
    rule: str | None = None

    def open(self, given: object, vocabulary: Json | None = None) -> Source:
        """The opened source, for `Task.read`.

        Args:
            given: a source as `source` takes it, `Given` or `Opened`.
            vocabulary: the vocabulary of a run to evaluate.

        Raises:
            SourceError: if the source does not exist.
        """
        if isinstance(given, Opened):
            return given.source
        given = given if isinstance(given, Given) else Given((given,))
        options = dict(given.options)
        if vocabulary is not None and "vocabulary" in inspect.signature(self.source).parameters:
            options["vocabulary"] = vocabulary
        return self.source(*given.arguments, **options)
