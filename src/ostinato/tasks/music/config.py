"""The settings of a music model: its data and its network."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ostinato.tasks import config
from ostinato.tasks.config import COMMON_DATA, COMMON_NETWORK, COMMON_TRAINING, DATA, NETWORK, Flag, Fraction


class MusicConfig(config.RecurrentConfig):
    """A music model: a network that predicts which keys sound at the next step of a piece.

    Example: ostinato train music folder-of-midi/ --minutes 10

    Example: ostinato train music jsb --cell gru --units 200 --minutes 5
    """

    task: ClassVar[str] = "music"

    grid: Annotated[int | None, Flag("Data", common=True, none="as the source is")] = Field(
        default=None, ge=1, le=96
    )
    """Steps of a quarter note. Of piano rolls it only says how long a step is when they are played: by
    default a quarter note, and an eighth in nottingham, musedata and pianomidi."""
    onsets: Annotated[bool | None, Flag("Data", none="as the source is")] = None
    """Whether the model tells a key that is struck again from one that is held. By default it does where the
    source does: MIDI and ABC say it, piano rolls do not."""
    transpose: Annotated[int, COMMON_DATA] = Field(default=6, ge=0, le=36)
    """In training, every piece is moved by up to so many semitones, anew in each epoch."""
    validation_fraction: Annotated[Fraction, DATA] = 0.1
    """Fraction of the pieces kept for validation, drawn at random, where the source has no such part."""
    test_fraction: Annotated[Fraction, DATA] = 0.1
    """Fraction of the pieces kept for testing, drawn at random, where the source has no such part."""
    output: Annotated[Literal["chord", "independent"], COMMON_NETWORK] = "chord"
    """How the keys of a step are decided: `chord` one after the other, each with knowledge of those above it;
    `independent` each for itself."""
    cell: config.Cell = "lstm"
    units: config.Units = (400,)
    block: config.Block = False
    layers: config.Layers = None
    reset_after: config.ResetAfter = True
    hidden: Annotated[int, NETWORK] = Field(default=200, ge=1, le=65536)
    """Hidden units of the chord output."""
    skip_connection: Annotated[bool, NETWORK] = True
    """Whether the output also reads the last chord itself, besides what the recurrent layers made of it."""
    input_dropout: Annotated[Fraction, NETWORK] = 0.0
    """Fraction of the network's inputs that are dropped."""
    dropout: config.Dropout = 0.5
    recurrent_dropout: config.RecurrentDropout = 0.0
    engine: config.Engine = "auto"
    batch: Annotated[int, COMMON_TRAINING] = Field(default=16, ge=1, le=65536)
    """Number of pieces that are read at once."""
    seq_len: Annotated[int, COMMON_TRAINING] = Field(default=32, ge=1, le=65536)
    """Steps between two changes of the weights; the state is carried on within a piece."""
    seed: config.Seed = 0

    @model_validator(mode="after")
    def _fits_together(self) -> MusicConfig:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave nothing to train on")
        return self
