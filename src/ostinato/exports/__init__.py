"""Trained networks for other programs; `ostinato.export` is all that users need."""
