"""Describes the errors of Keras and TensorFlow in one sentence."""

import functools
import re

import keras

from ostinato.wording import printable, shortened

_MAX_LENGTH = 400
_LAMBDA = "it holds a Python lambda, which could only be rebuilt by running code from its configuration"
# Keras and TensorFlow report an error within another; the last one says what is wrong.
_BEFORE_CAUSE = (
    "Exception encountered:",
    "Error encountered:",
    "Error encountered during deserialization:",
)
_CALLING = re.compile(r"(?:.*\n)?\s*Exception encountered when calling [^\n]*\n\s*\n(.*)", re.DOTALL)
_IN_USER_CODE = re.compile(r"\s*in user code:\n.*?\n\s*\n {4,}[A-Za-z_][\w.]*: (.*)", re.DOTALL)
_WITHIN_A_GRAPH = re.compile(r"(?:.*\n)?\s*Graph execution error:\n.*\n\s*\n(.*)", re.DOTALL)
# What may follow a sentence: configurations, arguments, the places of TensorFlow's graph.
_AFTER_SENTENCE = re.compile(
    r"\s*Full (?:object )?config:|\s+using config=|\n\s*config=|\n\s*Arguments received by |"
    r"\n\s*Traceback \(most recent call last\)|\s*\[\[\{\{node|\s*\[Op:\w+|\n\s*\n",
)
_WRAPPER = re.compile(r"could not be deserialized|cannot be copied|^Exception encountered|^Error when|^\s*$")
_UNKNOWN = re.compile(
    r"Could not (?:locate|interpret) (?P<kind>\w+)(?: identifier:)? '?(?P<name>[\w.>]+)'?(?:\.|$|\s)"
)
_REPRESENTED = re.compile(r"<(?:class '([\w.<>]+)'|([\w.<>]+) object at 0x[0-9a-f]+)>")
_VARIABLE = re.compile(r"<Variable path=([^\s,>]+),.*?value=.*?>", re.DOTALL)
_KERAS_PATH = re.compile(r"\bkeras\.src\.(?:\w+\.)+(\w+)")
_OPTIMIZER = re.compile(r"(?<=\boptimizer )'(\w+?)(?:_\d+)?'", re.IGNORECASE)


def describe_error(error: BaseException) -> str:
    """The sentence that says what is wrong: that of the innermost error, without a full stop.

    It is one line of at most 400 characters, cut between words.
    """
    while error.__cause__ is not None and _WRAPPER.search(innermost_message(str(error))):
        error = error.__cause__
    text = str(error)
    if "safe_mode" in text:
        return _LAMBDA
    sentence = " ".join(_with_short_names(innermost_message(text)).split())
    # A message may quote the file, which anyone may have written.
    return printable(shortened(sentence, _MAX_LENGTH)).rstrip(".") or type(error).__name__


def why_not_loaded(error: BaseException) -> str:
    """As `describe_error`, for an error of loading a model; what is not part of Keras has to be given."""
    sentence = describe_error(error)
    if found := _UNKNOWN.match(sentence):
        name = found["name"]
        return (
            f"the {found['kind']} '{name}' is not part of Keras 3; if it is your own, give it as "
            f"custom_objects={{'{name}': {name}}}"
        )
    return sentence


def innermost_message(text: str) -> str:
    """The message of the last error that a message reports, without what follows its sentences."""
    text, before = re.sub(r"\x1b\[\d*m", "", text), None
    while text != before:
        before = text
        for mark in _BEFORE_CAUSE:
            text = text.rpartition(mark)[2].strip() if mark in text else text
        text = text[2:-2] if text[:2] == text[-2:] == "''" else text
        for pattern in (_CALLING, _IN_USER_CODE, _WITHIN_A_GRAPH):
            found = pattern.match(text)
            text = found[1] if found else text
    text = re.sub(r"^\s*\{\{function_node \S+\}\}\s*", "", text).strip()
    found = _AFTER_SENTENCE.search(text)
    return (text[: found.start()] if found else text).removesuffix(" name:")


def class_name(kind: type) -> str:
    """The name of a class as people know it: of Keras only its own, of others with the module."""
    known = kind.__module__.partition(".")[0] in ("keras", "builtins")
    return kind.__qualname__ if known else f"{kind.__module__}.{kind.__qualname__}"


def _with_short_names(text: str) -> str:
    """The text with `Adam` for `<keras.src.optimizers.adam.Adam object at 0x…>` and 'adam_3'."""
    text = _VARIABLE.sub(r"\1", text)
    text = _REPRESENTED.sub(lambda found: (found[1] or found[2]).rpartition(".")[2], text)
    text = _KERAS_PATH.sub(r"\1", text)
    return _OPTIMIZER.sub(lambda found: _optimizers().get(_plain(found[1]), found[0]), text)


@functools.cache
def _optimizers() -> dict[str, str]:
    """The names of Keras' optimizers by their names in lower case."""
    kinds = [value for value in vars(keras.optimizers).values() if isinstance(value, type)]
    return {_plain(kind.__name__): kind.__name__ for kind in kinds}


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
