"""Translators that are trained on a few sentences, and what they translate, alone and among others."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.data.examples.sentences import BOS, EOS, PAD, UNK
from ostinato.decoding.beam import Beam
from ostinato.errors import ConfigError, RunError
from ostinato.runs import checkpoints
from ostinato.runs.directory import open_run
from ostinato.tasks.translator import TranslatorConfig
from ostinato.tasks.translator.data import FREE_TOKENS, TranslatorVocabulary
from ostinato.training.events import StepDone

from ...ready import Ready
from ...tiny import made_once
from .numbers import prepared

LINES = """
Go.|Va.
Run!|Cours !
Stop!|Arrête !
Help!|À l'aide !
I see.|Je vois.
I try.|J'essaye.
I won!|J'ai gagné !
Oh no!|Oh non !
Attack!|Attaquez !
Get up.|Lève-toi.
Hold on.|Attends un peu.
I agree.|Je suis d'accord.
I'm home.|Je suis à la maison.
I'm lost.|Je suis perdu.
I'm cold.|J'ai froid.
I'm hungry.|J'ai faim.
I love you.|Je t'aime.
We won.|Nous avons gagné.
We are lost.|Nous sommes perdus.
He is old.|Il est vieux.
She is old.|Elle est vieille.
He is rich.|Il est riche.
She is rich.|Elle est riche.
He runs.|Il court.
She runs.|Elle court.
They won.|Ils ont gagné.
They are old.|Ils sont vieux.
You are late.|Tu es en retard.
You are right.|Tu as raison.
The cat sleeps.|Le chat dort.
The dog sleeps.|Le chien dort.
The cat is black.|Le chat est noir.
The dog is black.|Le chien est noir.
The house is big.|La maison est grande.
The door is open.|La porte est ouverte.
I see the sea.|Je vois la mer.
I see the door.|Je vois la porte.
He sees the cat.|Il voit le chat.
She sees the dog.|Elle voit le chien.
It is raining.|Il pleut.
It is late.|Il est tard.
Is it far?|Est-ce loin ?
"""
PAIRS = [tuple(line.split("|")) for line in LINES.strip().splitlines()]
SOURCES = [source for source, _ in PAIRS]
WORDS = {"source_encoder": "word", "target_encoder": "word"}


def train(out, source=PAIRS, *, epochs=1, on_event=None, init_from=None, **changes):
    settings = {"units": 32, "embedding": 32, "batch": 8, "lowercase": "source", **WORDS}
    training = ostinato.TrainingConfig(epochs=epochs, learning_rate=0.02, evaluations=1)
    config = TranslatorConfig(**(settings | changes))
    return ostinato.train(config, source, training=training, out=out, on_event=on_event, init_from=init_from)


def write(path, pairs):
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs))
    return path


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run that has learned most of the sentences, and has never seen those of two other parts."""
    parts = {"validation_fraction": 0.1, "test_fraction": 0.2}

    def make(place):
        train(place / "run", write(place / "pairs.tsv", PAIRS), epochs=60, **parts)

    return ostinato.load(made_once(tmp_path_factory, "a translator that learned", make) / "run")


def with_data(run):
    """The run's task with its pairs, and those of each part."""
    ready = Ready(run.task.config, run.directory.source["description"])
    parts = ("train", "validation", "test")
    return ready, {part: [PAIRS[n] for n in ready.data.examples.part(part).tolist()] for part in parts}


def untrained(source=PAIRS, **changes):
    """A task that has read pairs, and its model with every weight drawn from a normal distribution."""
    settings = {"units": 5, "embedding": 4, "validation_fraction": 0.0, **WORDS}
    ready = Ready(TranslatorConfig(**(settings | changes)), source)
    return ready, ready.drawn()


def sentences_of(run):
    """How the sentences of both sides of a run become ids."""
    words = TranslatorVocabulary.from_json(run.directory.vocabulary)
    return words.source, words.target


# Training.


