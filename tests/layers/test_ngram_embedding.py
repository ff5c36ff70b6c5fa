"""Embeddings of n-grams, against sums written out in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.layers.dropout import DropoutKey
from ostinato.layers.ngram_embedding import MOST_ROWS, NGramEmbedding
from ostinato.tasks.translator.config import MOST_NGRAM_ROWS

KEY = DropoutKey(tf.constant(1), tf.constant(2), tf.constant(0))


def built(longest: int, rows: int, rate: float = 0.0) -> NGramEmbedding:
    return NGramEmbedding(longest, rows, 3, rate=rate, seed=0, name="ngrams")


@given(
    tokens=st.lists(st.integers(0, 1_000_000), min_size=1, max_size=7),
    longest=st.integers(2, 5),
    rows=st.sampled_from([1, 7, 1021, MOST_ROWS]),
)
@settings(max_examples=30)
def test_it_sums_the_rows_of_the_ngrams_that_end_at_each_token(tokens, longest, rows):
    layer = built(longest, rows)
    found = layer(tf.constant([tokens, tokens[::-1]], tf.int32)).numpy()
    table = layer.table.embeddings.numpy()
    for row, sentence in enumerate((tokens, tokens[::-1])):
        for place in range(len(sentence)):
            expected = np.zeros(3)
            for length in range(2, longest + 1):
                start = place - length + 1
                hashed = sentence[start] % rows if start >= 0 else 0
                for number, at in enumerate(range(start + 1, place + 1), 2):
                    # Python's integers do not overflow; neither may those of the layer.
                    hashed = (hashed * 31_337 + sentence[at] + number) % rows if at >= 0 else 0
                expected += table[hashed]
            np.testing.assert_allclose(found[row, place], expected, atol=1e-6)


def test_the_setting_has_the_bound_of_the_layer():
    assert MOST_NGRAM_ROWS == MOST_ROWS  # the settings load without TensorFlow, so they state it again
    assert (MOST_ROWS - 1) * 31_337 + 2**20 < 2**31


def test_an_ngram_has_one_row_wherever_it_is_and_few_share_one():
    rows = built(3, MOST_ROWS).rows_of(tf.constant([[5, 6, 7, 5, 6, 7], [9, 9, 5, 6, 7, 9]]))
    assert rows[1][0, 2] == rows[1][0, 5] == rows[1][1, 4]
    assert rows[0][0, 1] != rows[1][0, 1]
    letters = np.stack(np.meshgrid(*[np.arange(2, 30)] * 3), -1).reshape(-1, 3).astype("i4")
    different = len(np.unique(built(3, MOST_ROWS).rows_of(tf.constant(letters))[1][:, 2]))
    assert different > 0.8 * MOST_ROWS * (1 - np.exp(-len(letters) / MOST_ROWS))  # as of drawn numbers


def test_training_leaves_out_some_ngrams_and_scales_up_the_others():
    layer, tokens = built(2, 1021, rate=0.5), tf.ones((50, 8), tf.int32)
    whole, parts = layer(tokens).numpy(), layer(tokens, KEY).numpy()
    left = np.isclose(parts, 0).all(-1)
    assert 0.4 < left.mean() < 0.6
    np.testing.assert_allclose(parts[~left], 2 * whole[~left], rtol=1e-6)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_no_key_means_no_dropout(rate):
    tokens = tf.constant([[3, 4, 5]])
    np.testing.assert_array_equal(built(3, 101, rate)(tokens), built(3, 101)(tokens))
