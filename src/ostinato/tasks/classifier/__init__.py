"""Text classification: one label for a text, or several, or a yes or no.

    config.py       the settings
    network.py      the keras.Model
    task.py         data, loss, metrics and use
    predictions.py  from scores to labels: what is said about a text
    neighbors.py    which words the embedding has learned to be alike
    metrics.py      macro F1, ROC-AUC, calibration error
    judgement.py    what an evaluation found: figures, confusion matrix, mistakes
    pictures.py     the same, drawn
    explanation.py  how each word moved a decision, and a page that shows it

Source: Pedersen, TensorFlow Tutorial #20 (natural language processing); the recipe `tutorial20` is its
network.
"""

from typing import TYPE_CHECKING, Any

from ostinato.tasks.classifier.config import ClassifierConfig

if TYPE_CHECKING:
    from ostinato.tasks.classifier.network import RecurrentClassifier
    from ostinato.tasks.classifier.task import Classifier

__all__ = ["Classifier", "ClassifierConfig", "RecurrentClassifier"]


def __getattr__(name: str) -> Any:
    # Settings are checked before TensorFlow, which takes seconds to import, is needed.
    if name == "Classifier":
        from ostinato.tasks.classifier.task import Classifier

        return Classifier
    if name == "RecurrentClassifier":
        from ostinato.tasks.classifier.network import RecurrentClassifier

        return RecurrentClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
