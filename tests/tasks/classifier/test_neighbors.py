"""Which words the embedding holds to be alike."""

import numpy as np
import pytest

from ostinato.errors import EncodingError

from .reviews import prepared


def test_neighbors_are_by_cosine():
    ready = prepared()
    model = ready.drawn()
    nearest, farthest = ready.use(model).neighbors("great", 3)
    symbols = ready.data.words.encoder.symbols
    vectors = model.embedding.embeddings.numpy()[1:]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors[symbols.index(" great")]
    best = max((cosine, name) for cosine, name in zip(cosines, symbols, strict=True) if name != " great")
    assert nearest[0] == (best[1].strip(), pytest.approx(best[0], abs=1e-5))
    assert [cosine for _, cosine in nearest] == sorted((cosine for _, cosine in nearest), reverse=True)
    assert farthest[0][1] == pytest.approx(cosines.min(), abs=1e-5)
    with pytest.raises(EncodingError, match="'aardvark' is no token of this run's vocabulary"):
        ready.use(model).neighbors("aardvark")
