"""The translator's data, loss, vocabulary and training."""

from itertools import islice

import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.data.examples.sentences import BOS, EOS, PAD
from ostinato.errors import ConfigError, RunError
from ostinato.runs.directory import open_run
from ostinato.tasks.base import Loss, as_figures
from ostinato.tasks.translator import Translator, TranslatorConfig
from ostinato.tasks.translator.translations import FREE_TOKENS
from ostinato.training.events import StepDone

from ...variants import thorough

ENGLISH = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
FRENCH = ["zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"]
DIGITS = [[int(digit) for digit in str(number**3)] for number in range(45)]
# The digits of 0 to 85,184, in French from the last to the first.
PAIRS = [(" ".join(ENGLISH[d] for d in ds), " ".join(FRENCH[d] for d in reversed(ds))) for ds in DIGITS]
NETWORKS = {
    "plain": {"attention": "none", "cell": "lstm", "units": (5, 4)},
    "additive": {"attention": "additive", "bidirectional": True},
    "multiplicative": {"attention": "multiplicative", "units": (5, 4), "tied": True},
    "feeding": {"attention": "multiplicative", "input_feeding": True, "cell": "rnn"},
}
EVERY_NETWORK = pytest.mark.parametrize("name", NETWORKS)
RATES = ("word_dropout", "embedding_dropout", "dropout", "recurrent_dropout", "output_dropout")
ARRAYS = ("source", "source_lengths", "target", "target_lengths")


def prepared(source=PAIRS, **changes) -> Translator:
    defaults = {"units": 5, "embedding": 4, "batch": 7, "validation_fraction": 0.2}
    defaults |= {"source_encoder": "word", "target_encoder": "char"}
    task = Translator(TranslatorConfig(**(defaults | changes)))
    task.prepare(source)
    return task


def tensors(batch):
    return {name: tf.convert_to_tensor(value) for name, value in batch.items()}


def drawn(task, stddev=0.5):
    """The task's model with every weight drawn from a normal distribution."""
    model = task.build()
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, seed=(1, number), stddev=stddev))
    return model


def first_batch(task, shard=(0, 1)):
    return tensors(next(task.batches("train", epoch=0, shard=shard)))


def loss_of(task, model, batch, step=None) -> float:
    return float(task.loss(model, batch, (), step=None if step is None else tf.constant(step))[0])


# Settings.


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cell": "grue"}, "cell must be one of .*, got 'grue'"),
        ({"units": [8, 0]}, "expected 1 to 64 layers"),
        ({"decoder_units": []}, "expected 1 to 64 layers"),
        ({"decoder_units": True}, "decoder_units = True"),
        ({"attention": "dot"}, "attention = 'dot'"),
        ({"attention": "additive", "input_feeding": True}, "input_feeding belongs to attention"),
        ({"bridge": "copy", "units": 4, "decoder_units": 5}, "bridge = 'copy' needs decoder layers as wide"),
        ({"bridge": "copy", "units": 4, "bidirectional": True}, "both directions together"),
        ({"tied": True, "attention": "none", "units": 4, "embedding": 5}, "as wide as the embedding"),
        ({"engine": "scratch"}, "cannot skip padding"),
        ({"source_encoder": "sentence"}, "source_encoder = 'sentence'"),
        ({"target_vocabulary": 256}, "target_vocabulary = 256"),
        ({"max_tokens": 0}, "max_tokens = 0"),
        ({"label_smoothing": 1.0}, "label_smoothing = 1.0"),
        ({"scheduled_sampling_steps": 0}, "scheduled_sampling_steps = 0"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "leave nothing to train on"),
        ({"atention": "none"}, "did you mean 'attention'"),
    ],
)
def test_settings_that_do_not_work_are_refused(changes, says):
    with pytest.raises(ConfigError, match=says):
        TranslatorConfig(**changes)


def test_a_joint_vocabulary_lower_cases_both_sides_or_none():
    with pytest.raises(ConfigError, match="none or both with a joint vocabulary"):
        prepared(joint_vocabulary=True, lowercase="source")


@pytest.mark.parametrize("reversed_pairs", [False, True])
@pytest.mark.parametrize(
    ("lowercase", "source", "target"),
    [("none", False, False), ("source", True, False), ("both", True, True)],
)
def test_lower_case_is_made_of_the_sides_that_were_asked_for(lowercase, source, target, reversed_pairs):
    pairs = [(one.title(), other.title()) for one, other in PAIRS]
    pairs = [pair[::-1] for pair in pairs] if reversed_pairs else pairs
    task = prepared(pairs, lowercase=lowercase, source_encoder="char")
    for sentences, lower, text in zip(
        (task.source_sentences, task.target_sentences), (source, target), pairs[8], strict=True
    ):
        assert sentences.decode(sentences.encode(text)) == (text.lower() if lower else text)


