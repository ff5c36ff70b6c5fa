"""Reading the models that Keras 2 and 3 wrote, in files that may come from anyone."""
