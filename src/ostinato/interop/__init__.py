"""Weights from other frameworks, and back, without those frameworks.

- `ostinato.interop.torch`: `torch.nn.RNN`, `GRU` and `LSTM`.
"""

import importlib


def __getattr__(name: str) -> object:
    if name == "torch":  # loaded on first use, since it imports TensorFlow
        return importlib.import_module("ostinato.interop.torch")
    raise AttributeError(f"module 'ostinato.interop' has no attribute {name!r}")
