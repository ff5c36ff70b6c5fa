"""What moved a classifier's decision: contributions that add up, word by word, and their page."""

import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.data.store.encoded_texts import encode_text
from ostinato.errors import ConfigError
from ostinato.tasks.classifier import ClassifierConfig, attribution
from ostinato.tasks.classifier.attribution import integrated_gradients, words_of
from ostinato.tasks.classifier.attribution_page import page
from ostinato.tasks.classifier.padding import padded_texts
from ostinato.tasks.classifier.vocabulary import ClassifierVocabulary
from ostinato.training.config import TrainingConfig

from ...ready import Ready
from ...tiny import made_once
from ...variants import one_each

FILLING = ("the film was seen today", "a story of two towns", "it runs for an hour and more", "so it goes")
BINARY = [
    (f"{text} {cause}", label)
    for _ in range(8)
    for text in FILLING
    for cause, label in (("great", "good"), ("awful", "bad"))
]
QUEUES = [
    (f"{text} {cause}", label)
    for _ in range(8)
    for text in FILLING
    for cause, label in (("invoice", "bill"), ("password", "login"), ("weather", "other"))
]
TAGGED = [
    (f"{text} {cause}", tags)
    for _ in range(8)
    for text in FILLING
    for cause, tags in (("goal", "sport"), ("vote", "politics"), ("goal vote", "politics|sport"))
]
SETS = {"binary": (BINARY, {}), "classes": (QUEUES, {}), "tags": (TAGGED, {"label_separator": "|"})}


def prepared(source=BINARY, **changes) -> Ready:
    return Ready(ClassifierConfig(**({"units": 5, "embedding": 4} | changes)), source)


def attributions(ready, texts, **options):
    """Those of a network whose weights are drawn at random."""
    return list(ready.use(ready.drawn(0.7)).attributions(texts, **options))


def tokens_of(config, words, text):
    """The ids of a text as the network reads them, shape (time,)."""
    ids = encode_text(words.encoder, text)
    return padded_texts(config, words.max_tokens, [ids], len(ids))[0][0]


def is_complete(found, part=0.01) -> bool:
    return found.adds_up and found.gap <= part * abs(found.score - found.baseline)


# On trained networks.


@pytest.fixture(scope="module", params=SETS)
def trained(request, tmp_path_factory):
    """The kind of labels, and a run that has learned to tell them by single words."""
    source, changes = SETS[request.param]
    masked = request.param != "classes"
    config = ClassifierConfig(units=8, embedding=6, batch=16, masked=masked, **changes)
    training = TrainingConfig(epochs=12, learning_rate=0.03)

    def make(place):
        ostinato.train(config, source, training=training, out=place / "run")

    place = made_once(tmp_path_factory, f"classifier of {request.param}", make)
    return request.param, ostinato.load(place / "run")


def test_contributions_add_up_to_what_the_text_has_over_the_baseline(trained):
    kind, run = trained
    for found in run.attribute([text for text, _ in SETS[kind][0][:9]]):
        assert abs(found.score - found.baseline) > 0.5
        assert is_complete(found)


def test_the_words_that_a_label_follows_from_contribute_most(trained):
    kind, run = trained
    for text, label in SETS[kind][0][:6]:
        (found,) = run.attribute([text])
        assert found.prediction.label == label
        assert found.prediction == run.predict([text])[0]
        causes = set(text.split()) - set(" ".join(FILLING).split())
        order = sorted(found.contributions, key=lambda each: -each[1])
        assert {word for word, _ in order[: len(causes)]} == causes


def test_the_score_is_the_logit_of_the_decision(trained):
    kind, run = trained
    text, _ = SETS[kind][0][2]
    words = ClassifierVocabulary.from_json(run.task.config, run.directory.vocabulary)
    (found,) = run.attribute([text])
    p = found.prediction.probabilities
    chosen = found.prediction.label.split("|")
    odds = [np.log(p[name] / (1 - p[name])) for name in chosen]
    if kind == "classes":
        logits = run.model(tokens_of(run.task.config, words, text)[np.newaxis])[0].numpy()
        odds = [logits[words.labels.names.index(chosen[0])]]
    assert found.score == pytest.approx(sum(odds), abs=1e-3)
    assert found.towards == found.prediction.label


