"""What a language model reads, and the network it trains."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ostinato.tasks import config
from ostinato.tasks.config import COMMON_TRAINING, DATA, NETWORK, TRAINING, Flag, Fraction


class LanguageModelConfig(config.RecurrentConfig):
    """A language model: a network that predicts the next character, byte, word or subword of a text.

    Example: ostinato train lm book.txt --minutes 5

    Example: ostinato train lm tinyshakespeare --cell gru --units 512 --dropout 0.2 --epochs 10
    """

    task: ClassVar[str] = "language_model"

    encoder: config.EncoderName = "char"
    normalize: Annotated[Literal["none", "letters"], DATA] = "none"
    """`letters` keeps a–z and single spaces only, as the textbook does; `none` keeps the text as it is."""
    min_count: Annotated[int, DATA] = Field(default=1, ge=1)
    """Rarer words become `<unk>` (word encoder)."""
    vocabulary_size: Annotated[int, DATA] = Field(default=2048, ge=257, le=1_000_000)
    """How many subwords to learn (bpe encoder)."""
    max_tokens: Annotated[int | None, Flag("Data", none="all")] = Field(default=None, ge=2)
    """Read only so many tokens, from the beginning; None reads all."""
    validation_fraction: Annotated[Fraction, DATA] = 0.1
    """The part of the text kept for validation; it lies before the test part."""
    test_fraction: Annotated[Fraction, DATA] = 0.0
    """The part of the text kept for testing; it lies at the end."""
    validation_tokens: Annotated[int, DATA] = Field(default=500_000, ge=2)
    """Training evaluates on at most so many tokens of the validation part, from its beginning; `ostinato
    evaluate` reads all of it."""
    cell: config.Cell = "lstm"
    units: config.Units = (256,)
    layers: config.Layers = None
    reset_after: config.ResetAfter = True
    embedding: Annotated[int, NETWORK] = Field(default=0, ge=0, le=65536)
    """Size of the token embedding; 0 feeds one-hot vectors."""
    tied: Annotated[bool, Flag("Network", names=("--tied/--untied",))] = False
    """The output layer uses the embedding's weights (Press & Wolf 2016, arXiv:1608.05859)."""
    input_dropout: Annotated[Fraction, NETWORK] = 0.0
    """Fraction of the inputs dropped in training."""
    dropout: config.Dropout = 0.0
    recurrent_dropout: config.RecurrentDropout = 0.0
    output_dropout: config.OutputDropout = None
    init_stddev: Annotated[float | None, NETWORK] = Field(default=None, gt=0, le=10)
    """Draw all weights from a normal distribution of this deviation, with zero biases; None takes Keras'
    initialisers (Glorot uniform, orthogonal, forget gates open)."""
    engine: config.Engine = "auto"
    batch: Annotated[int, COMMON_TRAINING] = Field(default=32, ge=1, le=65536)
    """Rows read in parallel."""
    seq_len: Annotated[int, COMMON_TRAINING] = Field(default=64, ge=1, le=65536)
    """Time steps between two changes of the weights: the length of truncated back-propagation."""
    sampling: Annotated[Literal["sequential", "random"], TRAINING] = "sequential"
    """`sequential` rows read on where they stopped and carry their state; `random` rows begin anywhere with a
    zero state."""
    seed: config.Seed = 0

    @model_validator(mode="after")
    def _fits_together(self) -> LanguageModelConfig:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave nothing to train on")
        if self.tied and self.embedding == 0:
            raise ValueError("tied output weights need an embedding; set embedding to the top layer's units")
        if self.tied and self.embedding != self.units[-1]:
            raise ValueError(
                f"tied output weights need an embedding of the top layer's {self.units[-1]} units, "
                f"not {self.embedding}"
            )
        return self