def test_a_training_learns_to_translate_its_own_sentences(learned):
    _, parts = with_data(learned)
    translations = learned.predict([source for source, _ in parts["train"]])
    right = [found.text == target for found, (_, target) in zip(translations, parts["train"], strict=True)]
    assert len(right) > len(PAIRS) / 2
    assert np.mean(right) > 0.85


def test_a_joint_vocabulary_learns_with_one_embedding(tmp_path):
    options = {"joint_vocabulary": True, "lowercase": "both", "validation_fraction": 0.0}
    run = train(tmp_path / "run", epochs=35, **options)
    source, target = sentences_of(run)
    assert source == target
    assert run.model.source_embedding is run.model.decoder.embedding
    saved = run.directory.weights().groups["weights"]
    assert [name for name in saved if "embedding" in name] == ["decoder/embedding/embeddings"]
    translations = run.predict(SOURCES)
    right = [found.text == target.lower() for found, (_, target) in zip(translations, PAIRS, strict=True)]
    assert np.mean(right) > 0.85


def test_an_evaluation_is_of_the_test_part_another_or_another_file(learned, tmp_path):
    _, parts = with_data(learned)
    path = learned.directory.path
    figures = ostinato.evaluate(path)
    assert figures["sentences"] == len(parts["test"]) > 3
    of_file = ostinato.evaluate(learned, write(tmp_path / "test.tsv", parts["test"]))
    assert of_file == pytest.approx(figures, rel=1e-4)
    greedy = ostinato.evaluate(learned, split="train", beam=Beam(size=1))
    assert greedy["sentences"] == len(parts["train"])
    assert greedy["bleu"] > 80
    assert greedy["loss"] < figures["loss"]


def test_fine_tuning_starts_from_the_other_runs_weights_and_vocabulary_and_may_grow_more(learned, tmp_path):
    more = [("The cat is old.", "Le chat est vieux."), ("A bird!", "Un oiseau !" + " !" * 70)] * 4
    base, events = str(learned.directory.path), []
    options = {"validation_fraction": 0.0, "max_tokens": 100, "init_from": base}
    tuned = train(tmp_path / "tuned", more, on_event=events.append, **options)
    assert events[0].notes[-1] == f"starting from the weights of {base}, step {learned.step}"
    known, before = tuned.directory.vocabulary, learned.directory.vocabulary
    assert (known["source"], known["target"]) == (before["source"], before["target"])
    assert known["growth"] > before["growth"] == 1.0
    begun = checkpoints.load(tuned.directory.checkpoints, 0).groups["weights"]
    np.testing.assert_equal(begun, learned.directory.weights().groups["weights"])
    with pytest.raises(RunError, match="are another network's"):
        train(tmp_path / "wider", more, units=33, **options)
    assert not (tmp_path / "wider").exists()


def test_a_changed_source_is_refused(tmp_path):
    def stop(event):
        if isinstance(event, StepDone):
            raise InterruptedError

    pairs = write(tmp_path / "pairs.tsv", PAIRS)
    with pytest.raises(InterruptedError):
        train(tmp_path / "run", pairs, on_event=stop, attention="none")
    write(pairs, [*PAIRS[:-1], ("Is it far?", "Est-ce loin?")])
    for use in (ostinato.resume, ostinato.evaluate):
        with pytest.raises(RunError, match="has changed since training began"):
            use(tmp_path / "run")
    assert checkpoints.steps(open_run(tmp_path / "run").checkpoints) == [0]


# Translations.


def test_translations_are_in_order_and_do_not_depend_on_their_company(learned):
    beam = Beam(n_best=2)
    texts = [*SOURCES, "", "The old cat sees the black door.", "xyzzy", *reversed(SOURCES)]
    together = learned.predict(texts, beam=beam)
    assert len(together) == len(texts) > 64  # more than are translated at once
    alone = {text: learned.predict([text], beam=beam)[0] for text in dict.fromkeys(texts)}
    for text, found in zip(texts, together, strict=True):
        expected = alone[text]
        scores = [candidate.score for candidate in expected.candidates]
        assert [candidate.score for candidate in found.candidates] == pytest.approx(scores, abs=1e-4)
        if not scores or scores[0] - scores[1] > 1e-3:
            assert (found.text, found.tokens) == (expected.text, expected.tokens)


