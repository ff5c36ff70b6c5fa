"""What a classifier reads, and the network it trains."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ostinato.tasks.config import RecurrentConfig


class ClassifierConfig(RecurrentConfig):
    """What a classifier reads, and the network it trains.

    Attributes:
        encoder: what a token is: `char`, `byte`, `word` or `bpe`.
        normalize: `letters` keeps a–z in lower case and single spaces only; `none` keeps the text as it is.
        min_count: rarer words become `<unk>` (word encoder).
        vocabulary_size: how many words or subwords to know at most, counted on the training part; rarer words
            become `<unk>`.
        max_tokens: longer texts are cut to so many tokens; `auto` takes the mean length of the training
            texts and two standard deviations, as the tutorial does.
        truncation: where a longer text is cut: `pre` keeps its end, `post` its beginning.
        masked: whether the network skips padding. If so, batches hold texts of about equal length; if not,
            padding is read like a word, and every text is padded to `max_tokens`.
        padding: where padding stands when it is read: `pre` or `post`. What is skipped makes no difference.
        label_separator: what stands between the labels of a text that has several; None takes each label as
            a whole.
        class_weights: `none`, or `balanced`: in the training loss each text weighs the more the rarer its
            label is, so that all labels together weigh the same.
        validation_fraction: the part of the texts kept for validation, unless a validation table is given.
        test_fraction: the part of the texts kept for testing; it is cut first.
        batch: texts in a batch.
        cell: the recurrence, a name from `ostinato.layers.cells()`.
        units: hidden units of each layer, from the bottom up; a single number counts for every layer.
        reset_before: a GRU whose reset gate acts before the recurrent product; cells without a reset gate
            ignore it.
        bidirectional: a second network of each layer reads from the end; outputs are joined.
        pooling: what the decision is made from: the `last` state, the `mean` or `max` of all outputs, or
            their mean weighted by `attention` (Yang et al. 2016, "Hierarchical attention networks").
        embedding: size of the token embedding.
        word_dropout: fraction of tokens whose whole embedding is dropped in training.
        embedding_dropout: fraction of the embeddings' entries dropped.
        dropout: fraction dropped between two recurrent layers.
        recurrent_dropout: fraction of its own past state that each recurrent layer drops, the same at all
            time steps of a text (Gal & Ghahramani 2016, arXiv:1512.05287).
        output_dropout: fraction dropped before the output layer; None takes `dropout`.
        engine: how the recurrence runs over time: `auto`, `native`, `keras` or `scratch`.
        seed: the split, initial weights, batches and dropout masks follow from it.
    """

    task: ClassVar[str] = "classifier"

    encoder: Literal["char", "byte", "word", "bpe"] = "word"
    normalize: Literal["none", "letters"] = "none"
    min_count: int = Field(default=1, ge=1)
    vocabulary_size: int = Field(default=10_000, ge=257, le=1_000_000)
    max_tokens: int | Literal["auto"] = "auto"
    truncation: Literal["pre", "post"] = "pre"
    masked: bool = True
    padding: Literal["pre", "post"] = "pre"
    label_separator: str | None = Field(default=None, min_length=1)
    class_weights: Literal["none", "balanced"] = "none"
    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    test_fraction: float = Field(default=0.0, ge=0, lt=1)
    batch: int = Field(default=64, ge=1, le=65536)
    cell: str = "gru"
    units: tuple[int, ...] = (64,)
    reset_before: bool = False
    bidirectional: bool = False
    pooling: Literal["last", "mean", "max", "attention"] = "last"
    embedding: int = Field(default=64, ge=1, le=65536)
    word_dropout: float = Field(default=0.0, ge=0, lt=1)
    embedding_dropout: float = Field(default=0.0, ge=0, lt=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    recurrent_dropout: float = Field(default=0.0, ge=0, lt=1)
    output_dropout: float | None = Field(default=None, ge=0, lt=1)
    engine: str = "auto"
    seed: int = Field(default=0, ge=0, lt=2**31)

    @field_validator("max_tokens", mode="before")
    @classmethod
    def _sensible_max_tokens(cls, max_tokens: Any) -> Any:
        if isinstance(max_tokens, str) and max_tokens.isdecimal():
            max_tokens = int(max_tokens)
        number = max_tokens if isinstance(max_tokens, int) and not isinstance(max_tokens, bool) else 0
        if max_tokens != "auto" and not 1 <= number <= 1_000_000:
            raise ValueError("expected 1 to 1,000,000 tokens, or auto")
        return max_tokens

    @model_validator(mode="after")
    def _fits_together(self) -> ClassifierConfig:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave nothing to train on")
        if self.engine == "scratch" and self.masked:
            raise ValueError("engine = 'scratch' cannot skip padding; set masked to false, or take another")
        if self.class_weights != "none" and self.label_separator is not None:
            raise ValueError("class_weights are for texts with one label each; leave out label_separator")
        return self
