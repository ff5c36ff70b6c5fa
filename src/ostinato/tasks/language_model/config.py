"""The settings of a language model: its data and its network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ostinato.errors import ConfigError
from ostinato.tasks import config
from ostinato.tasks.config import COMMON_DATA, COMMON_TRAINING, DATA, NETWORK, TRAINING, Flag, Fraction


class LanguageModelConfig(config.RecurrentConfig):
    """A language model: a network that predicts the next character, byte, word or subword of a text.

    Example: ostinato train lm book.txt --minutes 5

    Example: ostinato train lm names.txt --lines

    Example: ostinato train lm tinyshakespeare --cell gru --units 512 --dropout 0.2 --epochs 10
    """

    task: ClassVar[str] = "language_model"
    tuned_dropout: ClassVar[str] = "output_dropout"

    encoder: config.EncoderName = "char"
    normalize: Annotated[Literal["none", "letters"], DATA] = "none"
    """How the text is normalized: `letters` keeps only a–z and single spaces, `none` keeps the text as it
    is."""
    min_count: Annotated[int, DATA] = Field(default=1, ge=1)
    """Words that occur less often become `<unk>` (word encoder only)."""
    vocabulary_size: Annotated[int, DATA] = Field(default=2048, ge=257, le=1_000_000)
    """Number of subwords to learn (bpe), or of words and subwords (word_bpe)."""
    lines: Annotated[bool, COMMON_DATA] = False
    """Whether every line is a text of its own, as in a list of names: lines are shuffled, and each begins
    from nothing and has an end, which the network learns, too."""
    max_tokens: Annotated[int | None, Flag("Data", none="all")] = Field(default=None, ge=2)
    """Read only so many tokens from the beginning of the text. By default all are read."""
    validation_fraction: Annotated[Fraction, DATA] = 0.1
    """Fraction of the text kept for validation, taken from before the test part; with `lines`, of the lines,
    drawn at random."""
    test_fraction: Annotated[Fraction, DATA] = 0.0
    """Fraction of the text kept for testing, taken from the end; with `lines`, of the lines, drawn at
    random."""
    validation_tokens: Annotated[int, DATA] = Field(default=500_000, ge=2)
    """Largest number of validation tokens that training evaluates on, from the beginning of the part; with
    `lines`, whole lines drawn from it.
    `ostinato evaluate` reads the whole part."""
    cell: config.Cell = "lstm"
    units: config.Units = (256,)
    layers: config.Layers = None
    block: config.Block = False
    reset_after: config.ResetAfter = True
    embedding: Annotated[int, NETWORK] = Field(default=0, ge=0, le=65536)
    """Size of the token embedding; 0 uses one-hot vectors instead."""
    tied: Annotated[bool, Flag("Network", names=("--tied/--untied",))] = False
    """Whether the output layer shares the weights of the embedding (Press & Wolf 2016, arXiv:1608.05859)."""
    input_dropout: Annotated[Fraction, NETWORK] = 0.0
    """Fraction of the network's inputs that are dropped."""
    dropout: config.Dropout = 0.0
    recurrent_dropout: config.RecurrentDropout = 0.0
    output_dropout: config.OutputDropout = None
    variational: Annotated[bool, NETWORK] = False
    """Whether dropout of inputs, between layers and of outputs draws one mask for all time steps of a window
    (Gal & Ghahramani 2016, arXiv:1512.05287), not a new one at each."""
    embedding_dropout: Annotated[Fraction, NETWORK] = 0.0
    """Fraction of the vocabulary whose inputs are dropped in a step, wherever they occur in the batch (Gal &
    Ghahramani 2016)."""
    weight_drop: Annotated[Fraction, NETWORK] = 0.0
    """Fraction of the recurrent weights that are dropped in a step (AWD-LSTM: Merity et al. 2017,
    arXiv:1708.02182)."""
    activation_regularization: Annotated[float, NETWORK] = Field(default=0.0, ge=0, le=1000)
    """Factor of the mean square of the dropped outputs of the top layer, which training adds to the loss
    (Merity et al. 2017, arXiv:1708.01009)."""
    temporal_regularization: Annotated[float, NETWORK] = Field(default=0.0, ge=0, le=1000)
    """Factor of the mean square of the change of the top layer's outputs from one time step to the next,
    which training adds to the loss (Merity et al. 2017, arXiv:1708.01009)."""
    init_stddev: Annotated[float | None, NETWORK] = Field(default=None, gt=0, le=10)
    """Standard deviation of the normal distribution that initial weights are drawn from, with zero biases. By
    default the Keras initializers are used (Glorot uniform, orthogonal, forget bias 1)."""
    engine: config.Engine = "auto"
    batch: Annotated[int, COMMON_TRAINING] = Field(default=32, ge=1, le=65536)
    """Number of rows in a batch; each row reads its own place in the text, or a line."""
    seq_len: Annotated[int, COMMON_TRAINING] = Field(default=64, ge=1, le=65536)
    """Number of tokens in each row of a batch, which is the length of truncated back-propagation. With
    `lines`, a row is a whole line."""
    sampling: Annotated[Literal["sequential", "random"], TRAINING] = "sequential"
    """How rows follow the text: `sequential` rows continue where the previous batch ended and carry the
    state; `random` rows start anywhere with a zero state."""
    seed: config.Seed = 0

    @classmethod
    def usual_recipe(cls, chosen: Mapping[str, config.Value]) -> str:
        return "lines" if chosen.get("lines") else "default"

    def check_given(self, names: Collection[str]) -> None:
        super().check_given(names)
        if {"validation", "validation_fraction"} <= {*names}:
            raise ConfigError(
                "--validation and --validation-fraction both set the validation part; choose one"
            )
        for name in ("seq_len", "sampling"):
            if self.lines and name in names:
                raise ConfigError(
                    f"--{name.replace('_', '-')} has no effect with --lines, where every row of a batch is a "
                    "whole line; leave out one of the two"
                )

    @model_validator(mode="after")
    def _fits_together(self) -> LanguageModelConfig:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave nothing to train on")
        if self.lines and self.max_tokens is not None:
            raise ValueError("max_tokens reads the beginning of one long text; leave it out with lines")
        if self.tied and self.embedding != self.units[-1]:
            raise ValueError(
                f"embedding must be {self.units[-1]}, the units of the top layer, when the output weights "
                f"are tied, got {self.embedding}"
            )
        return self
