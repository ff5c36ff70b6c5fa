"""The options of text generation, checked before the network is built."""

from __future__ import annotations

from collections.abc import Sequence

from ostinato.decoding.choices import Beam, Sampling
from ostinato.errors import ConfigError
from ostinato.wording import option

_LONGEST_SEARCH = 100_000
"""Tokens; the time of a step of the search grows with the length."""


def check_together(
    lines: bool,
    *,
    prompt: str,
    prompts: Sequence[str] | None,
    stop: str | None,
    unique: bool,
    beam: int | None,
) -> None:
    """Checks options of `LanguageModel.generate` against each other and the kind of the model.

    Args:
        lines: whether it is a model of lines.
        prompt, prompts, stop, unique, beam: as for `LanguageModel.generate`.

    Raises:
        ConfigError: if options exclude each other, or the model cannot follow one.
    """
    if prompts is not None and prompt:
        raise ConfigError("prompt and prompts both say what texts begin with; give one of them")
    if isinstance(prompts, str) or (prompts is not None and not len(prompts)):
        raise ConfigError(f"prompts must be a list of at least one text, got {prompts!r}")
    if stop == "":
        raise ConfigError("stop must not be empty")
    if unique and not lines:
        raise ConfigError(f"unique needs a model of lines; train one with {option('lines', True)}")
    if unique and beam is not None:
        raise ConfigError("unique samples until it has found enough lines; leave out unique or beam")


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
    """The options of sampling or of a beam search, checked.

    Args:
        size: the vocabulary size.
        length, count, temperature, top_k, top_p, repetition_penalty, seed, beam, no_repeat: as for
            `LanguageModel.generate`.

    Raises:
        ConfigError: if a value is out of range, or options exclude each other.
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
            raise ConfigError("no_repeat needs a beam search; give beam, too")
        return Sampling(**chosen).checked()
    if draws := [*chosen, *(["seed"] if seed is not None else [])]:
        raise ConfigError(f"a beam search does not sample; leave out beam, or {', '.join(draws)}")
    if length > _LONGEST_SEARCH:
        raise ConfigError(f"length must be at most {_LONGEST_SEARCH:,} tokens with a beam, got {length}")
    if count > beam >= 1:
        raise ConfigError(f"count must be at most {beam}, the beam size, got {count}")
    # All continuations have the same length, so a length penalty would have no effect.
    return Beam(beam, length_penalty=0.0, no_repeat=no_repeat, n_best=count).checked(size)
