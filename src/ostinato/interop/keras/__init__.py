"""Reads models that Keras 2 and 3 saved, from files that need not be trusted."""