def test_a_beam_of_one_is_greedy(learned):
    (source, target), model = sentences_of(learned), learned.model
    for text in (*SOURCES[:3], "The old cat sees the black door."):
        ids = source.encode(text)[np.newaxis]
        memory, state = model.read(tf.constant(ids), tf.constant([ids.shape[1]]))
        written, total = [BOS], 0.0
        while written[-1] != EOS:
            feature, state, _ = model.decoder(tf.constant([written[-1:]]), memory, state)
            logs = tf.nn.log_softmax(model.decoder.scores(feature[0])[0]).numpy()
            best = np.where(np.isin(np.arange(len(logs)), (PAD, BOS, UNK)), -np.inf, logs).argmax()
            written, total = [*written, int(best)], total + logs[best]
        (found,) = learned.predict([text], beam=Beam(size=1, length_penalty=0.0))
        assert found.text == target.decode(written)
        assert found.score == pytest.approx(total, abs=1e-4)


def test_the_best_are_different_the_best_first(learned):
    for found in learned.predict(["The cat is old.", "I see the house."], beam=Beam(n_best=5)):
        assert len({candidate.text for candidate in found.candidates}) == 5
        scores = [candidate.score for candidate in found.candidates]
        assert scores == sorted(scores, reverse=True)
        assert (found.text, found.score) == (found.candidates[0].text, scores[0])


def test_an_empty_text_is_empty_an_unknown_one_is_repeated_and_both_are_flagged(learned):
    empty, blank, unknown, part = learned.predict(["", " \n\t", "Xyzzy  plugh", "The xyzzy sleeps."])
    for nothing in (empty, blank):
        assert (nothing.text, nothing.empty, nothing.unknown, nothing.tokens) == ("", True, False, 0)
    assert (unknown.text, unknown.empty, unknown.unknown, unknown.tokens) == ("Xyzzy  plugh", False, True, 2)
    for flagged in (empty, unknown):
        assert math.isnan(flagged.score)
        assert flagged.candidates == ()
    assert (part.empty, part.unknown, part.cut, part.tokens) == (False, False, False, 4)
    assert part.text
    assert "<unk>" not in part.text


def test_a_text_that_is_too_long_is_cut_and_flagged(learned):
    many = learned.task.config.max_tokens // 4
    beginning = " ".join(["The cat sleeps."] * many)
    long, whole = learned.predict([f"{beginning} I see the door.", beginning])
    assert (long.cut, long.tokens) == (True, 4 * many + 5)
    assert (whole.cut, whole.tokens) == (False, 4 * many)
    assert (long.text, long.score) == (whole.text, pytest.approx(whole.score, abs=1e-4))


def test_a_translation_that_does_not_end_is_as_long_as_any_in_training():
    pairs = [("one two", "x" * (FREE_TOKENS + 5)), ("two three four", "y"), ("one", "z")]
    ready, model = untrained(pairs, target_encoder="char")
    assert ready.data.words.growth == 2.5
    bias = model.decoder.output_layer.bias
    bias.assign(tf.tensor_scatter_nd_update(bias.value, [[EOS]], [-100.0]))
    kept = ready.task.use(model, json.loads(json.dumps(ready.data.vocabulary)))
    texts = [source for source, _ in pairs]
    for found in [*ready.use(model).predictions(texts), *kept.predictions(texts, beam=Beam(size=1))]:
        assert len(found.text) == math.ceil(2.5 * found.tokens) + FREE_TOKENS


def test_the_case_of_a_source_that_is_made_lower_case_does_not_matter(learned):
    capital, lower = learned.predict(["I AM LOST.", "i am lost."])
    assert capital == lower
    (found,) = learned.predict(["she is rich."])
    assert found.text[0].isupper()


def test_a_vocabulary_that_was_kept_translates_the_same_without_data(learned):
    ready, _ = with_data(learned)
    chosen = {"penalties": learned.directory.vocabulary["penalties"]}
    assert learned.directory.vocabulary == json.loads(json.dumps(ready.data.vocabulary)) | chosen
    texts = [*SOURCES[:9], "", "xyzzy"]
    assert learned.predict(texts) == list(ready.use(learned.model).predictions(texts))


