"""What `ostinato generate` and `ostinato evaluate` ask of a language model, and how it prints texts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ostinato.decoding.choices import Sampling
from ostinato.errors import ConfigError, EncodingError
from ostinato.files import atomic
from ostinato.files.lines import read_lines
from ostinato.tasks.base import RunFacts
from ostinato.tasks.config import Flag
from ostinato.tasks.language_model import tunes
from ostinato.tasks.language_model.source import lenient
from ostinato.tasks.language_model.vocabulary import LanguageVocabulary
from ostinato.tasks.language_model.writing import check_together, how_to_write

if TYPE_CHECKING:
    from ostinato.tasks.language_model.answers import Answers

_TEXTS, _DRAWING, _SEARCHING = Flag("Texts"), Flag("Sampling"), Flag("Beam search")
_READING = Flag("Dynamic evaluation")
_Prompt = Annotated[str, _TEXTS, "What the text begins with."]
_Prompts = Annotated[
    Path | None, _TEXTS, "A file with a prompt on each line; each is continued, in their order."
]
_Interactive = Annotated[
    bool, _TEXTS, "Read prompts from the terminal, line by line, and continue each, until Ctrl-D."
]
_LENGTH = 400
_Length = Annotated[
    int | None,
    _TEXTS,
    f"How many tokens to write, by default {_LENGTH}; a model of lines ends with the line, and --abc with "
    "the tune.",
]
_Count = Annotated[
    int,
    _TEXTS,
    "How many texts to write, separated by blank lines; a model of lines writes one on each line.",
]
_Stop = Annotated[str | None, _TEXTS, "End a text before this text, if it occurs after the prompt."]
_Unique = Annotated[
    bool, _TEXTS, "With a model of lines: write no line that it was trained on, and none twice."
]
_Abc = Annotated[
    bool,
    _TEXTS,
    "Write one tune in ABC, up to its end, and say which bars are not as long as its metre. --out may end in "
    ".mid then.",
]
_Unknown = Annotated[
    str,
    _TEXTS,
    "What becomes of symbols of a prompt that the model lacks: an `error` names them, `drop` leaves them "
    "out, `replace` puts another symbol in their place.",
]
_Out = Annotated[
    tuple[str, ...] | None,
    _TEXTS,
    "Write the texts into this file instead. Of music: the file to write, whose ending decides, .mid (by "
    "default tune.mid), .wav, .png or .abc; may be given often.",
]
_Temperature = Annotated[
    float | None,
    _DRAWING,
    "Sampling temperature: higher values vary more, and 0 always takes the most likely token. By default "
    f"{Sampling().temperature:g}.",
]
_TopK = Annotated[int | None, _DRAWING, "Sample from the k most likely tokens only."]
_TopP = Annotated[
    float | None, _DRAWING, "Sample from the most likely tokens with this total probability only."
]
_Penalty = Annotated[
    float | None, _DRAWING, "Values above 1 make tokens that were already written less likely."
]
_Seed = Annotated[
    int | None, _DRAWING, "The random seed: the same seed writes the same text. By default it is drawn."
]
_Beam = Annotated[
    int | None, _SEARCHING, "Search for the most likely text with a beam of this size, instead of sampling."
]
_NoRepeat = Annotated[
    int, _SEARCHING, "With --beam, no sequence of so many tokens occurs twice; 0 allows repeats."
]


def generate(
    facts: RunFacts,
    *,
    prompt: _Prompt = "",
    prompts: _Prompts = None,
    interactive: _Interactive = False,
    length: _Length = None,
    count: _Count = 1,
    stop: _Stop = None,
    unique: _Unique = False,
    abc: _Abc = False,
    unknown: _Unknown = "error",
    out: _Out = None,
    temperature: _Temperature = None,
    top_k: _TopK = None,
    top_p: _TopP = None,
    repetition_penalty: _Penalty = None,
    seed: _Seed = None,
    beam: _Beam = None,
    no_repeat: _NoRepeat = 0,
    as_json: bool = False,
) -> Callable[[Answers], None]:
    """Checks the options of text generation.

    Returns:
        A function that writes the texts to standard output or into a file.

    Raises:
        ConfigError: when a value is out of range, or flags exclude each other.
        EncodingError: when a prompt has symbols that the model never saw.
        SourceError: when the file of prompts cannot be read.
    """
    options: dict[str, Any] = {
        name: value
        for name, value in locals().items()
        if name not in ("facts", "as_json", "interactive", "out", "abc")
    }
    options["prompts"] = None if prompts is None else _lines(prompts)
    words = LanguageVocabulary.from_json(facts.vocabulary)
    if length is None:
        options["length"] = tunes.LENGTH if abc else _LENGTH
    if abc:
        options |= tunes.checked(words, options, interactive)
    _check(words, options)
    path = _only(out, abc)
    if abc:
        run = facts.path if as_json else None
        return lambda answers: tunes.tell(answers.generate(**options)[0], path, run)
    if interactive:
        _check_alone(prompt, prompts, out, as_json)
        return lambda answers: _converse(answers, options, "\n" if words.lines else "\n\n")

    def write(answers: Answers) -> None:
        streams = not as_json and count == 1 and prompts is None and path is None
        texts = answers.generate(**options, on_text=_write if streams else None)
        if streams:
            print()
            return
        whole = ("\n" if words.lines else "\n\n").join(texts)
        if as_json:
            defaults = Sampling()._asdict() if beam is None else {}
            used = {name: defaults.get(name) if value is None else value for name, value in options.items()}
            whole = json.dumps({"run": str(facts.path), **used, "texts": texts}, ensure_ascii=False)
        if path is None:
            print(whole)
        else:
            atomic.replace(path, f"{whole}\n".encode("utf-8", "surrogateescape"))
            print(f"wrote {len(texts):,} text{'' if len(texts) == 1 else 's'} to {path}", file=sys.stderr)

    return write


def evaluate(
    facts: RunFacts,
    *,
    dynamic: Annotated[
        bool,
        _READING,
        "Also evaluate with weights that adapt to the text while they read it (Krause et al. 2017); these "
        "figures stand apart, named dynamic.",
    ] = False,
    dynamic_rate: Annotated[
        float | None, _READING, "How far a weight moves for a gradient of its usual size, by default 0.001."
    ] = None,
    dynamic_decay: Annotated[
        float | None,
        _READING,
        "The share of its way that a weight goes back after each window, by default 0.02.",
    ] = None,
) -> tuple[dict[str, Any], None]:
    """Checks the options of an evaluation. Raises ConfigError when one has no effect or is out of range."""
    given = {"dynamic_rate": dynamic_rate, "dynamic_decay": dynamic_decay}
    given = {name: value for name, value in given.items() if value is not None}
    if given and not dynamic:
        raise ConfigError(f"--{next(iter(given)).replace('_', '-')} needs --dynamic")
    for name, value in given.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be 0 to 1, got {value:g}")
    if dynamic and LanguageVocabulary.from_json(facts.vocabulary).lines:
        raise ConfigError(
            "--dynamic reads one long text; this model reads lines, each of which begins from nothing"
        )
    return ({"dynamic": True, **given} if dynamic else {}), None


def _check_alone(*others: object) -> None:
    """Refuses what does not go with --interactive."""
    if any(others):
        raise ConfigError(
            "--interactive reads prompts from the terminal and answers there; leave out --prompt, --prompts, "
            "--out and --json"
        )


def _only(out: Sequence[str] | None, abc: bool) -> Path | None:
    """The one file of a flag that may be given often, checked."""
    if out is not None and len(out) > 1:
        raise ConfigError(f"--out must be one file for texts, got {', '.join(out)}")
    path = Path(out[0]) if out else None
    atomic.check_place("--out", path)
    if path is not None and path.suffix.lower() == ".mid" and not abc:
        raise ConfigError(f"--out {path}: a text becomes MIDI with --abc only")
    return path


def _check(words: LanguageVocabulary, options: dict[str, Any]) -> None:
    """Checks the options of `LanguageModel.generate`. Raises what that raises."""
    together = ("prompt", "prompts", "stop", "unique")
    rest = {name: value for name, value in options.items() if name not in (*together, "unknown")}
    how_to_write(words.size, **rest)
    check_together(words.lines, beam=options["beam"], **{name: options[name] for name in together})
    how = lenient(options["unknown"])
    for each in options["prompts"] or [options["prompt"]]:
        words.prompt(each, how)


def _lines(path: Path) -> list[str]:
    """The lines of a file, without their ends. Raises ConfigError if there are none."""
    lines = [line.rstrip("\r\n") for line in read_lines(path, str(path))]
    if not lines:
        raise ConfigError(f"--prompts needs a file with a prompt on each line, got {path}, which is empty")
    return lines


def _converse(answers: Answers, options: dict[str, Any], between: str) -> None:
    """Continues each line of standard input, until its end; one that the model cannot read is named."""
    while True:
        if sys.stdin.isatty():
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.buffer.readline()
        if not line:
            return
        asked: dict[str, Any] = options | {"prompt": line.decode("utf-8", "replace").rstrip("\r\n")}
        streams = options["count"] == 1
        try:
            texts = answers.generate(**asked, on_text=_write if streams else None)
        except (ConfigError, EncodingError) as error:
            print(f"Error: {error}", file=sys.stderr)
            continue
        print("" if streams else between.join(texts), flush=True)


def _write(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()
