"""What a translator reads and writes, and the network it trains."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ostinato.tasks.config import RecurrentConfig, check_units

SideEncoder = Literal["auto", "char", "byte", "word", "bpe"]


class TranslatorConfig(RecurrentConfig):
    """What a translator reads and writes, and the network it trains.

    Attributes:
        source_encoder: what a token of the source is: `char`, `byte`, `word` or `bpe`; `auto` takes
            characters for scripts without spaces between words, else words.
        target_encoder: the same of the target, where `auto` takes bpe in place of words, so that nothing is
            unknown.
        source_vocabulary: how many words or subwords of the source to know at most.
        target_vocabulary: the same of the target.
        joint_vocabulary: one vocabulary and one embedding for both sides; both then have the source's
            encoder.
        min_count: rarer words and characters become `<unk>`, counted on the training part.
        unicode: how both sides are normalised: `nfkc`, `nfc` or `none`.
        lowercase: `source`, `both` or `none`.
        max_tokens: pairs with more tokens on a side are left out of training; longer sources are cut when
            they are translated.
        validation_fraction: the part of the sources kept for validation, about.
        test_fraction: the part kept for testing, about. Where a pair belongs follows from its source alone.
        batch: pairs in a batch.
        cell: the recurrence of encoder and decoder, a name from `ostinato.layers.cells()`.
        units: hidden units of each layer of the encoder, in each direction, from the bottom up; a single
            number counts for every layer.
        decoder_units: the same of the decoder; None takes the encoder's.
        reset_before: a GRU whose reset gate acts before the recurrent product; cells without a reset gate
            ignore it.
        bidirectional: a second network of each layer of the encoder reads from the end.
        bridge: how the decoder's first state is made from the encoder's last: `copy`; `dense`, through a tanh
            layer; `zeros`; `auto` copies where sizes allow it, else takes a layer.
        attention: `none`; `additive` (Bahdanau et al. 2014); `multiplicative` (Luong et al. 2015).
        input_feeding: with multiplicative attention, feed what it found to the next step.
        embedding: size of the embeddings of both sides.
        tied: the output layer shares the target embedding's weights (Press & Wolf 2017, arXiv:1608.05859).
        word_dropout: fraction of tokens, of both sides, whose whole embedding is dropped in training.
        embedding_dropout: fraction of the embeddings' entries dropped.
        dropout: fraction dropped between two recurrent layers.
        recurrent_dropout: fraction of its own past state that each recurrent layer drops.
        output_dropout: fraction dropped before the output layer; None takes `dropout`.
        label_smoothing: the probability that is spread over all tokens in the training loss (Szegedy et al.
            2016, arXiv:1512.00567).
        scheduled_sampling: the fraction of target tokens that are replaced, in training, by what the network
            itself would have written there (Bengio et al. 2015, arXiv:1506.03099; in two passes as in
            Mihaylova & Martins 2019, arXiv:1906.07651).
        scheduled_sampling_steps: over so many steps that fraction rises from 0.
        engine: how the recurrence runs over time: `auto`, `native`, `keras` or `scratch`.
        seed: initial weights, batches and dropout masks follow from it.
    """

    task: ClassVar[str] = "translator"

    source_encoder: SideEncoder = "auto"
    target_encoder: SideEncoder = "auto"
    source_vocabulary: int = Field(default=8_000, ge=257, le=1_000_000)
    target_vocabulary: int = Field(default=8_000, ge=257, le=1_000_000)
    joint_vocabulary: bool = False
    min_count: int = Field(default=1, ge=1)
    unicode: Literal["nfkc", "nfc", "none"] = "nfkc"
    lowercase: Literal["none", "source", "both"] = "none"
    max_tokens: int = Field(default=60, ge=1, le=100_000)
    validation_fraction: float = Field(default=0.05, ge=0, lt=1)
    test_fraction: float = Field(default=0.0, ge=0, lt=1)
    batch: int = Field(default=64, ge=1, le=65536)
    cell: str = "gru"
    units: tuple[int, ...] = (256,)
    decoder_units: tuple[int, ...] | None = None
    reset_before: bool = False
    bidirectional: bool = False
    bridge: Literal["auto", "copy", "dense", "zeros"] = "auto"
    attention: Literal["none", "additive", "multiplicative"] = "multiplicative"
    input_feeding: bool = False
    embedding: int = Field(default=256, ge=1, le=65536)
    tied: bool = False
    word_dropout: float = Field(default=0.0, ge=0, lt=1)
    embedding_dropout: float = Field(default=0.0, ge=0, lt=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    recurrent_dropout: float = Field(default=0.0, ge=0, lt=1)
    output_dropout: float | None = Field(default=None, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    scheduled_sampling: float = Field(default=0.0, ge=0, le=1)
    scheduled_sampling_steps: int = Field(default=1000, ge=1)
    engine: str = "auto"
    seed: int = Field(default=0, ge=0, lt=2**31)

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