# On networks with weights at random.


NETWORKS = (("gru", "last", True), ("lstm", "mean", False), ("rnn", "max", True), ("gru", "attention", False))


@pytest.mark.parametrize(("network", "masked"), one_each(NETWORKS, [True, False]))
def test_contributions_add_up_whatever_the_network(network, masked):
    cell, pooling, bidirectional = network
    ready = prepared(
        cell=cell, pooling=pooling, bidirectional=bidirectional, masked=masked, units=(5, 4), max_tokens=11
    )
    for found in attributions(ready, ["a great film", BINARY[0][0], BINARY[4][0]]):
        assert is_complete(found, part=0.02)


def test_each_contribution_is_the_integral_of_differences_of_scores():
    ready = prepared()
    model = ready.drawn(0.7)
    tokens = tokens_of(ready.config, ready.data.words, "so it goes great")
    vectors = model.embedding(tokens[np.newaxis]).numpy()
    step, points = 0.01, (np.arange(40) + 0.5) / 40
    expected = []
    for place in range(len(tokens)):
        nudge = np.zeros_like(vectors)
        nudge[:, place] = step * vectors[:, place]
        up, down = (
            model.decide(tf.constant(points[:, None, None] * vectors + s * nudge, tf.float32))
            for s in (1, -1)
        )
        expected.append(float(np.mean(up - down)) / (2 * step))
    each, baseline, score = integrated_gradients(model, tokens, np.ones(1, np.float32))
    np.testing.assert_allclose(each, expected, atol=2e-3)
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(
        [baseline, score], model.decide(np.stack([0, 1])[:, None, None] * vectors)[:, 0], rtol=1e-4
    )


def test_where_the_score_changes_abruptly_the_way_is_cut_finer():
    ready = prepared(cell="rnn")
    model = ready.drawn(3.0)
    tokens = tokens_of(ready.config, ready.data.words, "so it goes great film was seen")
    each, _, _ = integrated_gradients(model, tokens, np.ones(1, np.float32))
    fine, _, _ = integrated_gradients(model, tokens, np.ones(1, np.float32), steps=4096)
    np.testing.assert_allclose(each, fine, atol=0.01 * np.abs(fine).max())


def leaping(ready):
    """A bistable model: far into a text its state is about 1 or -1, and it flips near 0.37 of the way."""
    model = ready.build()
    values = (1.0, 1.0, 3.0, -0.37, 3.0, 0.0)  # embedding, kernel, recurrent kernel, bias, and the output's
    for weight, value in zip(model.trainable_variables, values, strict=True):
        weight.assign(tf.fill(weight.shape, value))
    return model


def test_what_no_gradient_tells_is_given_to_no_word_and_said():
    ready = prepared(cell="rnn", units=1, embedding=1, max_tokens=60)
    (found,) = ready.use(leaping(ready)).attributions(["great " * 60])
    assert found.score - found.baseline > 5
    assert not found.adds_up
    assert found.gap > 4
    assert sum(abs(contribution) for _, contribution in found.contributions) < 1.5
    assert "could not be told to come from any word" in page([found], "leap")


def test_padding_that_is_read_contributes_nothing():
    ready = prepared(masked=False, max_tokens=9)
    tokens = tokens_of(ready.config, ready.data.words, "so great")
    each, _, _ = integrated_gradients(ready.drawn(0.7), tokens, np.ones(1, np.float32))
    assert tokens[:7].max() == 0
    assert not each[:7].any()
    assert each[7:].all()


def test_the_first_of_two_labels_is_attributed_with_its_own_sign():
    ready = prepared()
    model = ready.drawn(0.7)
    use = ready.use(model)
    one = next(use.attributions(["so great"]))
    model.output_layer.set_weights([-weights for weights in model.output_layer.get_weights()])
    other = next(use.attributions(["so great"]))
    assert {one.towards, other.towards} == {"good", "bad"}
    assert one.score > 0
    for same in ("score", "baseline", "contributions"):
        assert getattr(other, same) == getattr(one, same)