# Data.


@pytest.mark.parametrize("epoch", [None, 0, 5])
def test_every_pair_is_in_an_epoch_once_between_its_marks(epoch):
    task = prepared()
    batches = list(task.batches("train", epoch=epoch))
    assert len(batches) == task.steps("train")
    found = []
    for batch in batches:
        for source, length, target, target_length in zip(*(batch[name] for name in ARRAYS), strict=True):
            assert (source[length:] == PAD).all()
            assert (target[target_length:] == PAD).all()
            assert (target[0], target[target_length - 1]) == (BOS, EOS)
            found.append(
                (
                    task.source_sentences.decode(source[:length]),
                    task.target_sentences.decode(target[:target_length]),
                )
            )
    assert sorted(found) == sorted(task._examples.texts(n) for n in task._examples.part("train").tolist())


def test_epochs_differ_and_seeds_differ_and_equal_ones_do_not():
    def order(seed, epoch):
        return [batch["source"].tolist() for batch in prepared(seed=seed).batches("train", epoch=epoch)]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_targets_of_about_equal_length_share_a_batch():
    task = prepared()
    lengths = np.random.default_rng(0).permutation(task._examples.lengths[task._examples.part("train"), 1])
    shuffled = [lengths[at : at + task.config.batch] for at in range(0, len(lengths), task.config.batch)]
    for epoch in (None, 0):
        batches = list(task.batches("train", epoch=epoch))
        padding = sum((batch["target"] == PAD).sum() for batch in batches)
        assert padding < sum((some.max() - some).sum() for some in shuffled) / 2
        longest = [batch["target"].shape[1] for batch in batches]
        assert (longest == sorted(longest)) is (epoch is None)


@pytest.mark.parametrize("epoch", [None, 3])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_shards_of_a_batch_join_to_the_global_batch(epoch, count):
    task = prepared()
    split = "train" if epoch is not None else "validation"
    whole = list(task.batches(split, epoch=epoch))
    shards = [list(task.batches(split, epoch=epoch, shard=(index, count))) for index in range(count)]
    for batch, *parts in zip(whole, *shards, strict=True):
        for name in ARRAYS:
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), batch[name])
        rows_before = np.cumsum([0, *(len(part["source"]) for part in parts)])[:-1]
        assert [part["first_row"] for part in parts] == rows_before.tolist()


@pytest.mark.parametrize("epoch", [None, 2])
def test_batches_go_on_from_any_number(epoch):
    task = prepared()
    for start in (1, 3):
        expected = islice(task.batches("train", epoch=epoch), start, None)
        for batch, same in zip(task.batches("train", epoch=epoch, start=start), expected, strict=True):
            np.testing.assert_equal(batch, same)


def test_long_pairs_are_not_trained_on_and_long_sources_are_cut_where_they_are_judged():
    task = prepared(max_tokens=3, target_encoder="word")
    assert task._examples.lengths[task._examples.part("train")].max() == 3
    assert task._examples.lengths[task._examples.part("validation"), 0].max() > 3
    assert any("with more than 3 tokens on a side" in note for note in task.notes)
    (last,) = islice(task.batches("validation"), task.steps("validation") - 1, None)
    assert last["source"].shape[1] == last["source_lengths"].max() == 3
    assert last["target_lengths"].max() > 3 + 2


def test_translations_may_grow_as_much_as_any_in_training_did():
    pairs = [("one", "x" * (FREE_TOKENS + 7)), ("one two", "x" * (FREE_TOKENS + 9)), ("two", "y")]
    assert prepared(pairs, validation_fraction=0.0).growth == 7
    assert prepared(target_encoder="word").growth == 1
    task = prepared(pairs, validation_fraction=0.0, max_tokens=FREE_TOKENS + 8)
    assert task.growth == 7
    again = task.for_evaluation(whole=True)
    again.prepare([("one two", "x" * 99)])
    assert again.growth == 7


# Loss.


