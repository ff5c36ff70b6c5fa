"""Existing Keras models on ostinato's layers: converted, compared, timed, and converted back."""
