"""The contracts between a task and everything that trains, evaluates and uses it.

    TaskSpec   what the registry and the command line know of a task, without TensorFlow
    Task       made from a config: reads data, builds a network, computes its loss and metrics
    Data       what a task has read, in parts (training, validation, test)
    Part       the batches of a part
    Evaluates, Generates, Predicts, Attributes, Aligns, ComparesWords
               what a trained network can do: protocols of what `Task.use` returns

A loss comes as sums, never as means, so that workers with unequal numbers of tokens add up exactly.
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
"""What a network answers: a translation, a label with its probability, an alignment."""
Network = Any
"""A keras.Model of the task's own class."""
Source = Any
"""What a task's `TaskSpec.source` returns."""
Json = dict[str, Any]
"""A JSON object."""
OnProgress = Callable[[int, "int | None"], None]
"""Called with (bytes done, bytes in all or None) while a long source is read."""
OnBatch = Callable[[int, int], None]
"""Called with (batches done, batches in all)."""
Batch = Mapping[str, Any]
"""Arrays by name, as tensors once they reach a loss."""
PARTS = ("train", "validation", "test")


class Loss(NamedTuple):
    """What a batch adds to the loss.

    Attributes:
        total: the summed loss, a scalar; in nats where it is a likelihood.
        weight: what it is summed over, a scalar: total / weight is the mean.
        sums: further sums by name, scalars, for the metrics.
        state: the recurrent state that the batch ended in; empty where no state is carried.
    """

    total: tf.Tensor | float
    weight: tf.Tensor | float
    sums: Mapping[str, tf.Tensor | float] = {}
    state: State = ()


class Metric(NamedTuple):
    """A figure that people read.

    Attributes:
        name: as in metrics.jsonl and on the command line, for example `bits_per_character`.
        value: nan where it is undefined.
        unit: what it is counted in, for example `nats per token`; empty for a plain number.
        better: which way is better, `lower` or `higher`.
    """

    name: str
    value: float
    unit: str = ""
    better: Literal["lower", "higher"] = "lower"

    def beats(self, value: float | None) -> bool:
        """Whether it is better than an earlier value; anything is better than none."""
        if value is None:
            return True
        return self.value < value if self.better == "lower" else self.value > value


