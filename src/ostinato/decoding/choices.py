"""How tokens are chosen: drawn one by one, or searched. The settings are checked without TensorFlow."""

from __future__ import annotations

from typing import NamedTuple

from ostinato.errors import ConfigError


class Sampling(NamedTuple):
    """How the next token is chosen.

    Attributes:
        temperature: divides the scores before the softmax; 0 takes the likeliest token (greedy).
        top_k: draw from the k likeliest tokens only (Fan et al. 2018, arXiv:1805.04833).
        top_p: draw from the likeliest tokens with this total probability only (nucleus sampling, Holtzman et
            al. 2019, arXiv:1904.09751).
        repetition_penalty: above 1, tokens already written become less likely (CTRL, Keskar et al. 2019,
            arXiv:1909.05858): it divides positive scores and multiplies negative ones.
    """

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0

    def checked(self) -> Sampling:
        """Itself. Raises ConfigError when a value is out of range."""
        if not 0.0 <= self.temperature <= 100.0:
            raise ConfigError(f"temperature must be 0 (greedy) to 100, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k must be at least 1, got {self.top_k}")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise ConfigError(f"top_p must be more than 0 and at most 1, got {self.top_p}")
        if not 1.0 <= self.repetition_penalty <= 100.0:
            raise ConfigError(f"repetition_penalty must be 1 (none) to 100, got {self.repetition_penalty}")
        return self


class Beam(NamedTuple):
    """How the likeliest sequences are searched.

    Attributes:
        size: hypotheses kept at every step; 1 is greedy search.
        length_penalty: α of Wu et al. 2016 (arXiv:1609.08144): the log-probability of a sequence of n tokens
            is divided by ((5 + n) / 6)^α; 0 compares plain log-probabilities, which favours short sequences.
        coverage_penalty: β of the same paper: adds β Σ log(min(total attention on a source token, 1)).
        no_repeat: no n-gram of this length occurs twice in a sequence; 0 allows repeats.
        n_best: the number of sequences to return for each row.
    """

    size: int = 5
    length_penalty: float = 1.0
    coverage_penalty: float = 0.0
    no_repeat: int = 0
    n_best: int = 1

    def checked(self, vocabulary_size: int) -> Beam:
        """Itself. Raises ConfigError when a value is out of range."""
        if not 1 <= self.size <= vocabulary_size:
            raise ConfigError(f"beam must be 1 to {vocabulary_size:,}, the vocabulary size, got {self.size}")
        if not 1 <= self.n_best <= self.size:
            raise ConfigError(f"n_best must be 1 to {self.size}, the beam size, got {self.n_best}")
        if not 0.0 <= self.length_penalty <= 10.0:
            raise ConfigError(f"length_penalty must be 0 to 10, got {self.length_penalty}")
        if not 0.0 <= self.coverage_penalty <= 10.0:
            raise ConfigError(f"coverage_penalty must be 0 to 10, got {self.coverage_penalty}")
        if not 0 <= self.no_repeat <= 100:
            raise ConfigError(f"no_repeat must be 0 (repeats allowed) to 100, got {self.no_repeat}")
        return self
