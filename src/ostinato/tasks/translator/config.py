"""What a translator reads and writes, and the network it trains."""

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


def _known_encoder(name: str) -> str:
    return name if name == "auto" else config.known_encoder(name)


SideEncoder = Annotated[str, COMMON_DATA, AfterValidator(_known_encoder)]


class TranslatorConfig(config.RecurrentConfig):
    """A translator, trained from sentence pairs: a network that reads a sentence and writes another one.

    It learns anything of that kind: from one language to another, from written dates to ISO dates, from
    letters to sounds.

    Example: ostinato train translate pairs.tsv --test-fraction 0.05

    Example: ostinato train translate europarl.en europarl.fr --units 512 --attention additive --minutes 60
    """

    task: ClassVar[str] = "translator"

    source_encoder: SideEncoder = "auto"
    """What a token of the source is: `char`, `byte`, `word` or `bpe`; `auto` takes characters for scripts
    without spaces between words, else words."""
    target_encoder: SideEncoder = "auto"
    """The same of the target, where `auto` takes bpe in place of words, so that nothing is unknown."""
    source_vocabulary: Annotated[int, DATA] = Field(default=8_000, ge=257, le=1_000_000)
    """How many words or subwords of the source to know at most."""
    target_vocabulary: Annotated[int, DATA] = Field(default=8_000, ge=257, le=1_000_000)
    """The same of the target."""
    joint_vocabulary: Annotated[bool, Flag("Data", names=("--joint-vocabulary/--own-vocabularies",))] = False
    """One vocabulary and one embedding for both sides; both then have the source's encoder."""
    min_count: Annotated[int, DATA] = Field(default=1, ge=1)
    """Rarer words and characters become `<unk>`, counted on the training part."""
    unicode: Annotated[Literal["nfkc", "nfc", "none"], DATA] = "nfkc"
    """How both sides are normalised: `nfkc`, `nfc` or `none`."""
    lowercase: Annotated[Literal["none", "source", "both"], DATA] = "none"
    """What is lower-cased: `none`, `source` or `both`."""
    max_tokens: Annotated[int, COMMON_DATA] = Field(default=60, ge=1, le=100_000)
    """Pairs with more tokens on a side are left out of training; longer sources are cut when they are
    translated."""
    validation_fraction: Annotated[Fraction, DATA] = 0.05
    """The part of the sources kept for validation, about."""
    test_fraction: Annotated[Fraction, COMMON_DATA] = 0.0
    """The part kept for testing, about. Where a pair belongs follows from its source alone."""
    cell: config.Cell = "gru"
    units: config.Units = (256,)
    layers: config.Layers = None
    decoder_units: Annotated[tuple[int, ...] | None, Flag("Network", none="as --units")] = None
    """Hidden units of each layer of the decoder; None takes the encoder's."""
    reset_after: config.ResetAfter = True
    bidirectional: config.Bidirectional = False
    """A second network of each layer of the encoder reads from the end."""
    bridge: Annotated[Literal["auto", "copy", "dense", "zeros"], NETWORK] = "auto"
    """How the decoder's first state is made from the encoder's last: `copy`; `dense`, through a tanh layer;
    `zeros`; `auto` copies where sizes allow it, else takes a layer."""
    attention: Annotated[Literal["none", "additive", "multiplicative"], COMMON_NETWORK] = "multiplicative"
    """`none`; `additive` (Bahdanau et al. 2014); `multiplicative` (Luong et al. 2015)."""
    input_feeding: Annotated[bool, NETWORK] = False
    """With multiplicative attention, feed what it found to the next step."""
    embedding: Annotated[int, NETWORK] = Field(default=256, ge=1, le=65536)
    """Size of the embeddings of both sides."""
    tied: Annotated[bool, Flag("Network", names=("--tied/--untied",))] = False
    """The output layer shares the target embedding's weights (Press & Wolf 2017, arXiv:1608.05859)."""
    word_dropout: config.WordDropout = 0.0
    embedding_dropout: config.EmbeddingDropout = 0.0
    dropout: config.Dropout = 0.0
    recurrent_dropout: config.RecurrentDropout = 0.0
    output_dropout: config.OutputDropout = None
    engine: config.Engine = "auto"
    label_smoothing: Annotated[Fraction, TRAINING] = 0.0
    """The probability that is spread over all tokens in the training loss (Szegedy et al. 2016,
    arXiv:1512.00567)."""
    scheduled_sampling: Annotated[float, TRAINING] = Field(default=0.0, ge=0, le=1)
    """The fraction of target tokens that are replaced, in training, by what the network itself would have
    written there (Bengio et al. 2015, arXiv:1506.03099; in two passes as in Mihaylova & Martins 2019,
    arXiv:1906.07651)."""
    scheduled_sampling_steps: Annotated[int, TRAINING] = Field(default=1000, ge=1)
    """Over so many steps that fraction rises from 0."""
    batch: Annotated[int, COMMON_TRAINING] = Field(default=64, ge=1, le=65536)
    """Pairs in a batch."""
    seed: config.Seed = 0

    @property
    def decoder_sizes(self) -> tuple[int, ...]:
        """Hidden units of each layer of the decoder."""
        return self.units if self.decoder_units is None else self.decoder_units

    @property
    def features(self) -> int:
        """Width of what the output layer reads."""
        return self.embedding if self.tied else self.decoder_sizes[-1]

    @property
    def bridged(self) -> Literal["copy", "dense", "zeros"]:
        """The bridge, `auto` resolved."""
        if self.bridge != "auto":
            return self.bridge
        return "copy" if self._copies else "dense"

    @property
    def _copies(self) -> bool:
        """Whether the decoder's layers are as wide as what the encoder's end in."""
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
                "input_feeding belongs to attention = 'multiplicative'; additive attention feeds its context "
                "anyway"
            )
        if self.bridge == "copy" and not self._copies:
            raise ValueError(
                "bridge = 'copy' needs decoder layers as wide as the encoder's (both directions together)"
            )
        if self.tied and self.attention == "none" and self.decoder_sizes[-1] != self.embedding:
            raise ValueError("tied without attention needs a last decoder layer as wide as the embedding")
        if self.engine == "scratch":
            raise ValueError("engine = 'scratch' cannot skip padding; take another")
        return self
