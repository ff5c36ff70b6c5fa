"""How a piece is to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

from ostinato.errors import ConfigError

_MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class Drawing:
    """The options of `ostinato.tasks.music.answers.Answers.generate`, checked.

    Raises:
        ConfigError: a value is out of range.
    """

    steps: int
    temperature: float = 1.0
    top_p: float = 1.0
    max_notes: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= _MOST_STEPS:
            raise ConfigError(f"steps must be 1 to {_MOST_STEPS:,}, got {self.steps}")
        if not 0 <= self.temperature <= 100:
            raise ConfigError(f"temperature must be 0 to 100, got {self.temperature:g}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be more than 0 and at most 1, got {self.top_p:g}")
        if self.max_notes is not None and self.max_notes < 1:
            raise ConfigError(f"max_notes must be at least 1, got {self.max_notes}")
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be 0 to 2**63 - 1, got {self.seed}")
