"""Texts cut and padded to one length."""

import numpy as np
import pytest

from ostinato.tasks.classifier import ClassifierConfig
from ostinato.tasks.classifier.padding import padded_texts


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncation", ["pre", "post"])
def test_longer_texts_are_cut_and_shorter_ones_padded_where_asked(padding, truncation):
    config = ClassifierConfig(padding=padding, truncation=truncation, masked=False)
    tokens, lengths = padded_texts(config, 3, [np.array([4, 5, 6, 7]), np.array([8]), np.array([], int)], 3)
    assert tokens.tolist() == [
        [6, 7, 8] if truncation == "pre" else [5, 6, 7],
        [0, 0, 9] if padding == "pre" else [9, 0, 0],
        [0, 0, 0],
    ]
    assert lengths.tolist() == [3, 1, 0]