Metrics = tuple[Metric, ...]
"""The first one of the validation part chooses the best checkpoint."""


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
        """Batches in an epoch; of a part that is not trained on, batches in reading it once."""
        ...

    @property
    def carries_state(self) -> bool:
        """Whether a training batch begins with the state that the one before it ended in."""
        return False

    @property
    def signature(self) -> Mapping[str, tf.TensorSpec] | None:
        """The type of every batch, with None for sizes that differ; None when all batches have the same."""
        return None

    def batches(
        self, *, epoch: int | None = None, start: int = 0, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """The batches from number `start` on: a pure function of its arguments.

        Args:
            epoch: which epoch of training; None reads the part once, in order, for evaluation.
            start: the number of the first batch.
            shard: (index, count): only the rows [index · rows / count, (index + 1) · rows / count) of every
                global batch. "first_row" in each batch is the number of its first row in the global batch.
        """
        ...


class Data(Protocol):
    """What a task has read. Nothing in it changes, and nothing in it is None."""

    @property
    def vocabulary(self) -> Json:
        """What building and using the network needs to know of the data, JSON-able."""
        ...

    @property
    def source(self) -> Json:
        """{"description": what `TaskSpec.source` opens again, "sha256": of the content}, JSON-able."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user about the data."""
        return ()

    def part(self, name: str) -> Part | None:
        """`train`, `validation` or `test`; None when it holds nothing."""
        ...


@runtime_checkable
class ReadsInOrder(Protocol):
    """Data that has an exact way of reading a part, other than the fast one of training."""

    def in_order(self, name: str) -> Part | None:
        """The part from beginning to end, for an exact evaluation; None when it holds nothing."""
        ...


class Task(Protocol):
    """A job for a recurrent network. It is made from a config, `MyTask(config)`, and holds nothing else."""

    unit: str = "examples"
    """What the weight of a loss counts."""
    evaluated_first: tuple[str, ...] = ("test", "validation")
    """An evaluation takes the first of these parts that the data has, unless told."""

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
            source: what the task's `TaskSpec.source` returns.
            vocabulary: of data read before, which is kept; None makes one from the training part.
            whole: take the source as one part, `train`, instead of splitting it, to evaluate on all of it.
            on_progress: told how much of a long source is read.

        Raises:
            SourceError: the source cannot be read, or holds too little.
            EncodingError: it has symbols that the given vocabulary lacks.
        """
        ...

    def build(self, vocabulary: Json) -> keras.Model:
        """The network. Equal configs and vocabularies build equal weights.

        Raises:
            RunError: the vocabulary is damaged.
        """
        ...

    def states(self, model: Network) -> tuple[StateSpec, ...]:
        """The tensors of the recurrent state that batches carry; empty where every batch begins anew."""
        return ()

    def loss(self, model: Network, batch: Batch, state: State, *, step: tf.Tensor | None = None) -> Loss:
        """What a batch adds to the loss.

        Args:
            model: the keras.Model from `build`.
            batch: of a part, as tensors.
            state: a flat tuple of tensors, as `states` says.
            step: the training step that dropout masks are drawn from; None evaluates without dropout.
        """
        ...

    def metrics(self, sums: Loss) -> Metrics:
        """The figures that people read, from the sums over any number of batches, as floats."""
        ...

    def use(self, model: Network, vocabulary: Json) -> object:
        """What a trained network can do: an object with any of the protocols below."""
        return None


# What a trained network can do; asked with `isinstance`.


class Evaluation(Protocol):
    """What an evaluation found."""

    @property
    def part(self) -> str: ...
    @property
    def figures(self) -> dict[str, float]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


@runtime_checkable
class Evaluates(Protocol):
    """Finds more in an evaluation than the figures of `Task.loss` and `Task.metrics`."""

    def evaluate(
        self, data: Data, part: str, on_batch: OnBatch | None = None, **options: object
    ) -> Evaluation:
        """Evaluates a part that the data has."""
        ...

    def evaluate_quickly(self, data: Data, part: str, on_batch: OnBatch | None = None) -> Evaluation:
        """The same at the end of a training, where it may be less exact and faster."""
        ...

    def draw(self, evaluation: Evaluation, folder: Path) -> list[Path]:
        """Draws an evaluation into files of a folder, and says which."""
        ...


@runtime_checkable
class Generates(Protocol):
    """Writes sequences."""

    def generate(self, **options: object) -> list[str]: ...


@runtime_checkable
class Predicts(Protocol):
    """Answers texts, one after another."""

    def predictions(self, texts: Iterable[str], **options: object) -> Iterator[Answer]: ...


@runtime_checkable
class Attributes(Protocol):
    """Says how much each part of an input contributed to the answer."""

    def attributions(self, texts: Iterable[str], **options: object) -> Iterator[Answer]: ...


@runtime_checkable
class Aligns(Protocol):
    """Says where the network looked while it wrote."""

    def align(self, source: str, target: str) -> Answer: ...


@runtime_checkable
class ComparesWords(Protocol):
    """Has an embedding in which words are near to each other or far."""

    def neighbors(self, word: str, count: int = 10) -> Answer: ...


# What the rest of the house knows of a task, without TensorFlow.


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run before its network is made.

    Attributes:
        path: the run directory.
        config: the settings of its task.
        vocabulary: of the data that it was trained on, JSON-able.
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
    """What a person gave as a source: arguments and options for `TaskSpec.source`."""

    arguments: tuple[object, ...]
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Opened:
    """What `TaskSpec.source` has returned."""

    source: Source


@dataclass(frozen=True)
class TaskSpec:
    """A task as the registry has it: `ostinato train COMMAND` and all that uses its runs.

    Another package adds one by an entry point in the group `ostinato.tasks` that names such an object; see
    examples/plugin.

    Attributes:
        command: the name on the command line; runs are called runs/COMMAND-001.
        config: the class of the settings. Its `task` names the task in run directories and recipes.
        task: the class of the task, or "module:Class", since it needs TensorFlow and its settings do not.
        source: turns what a person gave into what `Task.read` reads, without TensorFlow and, as far as
            possible, without reading: `source(given, …, *, option=…)`. Its parameters are the arguments and
            flags of the command line. It also takes the "description" of `Data.source` and, under the
            keyword `vocabulary`, if it has one, the vocabulary of a run to evaluate.
        output: what the command line asks and prints, by command. A function checks its flags against the
            `RunFacts` before TensorFlow is imported, and returns what takes the result of `Task.use`:

                predict(facts, *, texts, as_json, …)     → function of the use → `Printer`
                generate(facts, *, as_json, …)           → function of the use → None, which prints
                neighbors(facts, word, *, as_json, …)    → function of the use → None, which prints
                evaluate(facts, *, …)                    → (options for `Evaluates.evaluate`, function of the
                                                            `Evaluation`, which prints what is not a figure)

            `texts` are those on the command line, or None. Every further parameter is a flag,
            `name: Annotated[type, Flag(group), "help"] = default`, and so are those of `source`.
    """

    command: str
    config: type[TaskConfig]
    task: str | type[Task]
    source: Callable[..., Source]
    output: Mapping[str, Callable[..., Answer]] = field(default_factory=dict)

    def open(self, given: object, vocabulary: Json | None = None) -> Source:
        """What `Task.read` reads.

        Args:
            given: a source as `source` takes it, `Given` or `Opened`.
            vocabulary: of a run to evaluate on it.

        Raises:
            SourceError: there is no such source.
        """
        if isinstance(given, Opened):
            return given.source
        given = given if isinstance(given, Given) else Given((given,))
        options = dict(given.options)
        if vocabulary is not None and "vocabulary" in inspect.signature(self.source).parameters:
            options["vocabulary"] = vocabulary
        return self.source(*given.arguments, **options)
