"""Weights of `torch.nn.RNN`, `GRU` and `LSTM`, to and from Keras layers. PyTorch itself is not needed.

A PyTorch module of several layers becomes a list of Keras layers, each in a `keras.layers.Bidirectional` if
the module is bidirectional. The layers of `layers_from_torch` compute its outputs, states and gradients.
A PyTorch layer has these weights, for g gates (the last two only with `bias=True`):

    PyTorch                                     Keras
    weight_ih_l0    (g × units, features)       kernel             (features, g × units)
    weight_hh_l0    (g × units, units)          recurrent_kernel   (units, g × units)
    bias_ih_l0      (g × units,)                bias               (g × units,), their sum;
    bias_hh_l0      (g × units,)                                   GRU: (2, 3 × units), one below the other

`l0` counts the layers; names that end in `_reverse` belong to the backward direction.

- Gates: the RNN has one. The LSTM's have the same order in both, i f g o in PyTorch and i f c o in Keras. The
  GRU's are r z n in PyTorch and z r h in Keras.
- PyTorch's GRU resets after the recurrent product (`reset_after=True`, the default of Keras and ostinato).
- The weights of an RNN do not show whether it has `nonlinearity="tanh"` or `"relu"`.
- Two settings are not in the weights and are therefore lost: `batch_first` (Keras layers are always batch
  first), and the dropout between layers (put `keras.layers.Dropout` between them).
- An LSTM with `proj_size` has no counterpart in Keras.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html, and the pages of `RNN` and `GRU`.
"""

from ostinato.interop.torch.convert import layers_from_torch, load_torch, save_torch, to_torch
from ostinato.interop.torch.state_dict import Source

__all__ = ["Source", "layers_from_torch", "load_torch", "save_torch", "to_torch"]