def test_where_no_label_is_chosen_the_likeliest_is_attributed():
    ready = prepared(TAGGED, label_separator="|")
    model = ready.drawn(0.7)
    weights, biases = model.output_layer.get_weights()
    model.output_layer.set_weights([weights, biases - 20])
    (found,) = ready.use(model).attributions(["goal"])
    likely = found.prediction.probabilities
    assert found.prediction.label == ""
    assert found.towards == max(likely, key=likely.get)
    assert found.score == pytest.approx(np.log(likely[found.towards]), abs=1e-3)


def test_the_function_is_traced_once_for_texts_of_every_length():
    ready = prepared()
    model = ready.drawn(0.7)
    use = ready.use(model)
    list(use.attributions(["great", "so it goes " * 9, "a great film"], steps=5))
    list(use.attributions(["awful film"], steps=7))
    assert attribution._path(model).experimental_get_tracing_count() == 1


# Words.


@pytest.mark.parametrize("encoder", ["word", "char", "byte", "bpe", "word_bpe"])
@pytest.mark.parametrize("normalize", ["none", "letters"])
@pytest.mark.parametrize(
    "text",
    ["so it goes", "  Great, so\n\n great!  the  film's\ttale \n", "größer ☃ film", "unseen"],
    ids=["plain", "spaced", "accents", "unseen"],
)
def test_the_words_join_to_the_text_that_was_read(encoder, normalize, text):
    ready = prepared(encoder=encoder, normalize=normalize, max_tokens=200, vocabulary_size=300)
    ids = encode_text(ready.data.words.encoder, text)
    words, word_of = words_of(ready.data.words.encoder, text, len(ids))
    read = text
    if normalize == "letters":
        read = "".join(c if c.isascii() and c.isalpha() else " " for c in text.lower())
    if encoder == "char":
        read = "".join(c for c in read if c in ready.data.words.encoder.alphabet)
    assert words == read.split()
    assert sorted(set(word_of)) == list(range(len(words)))
    assert (np.diff(word_of) >= 0).all()


@pytest.mark.parametrize("encoder", ["word", "char", "byte", "bpe", "word_bpe"])
def test_every_token_belongs_to_its_own_word(encoder):
    ready = prepared(
        [(f"{text}, so.", label) for text, label in BINARY], encoder=encoder, vocabulary_size=300
    )
    text = "so   it goes, great film. "
    ids = encode_text(ready.data.words.encoder, text)
    words, word_of = words_of(ready.data.words.encoder, text, len(ids))
    assert words == ["so", "it", "goes,", "great", "film."]
    decoded = [ready.data.words.encoder.decode(ids[word_of == place]) for place in range(len(words))]
    assert [piece.replace("<unk>", "").strip() for piece in decoded] == words


@pytest.mark.parametrize(("truncation", "read"), [("pre", ["great", "film"]), ("post", ["so", "it"])])
def test_of_a_cut_text_only_what_was_read_is_attributed(truncation, read):
    ready = prepared(max_tokens=2, truncation=truncation)
    (found,) = attributions(ready, ["so it goes great film"])
    assert found.prediction.cut
    assert [word for word, _ in found.contributions] == read
    assert is_complete(found)


def test_a_text_with_nothing_to_read_has_no_contributions():
    ready = prepared()
    empty, full = attributions(ready, [" \n", "great"])
    assert (empty.contributions, empty.gap, empty.strengths) == ((), 0.0, [])
    assert empty.prediction.empty
    assert len(full.contributions) == 1


def test_text_that_is_not_unicode_can_be_shown():
    ready = prepared(encoder="byte")
    (found,) = attributions(ready, ["caf\udce9 great"], steps=2)
    assert [word for word, _ in found.contributions] == ["caf\N{REPLACEMENT CHARACTER}", "great"]


def test_what_cannot_be_attributed_is_refused():
    ready = prepared()
    with pytest.raises(ConfigError, match="texts must be a list of texts, got a string"):
        attributions(ready, "great")
    with pytest.raises(ConfigError, match="steps must be at least 1, got 0"):
        attributions(ready, ["great"], steps=0)
