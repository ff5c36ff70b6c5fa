"""Embeddings that begin with pretrained vectors."""

import numpy as np
import pytest

import ostinato
from ostinato.errors import ConfigError
from ostinato.training.events import Started

TEXTS = [("Good fine film", "yes"), ("bad poor film", "no")] * 12


def trained(folder, vectors, *, choose=False, on_event=None, **settings):
    (folder / "vectors.txt").write_text(vectors)
    network = {"encoder": "word", "units": 4, "batch": 8, "vectors": str(folder / "vectors.txt")} | settings
    return ostinato.train(
        ostinato.ClassifierConfig(**network),
        TEXTS,
        training=ostinato.TrainingConfig(steps=1, learning_rate=1e-9),
        choose=choose,
        on_event=on_event,
        out=folder / "run",
    )


def test_words_begin_with_their_vectors_and_a_sentence_counts_them(tmp_path):
    told = []
    run = trained(tmp_path, "good 1 2\nfilm 3 4\nzebra 5 6\n", embedding=2, on_event=told.append)
    words = ostinato.load(run.directory.path).directory.vocabulary["encoder"]["words"]
    rows = run.model.embedding.get_weights()[0][1:]
    place = {word: 1 + number for number, word in enumerate(words)}
    np.testing.assert_allclose(rows[place[" Good"]], [1, 2], atol=1e-4)
    np.testing.assert_allclose(rows[place[" film"]], [3, 4], atol=1e-4)
    assert np.abs(rows[place[" bad"]]).max() < 0.1
    (started,) = (event for event in told if isinstance(event, Started))
    assert any(note.endswith(f"has the vectors of 2 of {1 + len(words)} tokens") for note in started.notes)


def test_words_that_are_spelt_have_no_vector_of_the_file(tmp_path):
    run = trained(tmp_path, "good 1 2\nfilm 3 4\n", embedding=2, encoder="word_bpe", vocabulary_size=259)
    words = run.directory.vocabulary["encoder"]["words"]
    assert " film" in words
    assert " poor" not in words
    rows = run.model.embedding.get_weights()[0][-len(words) :]
    np.testing.assert_allclose(rows[words.index(" film")], [3, 4], atol=1e-4)
    assert run.predict(["a film, unheard of"])[0].label in ("yes", "no")


def test_an_embedding_of_another_size_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match=r"embedding.* must be 2, the size of the vectors of .*, got 64"):
        trained(tmp_path, "good 1 2\n")
    assert not (tmp_path / "run").exists()


def test_a_size_that_was_not_given_is_that_of_the_vectors(tmp_path):
    run = trained(tmp_path, "good 1 2 3\n", choose=True)
    assert run.directory.task_config["embedding"] == 3


def test_tokens_that_are_no_words_are_refused():
    with pytest.raises(
        ConfigError, match="vectors are of words; encoder must be word, word_bpe or auto, got 'char'"
    ):
        ostinato.ClassifierConfig(vectors="glove.txt", encoder="char")
