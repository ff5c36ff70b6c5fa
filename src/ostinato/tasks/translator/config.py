"""The settings of a translator: its data and its network."""

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
    check_units,
)

MOST_NGRAM_ROWS = 65_521
"""The layer of n-grams hashes in 32 bits."""
SideEncoder = Annotated[str, COMMON_DATA, AfterValidator(config.known_or_auto)]


class TranslatorConfig(config.RecurrentConfig):
    """A translator, trained on sentence pairs: a network that reads a sentence and writes another one.

    It can learn any such task: from one language to another, from written dates to ISO dates, from letters to
    sounds.

    Example: ostinato train translate pairs.tsv --test-fraction 0.05

    Example: ostinato train translate europarl.en europarl.fr --units 512 --attention additive --minutes 60
    """

    task: ClassVar[str] = "translator"

    source_encoder: SideEncoder = "auto"
    """What a token of the source is: `char`, `byte`, `word`, `bpe` or `word_bpe`; `auto` chooses `char` for
    scripts without spaces between words and for lists of single words, otherwise `bpe`."""
    target_encoder: SideEncoder = "auto"
    """What a token of the target is: `char`, `byte`, `word`, `bpe` or `word_bpe`; `auto` chooses `char` for
    scripts without spaces between words and for lists of single words, `word` for the symbols of such words
    (`HH AH0 L OW1`), otherwise `bpe`."""
    source_vocabulary: Annotated[int | None, Flag("Data", none="by the pairs")] = Field(
        default=None, ge=257, le=1_000_000
    )
    """Largest number of words or subwords in the vocabulary of the source. By default 8,000 words; or 3,000
    subwords up to 50,000 pairs, growing to 8,000 at 500,000."""
    target_vocabulary: Annotated[int | None, Flag("Data", none="by the pairs")] = Field(
        default=None, ge=257, le=1_000_000
    )
    """Largest number of words or subwords in the vocabulary of the target, as for the source."""
    joint_vocabulary: Annotated[bool, Flag("Data", names=("--joint-vocabulary/--own-vocabularies",))] = False
    """Whether source and target share one vocabulary, one embedding and the encoder of the source."""
    min_count: Annotated[int, DATA] = Field(default=1, ge=1)
    """Words and characters that occur less often in the training part become `<unk>`."""
    unicode: Annotated[Literal["nfkc", "nfc", "none"], DATA] = "nfkc"
    """The Unicode normalization of source and target: `nfkc`, `nfc` or `none`."""
    lowercase: Annotated[Literal["none", "source", "both"], DATA] = "none"
    """Which side is lower-cased: `none`, `source` or `both`."""
    max_tokens: Annotated[int, COMMON_DATA] = Field(default=60, ge=1, le=100_000)
    """Pairs with more tokens on a side are left out of training; longer sentences are cut before
    translation."""
    validation_fraction: Annotated[Fraction, DATA] = 0.05
    """Approximate fraction of the pairs kept for validation. Pairs with the same source stay together."""
    max_validation: Annotated[int | None, Flag("Data", none="no limit")] = Field(default=None, ge=1)
    """About the most pairs kept for validation: of many pairs the fraction is less. When the source grows,
    pairs may go from validation to training."""
    test_fraction: Annotated[Fraction, COMMON_DATA] = 0.0
    """Approximate fraction of the pairs kept for testing. Pairs with the same source stay together."""
    cell: config.Cell = "gru"
    units: config.Units = (256,)
    layers: config.Layers = None
    decoder_units: Annotated[tuple[int, ...] | None, Flag("Network", none="as --units")] = None
    """Hidden units of each layer of the decoder. By default they are those of the encoder."""
    reset_after: config.ResetAfter = True
    bidirectional: config.Bidirectional = False
    """Whether each layer of the encoder also reads the source backwards."""
    bridge: Annotated[Literal["auto", "copy", "dense", "zeros"], NETWORK] = "auto"
    """How the initial state of the decoder follows from the last state of the encoder: `copy`, `dense` (a
    tanh layer) or `zeros`; `auto` copies if the sizes match, and uses a layer if not."""
    attention: Annotated[Literal["none", "additive", "multiplicative"], COMMON_NETWORK] = "multiplicative"
    """The attention of the decoder: `none`, `additive` (Bahdanau et al. 2014) or `multiplicative` (Luong et
    al. 2015)."""
    input_feeding: Annotated[bool, NETWORK] = False
    """Whether multiplicative attention also feeds its result to the next decoder step (Luong et al. 2015)."""
    lexical: Annotated[bool, NETWORK] = False
    """Whether the next token is also scored by the embeddings of the source tokens that the attention looks
    at (Nguyen & Chiang 2018, arXiv:1710.01329)."""
    embedding: Annotated[int, NETWORK] = Field(default=256, ge=1, le=65536)
    """Size of the token embeddings of source and target."""
    source_ngrams: Annotated[int, NETWORK] = Field(default=1, ge=1, le=8)
    """Longest n-grams of source tokens whose embeddings, found by a hash, are added to that of their last
    token (Pagnoni et al. 2024, arXiv:2412.09871). 1 has none."""
    ngram_rows: Annotated[int, NETWORK] = Field(default=32_749, ge=1, le=MOST_NGRAM_ROWS)
    """Size of the table of `source_ngrams`; n-grams whose hashes are equal share a row."""
    ngram_dropout: Annotated[config.Fraction, NETWORK] = 0.0
    """Fraction of the n-grams of `source_ngrams` that training leaves out."""
    tied: Annotated[bool, Flag("Network", names=("--tied/--untied",))] = False
    """Whether the output layer shares the weights of the target embedding (Press & Wolf 2017,
    arXiv:1608.05859)."""
    word_dropout: config.WordDropout = 0.0
    embedding_dropout: config.EmbeddingDropout = 0.0
    dropout: config.Dropout = 0.0
    recurrent_dropout: config.RecurrentDropout = 0.0
    output_dropout: config.OutputDropout = None
    engine: config.Engine = "auto"
    label_smoothing: Annotated[Fraction, TRAINING] = 0.0
    """Label smoothing: the probability that the training loss spreads over all tokens (Szegedy et al. 2016,
    arXiv:1512.00567)."""
    scheduled_sampling: Annotated[float, TRAINING] = Field(default=0.0, ge=0, le=1)
    """Fraction of target tokens that training replaces with the network's own predictions (Bengio et al.
    2015, arXiv:1506.03099; in two passes as in Mihaylova & Martins 2019, arXiv:1906.07651)."""
    scheduled_sampling_steps: Annotated[int, TRAINING] = Field(default=1000, ge=1)
    """Number of steps over which scheduled sampling rises from 0 to its full fraction."""
    seeds: config.Seeds = 1
    batch: Annotated[int, COMMON_TRAINING] = Field(default=64, ge=1, le=65536)
    """Number of sentence pairs in a batch."""
    seed: config.Seed = 0

    @property
    def decoder_sizes(self) -> tuple[int, ...]:
        """Hidden units of each layer of the decoder."""
        return self.units if self.decoder_units is None else self.decoder_units

    @property
    def features(self) -> int:
        """The size of the output layer's input, without the part of `lexical`."""
        return self.embedding if self.tied else self.decoder_sizes[-1]

    @property
    def bridged(self) -> Literal["copy", "dense", "zeros"]:
        """The bridge, with `auto` resolved."""
        if self.bridge != "auto":
            return self.bridge
        return "copy" if self._copies else "dense"

    @property
    def _copies(self) -> bool:
        """Whether the layers of the decoder are as wide as the final states of the encoder."""
        ends = [size * (1 + self.bidirectional) for size in self.units]
        first = len(ends) - len(self.decoder_sizes)
        return [ends[max(0, first + depth)] for depth in range(len(self.decoder_sizes))] == [
            *self.decoder_sizes
        ]

    @field_validator("decoder_units", mode="before")
    @classmethod
    def _one_or_several(cls, units: object) -> object:
        return (units,) if isinstance(units, int) and not isinstance(units, bool) else units

    @field_validator("decoder_units")
    @classmethod
    def _sensible_decoder_units(cls, units: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return units if units is None else check_units(units)

    @model_validator(mode="after")
    def _fits_together(self) -> TranslatorConfig:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave nothing to train on")
        if self.input_feeding and self.attention != "multiplicative":
            raise ValueError(
                "input_feeding needs attention = 'multiplicative'; additive attention feeds its context "
                "anyway"
            )
        if self.lexical and self.attention == "none":
            raise ValueError("lexical needs an attention, got attention = 'none'")
        if self.bridge == "copy" and not self._copies:
            raise ValueError(
                "bridge = 'copy' needs decoder layers as wide as the encoder's (both directions together)"
            )
        if self.tied and self.attention == "none" and self.decoder_sizes[-1] != self.embedding:
            raise ValueError(
                f"without attention, tied needs a last decoder layer of {self.embedding} units, the size of "
                f"the embedding, got {self.decoder_sizes[-1]}"
            )
        if self.engine == "scratch":
            raise ValueError("engine = 'scratch' cannot skip padding; choose another engine")
        return self
