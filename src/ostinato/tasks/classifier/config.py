"""What a classifier reads, and the network it trains."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ostinato.errors import ConfigError
from ostinato.tasks import config
from ostinato.tasks.config import COMMON_DATA, COMMON_TRAINING, DATA, NETWORK, TRAINING, Flag, Fraction


class ClassifierConfig(config.RecurrentConfig):
    """A text classifier, trained from a table of texts and labels: two labels, many, or several for each
    text.

    Example: ostinato train classify reviews.csv --test-fraction 0.2

    Example: ostinato train classify tickets.jsonl --text body --label queue --class-weights balanced
    """

    task: ClassVar[str] = "classifier"

    encoder: config.EncoderName = "word"
    normalize: Annotated[Literal["none", "letters"], DATA] = "none"
    """`letters` keeps a–z in lower case and single spaces only; `none` keeps the text as it is."""
    min_count: Annotated[int, DATA] = Field(default=1, ge=1)
    """Rarer words become `<unk>` (word encoder)."""
    vocabulary_size: Annotated[int, DATA] = Field(default=10_000, ge=257, le=1_000_000)
    """How many words or subwords to know at most, counted on the training part; others become `<unk>`."""
    max_tokens: Annotated[int | Literal["auto"], COMMON_DATA] = "auto"
    """Longer texts are cut to so many tokens; `auto` takes the mean length of the training texts and two
    standard deviations, as the tutorial does."""
    truncation: Annotated[Literal["pre", "post"], DATA] = "pre"
    """Where a longer text is cut: `pre` keeps its end, `post` its beginning."""
    masked: Annotated[bool, Flag("Data", names=("--masked/--unmasked",))] = True
    """Whether the network skips padding. If so, batches hold texts of about equal length; if not, padding is
    read like a word, and every text is padded to `max_tokens`."""
    padding: Annotated[Literal["pre", "post"], DATA] = "pre"
    """Where padding stands when it is read: `pre` or `post`. Skipped padding makes no difference."""
    label_separator: Annotated[str | None, COMMON_DATA] = Field(default=None, min_length=1)
    """What stands between the labels of a text that has several; None takes each label as a whole."""
    validation_fraction: Annotated[Fraction, DATA] = 0.1
    """The part of the texts kept for validation, unless a validation table is given."""
    test_fraction: Annotated[Fraction, COMMON_DATA] = 0.0
    """The part of the texts kept for testing; it is cut first."""
    cell: config.Cell = "gru"
    units: config.Units = (64,)
    layers: config.Layers = None
    reset_after: config.ResetAfter = True
    bidirectional: config.Bidirectional = False
    """A second network of each layer reads from the end; outputs are joined."""
    pooling: Annotated[Literal["last", "mean", "max", "attention"], NETWORK] = "last"
    """What the decision is made from: the `last` state, the `mean` or `max` of all outputs, or their mean
    weighted by `attention` (Yang et al. 2016, "Hierarchical attention networks")."""
    embedding: Annotated[int, NETWORK] = Field(default=64, ge=1, le=65536)
    """Size of the token embedding."""
    word_dropout: config.WordDropout = 0.0
    embedding_dropout: config.EmbeddingDropout = 0.0
    dropout: config.Dropout = 0.0
    recurrent_dropout: config.RecurrentDropout = 0.0
    output_dropout: config.OutputDropout = None
    engine: config.Engine = "auto"
    class_weights: Annotated[Literal["none", "balanced"], TRAINING] = "none"
    """`balanced` weighs each text in the training loss by how rare its label is, so that all labels together
    weigh the same; `none` weighs all texts the same."""
    batch: Annotated[int, COMMON_TRAINING] = Field(default=64, ge=1, le=65536)
    """Texts in a batch."""
    seed: config.Seed = 0

    @property
    def several(self) -> bool:
        """Whether a text may have several labels."""
        return self.label_separator is not None

    def check_given(self, names: Collection[str]) -> None:
        super().check_given(names)
        if {"validation", "validation_fraction"} <= {*names}:
            raise ConfigError("--validation and --validation-fraction both give the part; choose one")

    @field_validator("max_tokens", mode="before")
    @classmethod
    def _sensible_max_tokens(cls, max_tokens: object) -> object:
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
