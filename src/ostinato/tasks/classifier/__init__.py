"""Text classification: one label for a text, or several, or a yes or no.

    config.py            the settings
    data.py              tables, parts and batches; vocabulary.py, what is kept of them; padding.py
    network.py           the keras.Model
    task.py              loss and metrics
    fitting.py           the rule for default settings
    labels.py            the labels; decision.py, how scores become losses and probabilities
    predictions.py       what is said about a text
    answers.py           the use of a trained network: all of the following
    neighbors.py         which words the embedding has learned to be alike
    thresholds.py        from which probability on each of several labels is predicted
    metrics.py           macro F1, ROC-AUC, calibration error
    evaluation.py        what an evaluation finds: figures, confusion matrix, mistakes
    pictures.py          the same, drawn
    attribution.py       how each word moved a decision; attribution_page.py shows it
    output.py            what the command line prints

Source: Pedersen, TensorFlow Tutorial #20 (natural language processing); the recipe `tutorial20` is its
network.
"""

import importlib
from typing import TYPE_CHECKING

from ostinato.tasks.base import TaskSpec
from ostinato.tasks.classifier import output
from ostinato.tasks.classifier.config import ClassifierConfig
from ostinato.tasks.classifier.data import open_source

if TYPE_CHECKING:
    from ostinato.tasks.classifier.network import RecurrentClassifier
    from ostinato.tasks.classifier.task import Classifier

__all__ = ["SPEC", "Classifier", "ClassifierConfig", "RecurrentClassifier"]

SPEC = TaskSpec(
    command="classify",
    config=ClassifierConfig,
    task="ostinato.tasks.classifier.task:Classifier",
    source=open_source,
    rule="ostinato.tasks.classifier.fitting:fit",
    output={
        "predict": output.predict,
        "neighbors": output.neighbors,
        "evaluate": output.evaluate,
        "info": output.info,
    },
)


def __getattr__(name: str) -> object:
    # Settings are checked before TensorFlow, which takes seconds to import, is needed.
    modules = {"Classifier": "task", "RecurrentClassifier": "network"}
    if name in modules:
        return getattr(importlib.import_module(f"ostinato.tasks.classifier.{modules[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
