"""Describes the errors of Keras in one sentence."""

import re

_MAX_LENGTH = 400


def describe_error(error: Exception) -> str:
    """The sentence of Keras' message that says what is wrong, without a full stop."""
    text = str(error)
    if "safe_mode" in text:
        return "it holds a Python lambda, which could only be rebuilt by running code from its configuration"
    lines = [line.strip() for line in text.partition("Exception encountered:")[2].splitlines()]
    lines += [line.strip() for line in text.splitlines()]
    lines = [re.sub(r"\x1b\[\d*m", "", line) for line in lines if line] + [type(error).__name__]
    # Keras wraps a layer's error in a report, whose first line only names the layer.
    first = next(line for line in lines if not line.startswith("Exception encountered when calling"))
    first = first.partition(" Full object config")[0].partition(" using config=")[0]
    first = first if len(first) <= _MAX_LENGTH else f"{first[:_MAX_LENGTH]}…"
    first = "".join(c if c.isprintable() else repr(c)[1:-1] for c in first)  # it may quote the file
    return first.rstrip(".")
