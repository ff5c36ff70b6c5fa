"""From a network's outputs to loss, figures and answers, one file for each kind of output."""
