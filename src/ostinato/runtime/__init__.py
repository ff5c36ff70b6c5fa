"""Trained models without TensorFlow at each call: programs of plain stages, on the engine's C interface.

`program` says what a model computes, `reading` takes that from a Keras model, `library` calls the engine,
`execution` runs a program on NumPy arrays, and `predict` is what users call.
"""