@EVERY_NETWORK
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_cross_entropy_of_every_token_that_is_there(name, smoothing):
    task = prepared(label_smoothing=smoothing, **NETWORKS[name])
    model, batch = drawn(task), first_batch(task)
    assert (batch["target"] == PAD).numpy().any()
    features, _ = model(batch["source"], batch["source_lengths"], batch["target"][:, :-1])
    scores = model.decoder.scores(features).numpy().astype(np.float64)
    logs = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    wanted = batch["target"].numpy()[:, 1:]
    truth = np.eye(scores.shape[-1])[wanted]
    nats, smoothed = (
        -(((1 - part) * truth + part / scores.shape[-1]) * logs).sum(axis=-1)[wanted != PAD].sum()
        for part in (0.0, smoothing)
    )
    for step, expected in ((None, nats), (tf.constant(3), smoothed)):
        loss, weight, sums, state = task.loss(model, batch, (), step=step)
        assert float(loss) == pytest.approx(expected, rel=1e-5)
        assert float(weight) == (batch["target_lengths"].numpy() - 1).sum()
        assert float(sums["nats"]) == pytest.approx(nats, rel=1e-5)
        assert state == ()
        measured = as_figures(task.metrics(Loss(float(loss), float(weight), {"nats": float(sums["nats"])})))
        assert measured["loss"] == pytest.approx(nats / float(weight), rel=1e-5)
        assert measured["perplexity"] == pytest.approx(np.exp(nats / float(weight)), rel=1e-4)


@EVERY_NETWORK
def test_the_loss_of_a_batch_is_the_sum_of_those_of_its_pairs_alone(name):
    together, alone = prepared(**NETWORKS[name]), prepared(batch=1, **NETWORKS[name])
    model = drawn(together)
    losses = tf.function(lambda batch: together.loss(model, batch, ())[:2], [together.signature()])
    (loss, weight), (summed, same) = (
        np.sum([losses(tensors(batch)) for batch in task.batches("validation")], axis=0)
        for task in (together, alone)
    )
    assert loss == pytest.approx(summed, rel=1e-5)
    assert weight == same


@EVERY_NETWORK
def test_with_dropout_and_sampling_the_losses_of_the_shards_add_up_to_that_of_the_global_batch(name):
    rates = dict.fromkeys(RATES, 0.3) | {"scheduled_sampling": 0.5, "scheduled_sampling_steps": 1}
    task = prepared(label_smoothing=0.1, **NETWORKS[name], **rates)
    model = drawn(task)
    whole = loss_of(task, model, first_batch(task), 11)
    shards = [loss_of(task, model, first_batch(task, (index, 3)), 11) for index in range(3)]
    assert sum(shards) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("rate", [*RATES, "scheduled_sampling"])
def test_each_of_them_changes_with_the_step_and_is_off_in_evaluation(rate):
    task = prepared(units=(6, 5), scheduled_sampling_steps=1, **{rate: 0.5})
    model, batch = drawn(task), first_batch(task)
    assert loss_of(task, model, batch, 3) == loss_of(task, model, batch, 3)
    assert len({loss_of(task, model, batch, step) for step in (None, 3, 4)}) == 3
    teacher_forced = prepared(units=(6, 5))
    assert loss_of(task, model, batch) == loss_of(teacher_forced, model, batch)


class Watched:
    """A model that remembers the target tokens it was fed."""

    def __init__(self, model):
        self.model, self.decoder, self.fed = model, model.decoder, []

    def __call__(self, source, lengths, target, key=None):
        self.fed.append(target.numpy())
        return self.model(source, lengths, target, key)


def fed_at(step, rate):
    """What the network was fed, the true tokens before each, and what it would have written there itself."""
    rates = {"scheduled_sampling": rate, "scheduled_sampling_steps": 40, "embedding_dropout": 0.5}
    task = prepared(batch=64, validation_fraction=0.0, **rates)
    model, batch = Watched(drawn(task)), first_batch(task)
    loss_of(task, model, batch, step)
    given = batch["target"].numpy()[:, :-1]
    features, _ = model.model(batch["source"], batch["source_lengths"], given)
    own = np.argmax(model.decoder.scores(features), axis=-1)
    return model.fed[-1], given, np.concatenate([given[:, :1], own[:, :-1]], axis=1)


def test_scheduled_sampling_begins_with_the_true_tokens_and_may_end_with_the_networks_own():
    fed, given, _ = fed_at(0, 1.0)
    np.testing.assert_array_equal(fed, given)
    for step in (40, 1000):
        fed, given, own = fed_at(step, 1.0)
        np.testing.assert_array_equal(fed, own)
        assert (own != given).any()


