"""What a language model reads, and the network it trains."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ostinato.tasks.config import RecurrentConfig


class LanguageModelConfig(RecurrentConfig):
    """What a language model reads, and the network it trains.

    Attributes:
        encoder: what a token is: `char`, `byte`, `word` or `bpe`.
        normalize: `letters` keeps a–z and single spaces only, as the textbook does; `none` keeps the text as
            it is.
        min_count: rarer words become `<unk>` (word encoder).
        vocabulary_size: how many subwords to learn (bpe encoder).
        max_tokens: use the first so many tokens only; None uses all.
        validation_fraction: the part of the text kept for validation; it lies before the test part.
        test_fraction: the part of the text kept for testing; it lies at the end.
        validation_tokens: training reads at most so many tokens of the validation part, from its beginning,
            each time it evaluates; `ostinato evaluate` reads all of it.
        batch: rows read in parallel.
        seq_len: time steps a row reads before the weights change: the length of truncated back-propagation.
        sampling: `sequential` rows read on where they stopped and carry their state; `random` rows begin
            anywhere with a zero state.
        cell: the recurrence, a name from `ostinato.layers.cells()`.
        units: hidden units of each layer, from the bottom up; a single number counts for every layer.
        reset_before: a GRU whose reset gate acts before the recurrent product, the textbook's form; cells
            without a reset gate ignore it.
        embedding: size of the token embedding; 0 feeds one-hot vectors.
        tied: the output layer uses the embedding's weights (Press & Wolf 2016, arXiv:1608.05859).
        input_dropout: fraction of the inputs dropped in training.
        dropout: fraction dropped between two recurrent layers.
        recurrent_dropout: fraction of its own past state that each recurrent layer drops, the same at all
            time steps of a batch (Gal & Ghahramani 2016, arXiv:1512.05287).
        output_dropout: fraction dropped before the output layer; None takes `dropout`.
        init_stddev: draw all weights from a normal distribution of this deviation, with zero biases; None
            takes Keras' initialisers (Glorot uniform, orthogonal, forget gates open).
        engine: how the recurrence runs over time: `auto`, `native`, `keras` or `scratch`.
        seed: initial weights, batches and dropout masks follow from it.
    """

    task: ClassVar[str] = "language_model"

    encoder: Literal["char", "byte", "word", "bpe"] = "char"
    normalize: Literal["none", "letters"] = "none"
    min_count: int = Field(default=1, ge=1)
    vocabulary_size: int = Field(default=2048, ge=257, le=1_000_000)
    max_tokens: int | None = Field(default=None, ge=2)
    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    test_fraction: float = Field(default=0.0, ge=0, lt=1)
    validation_tokens: int = Field(default=500_000, ge=2)
    batch: int = Field(default=32, ge=1, le=65536)
    seq_len: int = Field(default=64, ge=1, le=65536)
    sampling: Literal["sequential", "random"] = "sequential"
    cell: str = "lstm"
    units: tuple[int, ...] = (256,)
    reset_before: bool = False
    embedding: int = Field(default=0, ge=0, le=65536)
    tied: bool = False
    input_dropout: float = Field(default=0.0, ge=0, lt=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    recurrent_dropout: float = Field(default=0.0, ge=0, lt=1)
    output_dropout: float | None = Field(default=None, ge=0, lt=1)
    init_stddev: float | None = Field(default=None, gt=0, le=10)
    engine: str = "auto"
    seed: int = Field(default=0, ge=0, lt=2**31)

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
