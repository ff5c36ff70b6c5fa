"""From a source to batches: sources, encoders, the cache, examples and windows, without TensorFlow."""