def test_scheduled_sampling_rises_linearly():
    for step, share in ((10, 0.2), (20, 0.4), (30, 0.6), (40, 0.8), (400, 0.8)):
        fed, given, own = fed_at(step, 0.8)
        differ = own != given
        assert np.where(fed == own, True, fed == given).all()
        assert (fed == own)[differ].mean() == pytest.approx(share, abs=0.05)


def test_equal_seeds_build_equal_weights():
    tasks = (prepared(seed=seed, bidirectional=True) for seed in (1, 1, 2))
    one, same, other = (task.build().get_weights() for task in tasks)
    for first, second, third in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(first, second)
        assert not first.any() or not np.array_equal(first, third)  # biases begin at zero


# Vocabulary.


@pytest.mark.parametrize(
    "damage",
    [
        {"growth": 0.5},
        {"growth": float("nan")},
        {"growth": 1e9},
        {"growth": 10**400},
        {"growth": "2"},
        {"growth": True},
        {"source": {}},
        {"target": None},
        {"target": {"encoder": {}, "unicode": "nfkc", "lowercase": False}},
    ],
    ids=str,
)
def test_a_damaged_vocabulary_is_refused(damage):
    task = prepared()
    with pytest.raises(RunError, match="the vocabulary is damaged"):
        Translator(task.config).restore(task.vocabulary() | damage)
    with pytest.raises(RunError, match="the vocabulary is damaged"):
        Translator(task.config).restore({"growth": 1.0})


# A training.


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "cubes.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS))
    return path


def start(out, source, on_event=None, init_from=None, epochs=1, **changes):
    settings = {"units": 5, "embedding": 6, "batch": 16, "target_encoder": "word", "source_encoder": "word"}
    config = TranslatorConfig(**(settings | changes))
    training = ostinato.TrainingConfig(epochs=epochs, learning_rate=0.02, evaluations=2, log_every=2)
    return ostinato.train(config, source, training=training, out=out, on_event=on_event, init_from=init_from)


def stop_at(step):
    def stop(event):
        if isinstance(event, StepDone) and event.step == step:
            raise InterruptedError

    return stop


def timeless(rows):
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "tokens_per_second")}
        for row in rows
    ]


@pytest.mark.parametrize(
    "network",
    [
        thorough({"attention": "additive", "units": (5, 4), "decoder_units": 5}),
        {"attention": "multiplicative", "units": (5, 4), "decoder_units": 6, "bidirectional": True},
    ],
    ids=["additive", "multiplicative"],
)
def test_a_run_that_was_interrupted_and_resumed_equals_one_that_was_not(pairs_file, tmp_path, network):
    settings = network | dict.fromkeys(RATES, 0.2) | {"label_smoothing": 0.1, "validation_fraction": 0.2}
    settings |= {"scheduled_sampling": 0.5, "scheduled_sampling_steps": 4, "epochs": 3}
    events = []
    with pytest.raises(InterruptedError):
        start(tmp_path / "run", pairs_file, on_event=stop_at(7), **settings)
    ostinato.resume(tmp_path / "run", on_event=events.append)
    assert (events[0].step, events[0].steps_per_epoch) == (5, 3)  # in the midst of an epoch
    start(tmp_path / "whole", pairs_file, **settings)
    run, whole = open_run(tmp_path / "run"), open_run(tmp_path / "whole")
    assert timeless(run.rows()) == timeless(whole.rows())
    assert {row["split"] for row in run.rows()} == {"train", "validation"}
    np.testing.assert_equal(run.weights("last").groups, whole.weights("last").groups)


def test_one_file_two_files_and_pairs_in_python_train_the_same_network(pairs_file, tmp_path):
    for side, name in enumerate(("cubes.en", "cubes.fr")):
        (tmp_path / name).write_text("".join(f"{pair[side]}\n" for pair in PAIRS))
    sources = [pairs_file, (tmp_path / "cubes.en", tmp_path / "cubes.fr"), iter(PAIRS)]
    options = {"attention": "none", "validation_fraction": 0.0}
    runs = [start(tmp_path / str(n), source, **options) for n, source in enumerate(sources)]
    expected = runs[0].directory.weights("last").groups["weights"]
    for run in runs[1:]:
        np.testing.assert_equal(run.directory.weights("last").groups["weights"], expected)
        assert run.directory.source["sha256"] == runs[0].directory.source["sha256"]
