"""Tiny tables of texts, and a classifier that has read one of them."""

from ostinato.tasks.classifier import ClassifierConfig

from ...ready import Ready

GOOD = ("a joy to watch", "great fun", "warm and funny from start to end", "great", "a great warm film")
BAD = (
    "dull",
    "a waste of time",
    "slow dull and far too long for what it is",
    "awful fun",
    "a dull awful film",
)
PAIRS = [
    (f"{text} {n}", label) for n in range(6) for text, label in zip(GOOD + BAD, "+++++-----", strict=True)
]
QUEUES = [
    (f"{text} {n}", q) for n in range(8) for text, q in zip(GOOD, ("bill", "login", "other"), strict=False)
]
TAGGED = [
    (f"{text} {n}", tags) for n in range(8) for text, tags in zip(BAD, ("a", "b", "a|b", "b|c"), strict=False)
]
SETS = {"binary": (PAIRS, {}), "classes": (QUEUES, {}), "tags": (TAGGED, {"label_separator": "|"})}


def prepared(source=PAIRS, **changes) -> Ready:
    defaults = {"units": 5, "embedding": 4, "batch": 7, "validation_fraction": 0.2}
    return Ready(ClassifierConfig(**(defaults | changes)), source)