def test_what_cannot_be_translated_is_refused(learned):
    assert learned.predict([]) == []
    with pytest.raises(
        ConfigError, match=r"texts must be a list of texts, got a string; give \[text\] for one"
    ):
        learned.predict("Go.")
    with pytest.raises(ConfigError, match="one of the texts is a int, not a string"):
        learned.predict(["Go.", 3])
    with pytest.raises(ConfigError, match="n_best must be 1 to 2, the beam size, got 3"):
        learned.predict(["Go."], beam=Beam(size=2, n_best=3))


# Alignments.


def test_an_alignment_is_where_the_decoder_looks_in_the_source_and_nowhere_else(learned):
    source, target = "The cat is black.", "Le chat est noir."
    found, sides = learned.align(source, target), sentences_of(learned)
    assert found.source == ("the", "cat", "is", "black", ".")
    assert found.target == ("Le", "chat", "est", "noir", ".", "<eos>")
    assert found.weights.shape == (6, 5)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0, rtol=1e-5)
    assert learned.align(source, "").target == ("<eos>",)
    # The same beside a longer sentence: what looks at padding would look less at the source.
    ids = sides[0].encode(source)
    sources = np.full((2, 9), PAD, np.int32)
    sources[0, :5] = ids
    sources[1] = ids[0]
    targets = np.tile([BOS, *sides[1].encode(target)], (2, 1)).astype(np.int32)
    _, weights = learned.model(tf.constant(sources), tf.constant([5, 9]), tf.constant(targets))
    np.testing.assert_allclose(weights[0, :, :5], found.weights, atol=1e-5)
    assert not weights[0, :, 5:].numpy().any()


def test_what_cannot_be_aligned_is_refused(learned):
    with pytest.raises(ConfigError, match="the sentence is empty"):
        learned.align(" ", "Le chat.")
    ready, model = untrained(attention="none")
    with pytest.raises(ConfigError, match="this translator has no attention"):
        ready.use(model).align("Go.", "Va.")


def test_the_penalties_of_a_search_are_chosen_on_the_validation_part(monkeypatch):
    ready = prepared()
    use = ready.use(ready.drawn())
    asked = []

    def bleu(wanted, written):
        return {(1.4, 0.0): 30.0, (1.4, 0.1): 31.0}.get(asked[-1], 20.0)

    real = type(use).predictions

    def predictions(self, texts, *, beam=None):
        asked.append((beam.length_penalty, beam.coverage_penalty))
        return real(self, texts, beam=beam)

    monkeypatch.setattr("ostinato.tasks.translator.answers.bleu_of", bleu)
    monkeypatch.setattr(type(use), "predictions", predictions)
    vocabulary = use.with_choices(ready.data, "validation")
    assert vocabulary == ready.data.vocabulary | {"penalties": [1.4, 0.1]}
    assert {length for length, _ in asked} == {0.6, 1.0, 1.4, 1.8, 2.4, 3.0}
    assert {coverage for length, coverage in asked if length == 1.4} == {0.0, 0.1, 0.3}
    assert TranslatorVocabulary.from_json(vocabulary).penalties == (1.4, 0.1)


@pytest.mark.parametrize("penalties", [[1.0], [1.0, -1.0], "ab", [1.0, 11.0], [True, 1.0]])
def test_damaged_penalties_are_refused(penalties):
    with pytest.raises(RunError, match="its 'penalties' must be two numbers from 0 to 10"):
        TranslatorVocabulary.from_json(prepared().data.vocabulary | {"penalties": penalties})


def test_a_search_without_options_has_the_chosen_penalties(monkeypatch):
    ready = prepared()
    model = ready.drawn()
    words = ready.data.vocabulary | {"penalties": [0.6, 0.3]}
    use, texts = ready.task.use(model, words), ["one two", "three"]
    beam = Beam(length_penalty=0.6, coverage_penalty=0.3)
    assert list(use.predictions(texts)) == list(use.predictions(texts, beam=beam))
