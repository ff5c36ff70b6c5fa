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

_TEXTS, _DRAWING, _SEARCHING = Flag("Texts"), Flag("Drawing"), Flag("Searching instead")


def generate(
    facts: RunFacts,
    *,
    prompt: Annotated[str, _TEXTS, "What the text begins with."] = "",
    length: Annotated[int, _TEXTS, "How many tokens to write."] = 400,
    count: Annotated[int, _TEXTS, "How many texts to write, separated by blank lines."] = 1,
    temperature: Annotated[
        float | None,
        _DRAWING,
        f"Lower is safer, higher is wilder; 0 always takes the likeliest token. Without it "
        f"{Sampling().temperature:g}.",
    ] = None,
    top_k: Annotated[int | None, _DRAWING, "Draw from the k likeliest tokens only."] = None,
    top_p: Annotated[
        float | None, _DRAWING, "Draw from the likeliest tokens that together have this probability."
    ] = None,
    repetition_penalty: Annotated[
        float | None, _DRAWING, "Above 1, tokens already written become less likely."
    ] = None,
    seed: Annotated[
        int | None, _DRAWING, "The same seed writes the same text; without one it differs every time."
    ] = None,
    beam: Annotated[
        int | None,
        _SEARCHING,
        "Search the likeliest text with a beam of so many; --count takes the best of them.",
    ] = None,
    no_repeat: Annotated[
        int, _SEARCHING, "With --beam, write no sequence of so many tokens twice; 0 allows all."
    ] = 0,
    as_json: bool = False,
) -> Callable[[Answers], None]:
    """Checks how texts are to be written.

    Returns:
        What writes them, onto standard output while they are written.

    Raises:
        ConfigError: for a value out of range, or flags that exclude each other.
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
