"""How text is to be written: settings that go together, checked before there is a network."""

from __future__ import annotations

from ostinato.decoding.choices import Beam, Sampling
from ostinato.errors import ConfigError

_LONGEST_SEARCH = 100_000
"""Tokens; a step of a search takes time in proportion to it."""


def how_to_write(
    size: int,
    *,
    length: int,
    count: int,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    repetition_penalty: float | None,
    seed: int | None,
    beam: int | None,
    no_repeat: int,
) -> Sampling | Beam:
    """How the next tokens are drawn, or searched.

    Args:
        size: tokens in the vocabulary.
        length, count, temperature, top_k, top_p, repetition_penalty, seed, beam, no_repeat: as for
            `LanguageModel.generate`.

    Raises:
        ConfigError: for a value out of range, or options that exclude each other.
    """
    if not 1 <= length <= 10_000_000:
        raise ConfigError(f"length must be 1 to 10 million tokens, got {length}")
    if not 1 <= count <= 10_000:
        raise ConfigError(f"count must be 1 to 10,000 texts, got {count}")
    chosen = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
    }
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if beam is None:
        if no_repeat:
            raise ConfigError("no_repeat belongs to a beam search: give beam, too")
        return Sampling(**chosen).checked()
    if draws := [*chosen, *(["seed"] if seed is not None else [])]:
        raise ConfigError(f"a beam search draws nothing: leave out beam, or {', '.join(draws)}")
    if length > _LONGEST_SEARCH:
        raise ConfigError(f"length = {length}: a beam search writes {_LONGEST_SEARCH:,} tokens at most")
    if count > beam >= 1:
        raise ConfigError(f"count = {count}: a beam of {beam} finds no more than {beam}")
    # All continuations have one length, so that a penalty for it would change nothing.
    return Beam(beam, length_penalty=0.0, no_repeat=no_repeat, n_best=count).checked(size)
