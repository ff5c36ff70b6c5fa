"""Recurrent neural networks for TensorFlow: readable recurrences, Keras layers and whole sequence tasks."""

import os as _os

__version__ = "0.1.0"

# The layers are Keras layers on the TensorFlow backend; Keras reads its backend when it is first imported.
_os.environ.setdefault("KERAS_BACKEND", "tensorflow")
