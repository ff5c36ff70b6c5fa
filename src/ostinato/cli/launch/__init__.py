"""Several processes that train together on this machine."""
