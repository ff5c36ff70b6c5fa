"""Builds, with the layers of Keras 3, what files of Keras 2 describe."""
