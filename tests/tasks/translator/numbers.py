"""Numbers in English and in French, and a translator that has read them."""

from ostinato.tasks.translator import TranslatorConfig

from ...ready import Ready

ENGLISH = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
FRENCH = ["zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"]
DIGITS = [[int(digit) for digit in str(number**3)] for number in range(45)]
# The digits of 0 to 85,184, in French from the last to the first.
PAIRS = [(" ".join(ENGLISH[d] for d in ds), " ".join(FRENCH[d] for d in reversed(ds))) for ds in DIGITS]
RATES = ("word_dropout", "embedding_dropout", "dropout", "recurrent_dropout", "output_dropout")


def prepared(source=PAIRS, **changes) -> Ready:
    defaults = {"units": 5, "embedding": 4, "batch": 7, "validation_fraction": 0.2}
    defaults |= {"source_encoder": "word", "target_encoder": "char"}
    return Ready(TranslatorConfig(**(defaults | changes)), source)
