"""From a source to batches: corpora, encoders, the cache of tokens, and windows over them.

Nothing in this folder imports TensorFlow.
"""
