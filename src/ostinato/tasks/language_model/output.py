"""What `ostinato generate` asks of a language model, and how it prints texts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from ostinato.data.encoders.registry import encoder_from_json
from ostinato.decoding.choices import Sampling
from ostinato.tasks.base import RunFacts
from ostinato.tasks.config import Flag
from ostinato.tasks.language_model.writing import how_to_write

if TYPE_CHECKING:
    from ostinato.tasks.language_model.answers import Answers

_TEXTS, _DRAWING, _SEARCHING = Flag("Texts"), Flag("Sampling"), Flag("Beam search")


def generate(
    facts: RunFacts,
    *,
    prompt: Annotated[str, _TEXTS, "What the text begins with."] = "",
    length: Annotated[int, _TEXTS, "How many tokens to write."] = 400,
    count: Annotated[int, _TEXTS, "How many texts to write, separated by blank lines."] = 1,
    temperature: Annotated[
        float | None,
        _DRAWING,
        "Sampling temperature: higher values vary more, and 0 always takes the most likely token. By default "
        f"{Sampling().temperature:g}.",
    ] = None,
    top_k: Annotated[int | None, _DRAWING, "Sample from the k most likely tokens only."] = None,
    top_p: Annotated[
        float | None, _DRAWING, "Sample from the most likely tokens with this total probability only."
    ] = None,
    repetition_penalty: Annotated[
        float | None, _DRAWING, "Values above 1 make tokens that were already written less likely."
    ] = None,
    seed: Annotated[
        int | None, _DRAWING, "The random seed: the same seed writes the same text. By default it is drawn."
    ] = None,
    beam: Annotated[
        int | None,
        _SEARCHING,
        "Search for the most likely text with a beam of this size, instead of sampling.",
    ] = None,
    no_repeat: Annotated[
        int, _SEARCHING, "With --beam, no sequence of so many tokens occurs twice; 0 allows repeats."
    ] = 0,
    as_json: bool = False,
) -> Callable[[Answers], None]:
    """Checks the options of text generation.

    Returns:
        A function that writes the texts to standard output.

    Raises:
        ConfigError: when a value is out of range, or flags exclude each other.
        EncodingError: when the prompt has symbols that the model never saw.
    """
    options = {name: value for name, value in locals().items() if name not in ("facts", "as_json")}
    encoder = encoder_from_json(facts.vocabulary)
    how_to_write(encoder.size, **{name: value for name, value in options.items() if name != "prompt"})
    encoder.encode(prompt, strict=True)

    def write(answers: Answers) -> None:
        streams = not as_json and count == 1
        texts = answers.generate(**options, on_text=_write if streams else None)
        if as_json:
            defaults = Sampling()._asdict() if beam is None else {}
            used = {name: defaults.get(name) if value is None else value for name, value in options.items()}
            print(json.dumps({"run": str(facts.path), **used, "texts": texts}, ensure_ascii=False))
        elif streams:
            print()
        else:
            print("\n\n".join(texts))

    return write


def _write(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()
