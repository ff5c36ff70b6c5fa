"""The rule for the default settings of a language model; see `ostinato.tasks.fitting` and docs/recipes.md.

Wide networks learn more from each token and need more time for it; narrow ones read more tokens. At the
width below the network reads about twice as many tokens in the budget as it has weights. The more often it
reads the text, the more it has to be kept from knowing it by heart.
"""

from __future__ import annotations

import math

from ostinato.tasks.fitting import Facts, Fitted, between, time_of
from ostinato.tasks.language_model.config import LanguageModelConfig
from ostinato.tasks.language_model.data import LanguageData

TOKENS_A_WEIGHT = 2.0
"""Tokens to read for each weight of the recurrent layers."""
WEIGHTS_A_TOKEN = 16.0
"""Of a short text, the most weights of the recurrent layers for each of its tokens."""
NARROWEST, WIDEST, MULTIPLE = 64, 2048, 64
RATES = {512: 8e-3, 768: 5.5e-3, 1024: 4e-3, 2048: 2e-3}
"""The highest learning rate by width."""
OUTPUT_DROPOUT = {2.7: 0.1, 4.0: 0.3, 6.0: 0.5, 20.0: 0.6}
"""The dropout of outputs by the times that the text is read."""
WEIGHT_DECAY = {4.0: 0.0, 6.0: 0.05, 20.0: 0.1}
"""The weight decay by the times that the text is read."""
MANY_SYMBOLS = 512
"""From so many tokens in the vocabulary on, tokens have an embedding, which the output layer shares."""
MANY_EPOCHS, PATIENCE, EVALUATIONS = 50.0, 8, 20
_SHARE_OF_STEPS = 0.85  # of the time; the rest is tracing, evaluations and checkpoints


def fit(config: LanguageModelConfig, data: LanguageData, facts: Facts) -> Fitted:
    """The settings for a text and a budget."""
    tokens, symbols = data.tokens, data.encoder.size
    depth = len(config.units)
    embeds = symbols > MANY_SYMBOLS and {"embedding", "tied"} <= {*facts.free}

    def read(units: int) -> float:
        """Tokens that a network of this width reads in the budget."""
        if facts.speed is None or facts.seconds is None:
            return (facts.epochs or 1.0) * tokens
        output = 1.0 + symbols / (4 * units)  # its product beside the recurrent one
        return _SHARE_OF_STEPS * facts.seconds * facts.speed / (time_of(units) * depth * output)

    units = config.units[-1]
    if "units" in facts.free:
        units = max(
            (each for each in range(NARROWEST, WIDEST + 1, MULTIPLE) if _affords(each, read(each), tokens)),
            default=NARROWEST,
        )
    epochs = read(units) / tokens
    task = {
        "units": (units,) * depth,
        "output_dropout": round(between(OUTPUT_DROPOUT, epochs), 2),
        "variational": True,
    }
    if embeds:
        task |= {"embedding": units, "tied": True}
    schedule = {"learning_rate": _rounded(between(RATES, units)), "final_factor": 0.02, "averaging": 0.05}
    if decay := between(WEIGHT_DECAY, epochs):
        schedule |= {"optimizer": "adamw", "weight_decay": _rounded(decay)}
    if epochs > MANY_EPOCHS and data.part("validation") is not None:
        schedule |= {"evaluations": EVALUATIONS, "patience": PATIENCE}
    times = f"{epochs:.0f}" if epochs >= 10 else f"{epochs:.1f}"
    because = f"for {tokens:,} tokens that are read about {times} times"
    if facts.speed is not None:
        because += f" (this machine learns {facts.speed:,.0f} time steps a second at 256 units)"
    return Fitted(facts.only_free(task), facts.only_free(schedule), because)


def _affords(units: int, read: float, tokens: int) -> bool:
    """Whether there is enough time, and enough text, for this width."""
    weights = 4 * units * units
    return read >= TOKENS_A_WEIGHT * weights and weights <= WEIGHTS_A_TOKEN * tokens


def _rounded(value: float) -> float:
    """A number with two digits."""
    digits = 1 - math.floor(math.log10(value))
    return round(value, digits)
