"""The settings of a classifier: its data and its network."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from ostinato.tasks import config
from ostinato.tasks.config import (
    COMMON_DATA,
    COMMON_NETWORK,
    COMMON_TRAINING,
    DATA,
    NETWORK,
    TRAINING,
    Flag,
    Fraction,
)


class ClassifierConfig(config.RecurrentConfig):
    """A text classifier, trained on a table of texts and labels. A text has one of two or more labels, or
    several at once.

    Example: ostinato train classify reviews.csv --test-fraction 0.2

    Example: ostinato train classify tickets.jsonl --text body --label queue --class-weights balanced
    """

    task: ClassVar[str] = "classifier"
    tuned_dropout: ClassVar[str] = "output_dropout"

    encoder: Annotated[str, COMMON_DATA, AfterValidator(config.known_or_auto)] = "auto"
    """What a token is: `char`, `byte`, `word`, `bpe` (subwords) or `word_bpe` (frequent words,
    others in subwords); `auto` chooses `char` for scripts without
    spaces and for single words, `bpe` where many words are rare, otherwise `word`."""
    normalize: Annotated[Literal["none", "letters", "lower"], DATA] = "none"
    """How texts are normalized: `lower` makes them lower-case, `letters` keeps only a–z in lower case and
    single spaces, `none` keeps them as they are."""
    min_count: Annotated[int, DATA] = Field(default=1, ge=1)
    """Words that occur less often become `<unk>` (word encoder only)."""
    vocabulary_size: Annotated[int, DATA] = Field(default=10_000, ge=257, le=1_000_000)
    """Largest number of words or subwords in the vocabulary; the most frequent ones of the training part are
    kept."""
    max_tokens: Annotated[int | Literal["auto"], COMMON_DATA] = "auto"
    """Longer texts are cut to so many tokens; `auto` is the mean length of the training texts plus two
    standard deviations."""
    truncation: Annotated[Literal["pre", "post"], DATA] = "pre"
    """Where a longer text is cut: `pre` keeps its end, `post` its beginning."""
    masked: Annotated[bool, Flag("Data", names=("--masked/--unmasked",))] = True
    """Whether the network skips padding. If it does not, every text is padded to `max_tokens`, and padding is
    read like a word."""
    padding: Annotated[Literal["pre", "post"], DATA] = "pre"
    """Where padding goes when the network reads it: `pre` before the text, `post` after it."""
    label_separator: Annotated[str | None, COMMON_DATA] = Field(default=None, min_length=1)
    """The text between several labels of one row, for example `;`; a row without any is an answer, too. By
    default a row has one label, unless the table has several labels apart."""
    validation_fraction: Annotated[Fraction, DATA] = 0.1
    """Fraction of the texts kept for validation, unless a validation table is given."""
    test_fraction: Annotated[Fraction, COMMON_DATA] = 0.0
    """Fraction of the texts kept for testing, taken before the validation part."""
    cell: config.Cell = "gru"
    units: config.Units = (64,)
    layers: config.Layers = None
    reset_after: config.ResetAfter = True
    bidirectional: config.Bidirectional = False
    """Whether each layer also reads the text backwards; the outputs of both directions are concatenated."""
    pooling: Annotated[Literal["last", "mean", "max", "max_mean", "attention"], NETWORK] = "last"
    """What the label is predicted from: the `last` state, the `mean` or `max` of all outputs, both of them
    (`max_mean`: Howard & Ruder 2018, arXiv:1801.06146), or their mean weighted by `attention` (Yang et al.
    2016, "Hierarchical attention networks")."""
    embedding: Annotated[int, NETWORK] = Field(default=64, ge=1, le=65536)
    """Size of the token embedding."""
    vectors: Annotated[str | None, COMMON_NETWORK] = Field(default=None, min_length=1)
    """A file of pretrained word vectors, as of GloVe, word2vec or fastText in text form, to begin the
    embedding with. Tokens are words then (`word`, or `word_bpe` if set), and the embedding is as large as the
    vectors."""
    ngrams: Annotated[int, NETWORK] = Field(default=0, ge=0, le=10_000_000)
    """Beside the recurrent layers, a linear model of the text's n-grams, found before the first step: words,
    pairs of words, up to five characters of a word. So many are known at most; fewer with many labels. 0
    leaves it out (Cheng et al. 2016, arXiv:1606.07792)."""
    word_dropout: config.WordDropout = 0.0
    embedding_dropout: config.EmbeddingDropout = 0.0
    dropout: config.Dropout = 0.0
    recurrent_dropout: config.RecurrentDropout = 0.0
    output_dropout: config.OutputDropout = None
    engine: config.Engine = "auto"
    seeds: config.Seeds = 1
    class_weights: Annotated[Literal["none", "balanced"], TRAINING] = "none"
    """The weight of a text in the training loss: `balanced` gives every label the same total weight, `none`
    gives every text the same weight."""
    batch: Annotated[int, COMMON_TRAINING] = Field(default=64, ge=1, le=65536)
    """Number of texts in a batch."""
    seed: config.Seed = 0

    @field_validator("max_tokens", mode="before")
    @classmethod
    def _sensible_max_tokens(cls, max_tokens: object) -> object:
        if isinstance(max_tokens, str) and max_tokens.isdecimal():
            max_tokens = int(max_tokens)
        number = max_tokens if isinstance(max_tokens, int) and not isinstance(max_tokens, bool) else 0
        if max_tokens != "auto" and not 1 <= number <= 1_000_000:
            raise ValueError("must be 1 to 1,000,000 or 'auto'")
        return max_tokens

    @model_validator(mode="after")
    def _fits_together(self) -> ClassifierConfig:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave nothing to train on")
        if self.engine == "scratch" and self.masked:
            raise ValueError(
                "engine = 'scratch' cannot skip padding; set masked to false, or choose another engine"
            )
        if self.vectors is not None and self.encoder not in ("auto", "word", "word_bpe"):
            raise ValueError(
                f"vectors are of words; encoder must be word, word_bpe or auto, got {self.encoder!r}"
            )
        if self.class_weights != "none" and self.label_separator is not None:
            raise ValueError("class_weights need one label for each text; leave out label_separator")
        return self
