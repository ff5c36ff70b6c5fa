"""The classifier's data, network, loss, figures and use."""

import math
from itertools import islice

import keras
import numpy as np
import pytest
import tensorflow as tf
from ostinato.training.judging import judge

import ostinato
from ostinato.data.examples.labelled import encode_text
from ostinato.data.sources.tables import open_table
from ostinato.errors import ConfigError, EncodingError, RunError, SourceError
from ostinato.runs import weights
from ostinato.runs.directory import open_run
from ostinato.tasks.base import Loss, as_figures
from ostinato.tasks.classifier import Classifier, ClassifierConfig, metrics
from ostinato.tasks.classifier.task import Tables
from ostinato.training.events import StepDone
from ostinato.training.optimizers import Optimizer
from ostinato.training.step import as_tensors, make_train_step

from ..variants import thorough

GOOD = ("a joy to watch", "great fun", "warm and funny from start to end", "great", "a great warm film")
BAD = (
    "dull",
    "a waste of time",
    "slow dull and far too long for what it is",
    "awful fun",
    "a dull awful film",
)
PAIRS = [
    (f"{text} {n}", label) for n in range(6) for text, label in zip(GOOD + BAD, "+++++-----", strict=True)
]
QUEUES = [
    (f"{text} {n}", q) for n in range(8) for text, q in zip(GOOD, ("bill", "login", "other"), strict=False)
]
TAGGED = [
    (f"{text} {n}", tags) for n in range(8) for text, tags in zip(BAD, ("a", "b", "a|b", "b|c"), strict=False)
]
SETS = {"binary": (PAIRS, {}), "classes": (QUEUES, {}), "tags": (TAGGED, {"label_separator": "|"})}


def prepared(source=PAIRS, **changes) -> Classifier:
    defaults = {"units": 5, "embedding": 4, "batch": 7, "validation_fraction": 0.2}
    task = Classifier(ClassifierConfig(**(defaults | changes)))
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


def texts_of(task, split):
    return sorted(task._examples.text(int(i)) for i in task._examples.part(split))


# Settings.


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_tokens": 0}, "expected 1 to 1,000,000 tokens, or auto"),
        ({"max_tokens": "long"}, "expected 1 to 1,000,000 tokens, or auto"),
        ({"max_tokens": True}, "expected 1 to 1,000,000 tokens, or auto"),
        ({"units": [8, 0]}, "expected 1 to 64 layers"),
        ({"units": [8, 4], "layers": 3}, "layers = 3 contradicts"),
        ({"pooling": "sum"}, "pooling = 'sum'"),
        ({"cell": "grue"}, "cell must be one of .*, got 'grue'"),
        ({"engine": "scratch"}, "cannot skip padding"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "leave nothing to train on"),
        ({"class_weights": "balanced", "label_separator": "|"}, "one label each"),
    ],
)
def test_settings_that_do_not_work_are_refused(changes, says):
    with pytest.raises(ostinato.OstinatoError, match=says):
        ClassifierConfig(**changes)


def test_a_number_of_tokens_may_come_as_text_and_one_unit_count_serves_all_layers():
    assert ClassifierConfig(max_tokens="80").max_tokens == 80
    assert ClassifierConfig(units=8, layers=3).units == (8, 8, 8)


# Data.


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("epoch", [None, 0, 5])
def test_every_text_is_in_an_epoch_once(epoch, masked):
    task = prepared(masked=masked)
    batches = list(task.batches("train", epoch=epoch))
    assert len(batches) == task.steps("train")
    rows = [tuple(ids[ids > 0]) for batch in batches for ids in batch["tokens"]]
    expected = [tuple(task._examples.tokens(int(i)) + 1) for i in task._examples.part("train")]
    cut = [ids[-task.max_tokens :] for ids in expected]
    assert sorted(rows) == sorted(cut)


def test_epochs_differ_and_seeds_differ_and_equal_ones_do_not():
    def order(seed, epoch):
        return [batch["tokens"].tolist() for batch in prepared(seed=seed).batches("train", epoch=epoch)]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_texts_of_about_equal_length_share_a_batch_unless_padding_is_read():
    def padding(**changes):
        batches = list(prepared(max_tokens=12, **changes).batches("train", epoch=0))
        assert {batch["tokens"].shape[1] for batch in batches} != {0}
        return sum((batch["tokens"] == 0).sum() for batch in batches)

    assert padding() < padding(masked=False) / 4
    shapes = {batch["tokens"].shape[1] for batch in prepared(max_tokens=12, masked=False).batches("train")}
    assert shapes == {12}


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("epoch", [None, 3])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_shards_of_a_batch_join_to_the_global_batch(kind, epoch, count):
    source, changes = SETS[kind]
    task = prepared(source, **changes)
    split = "train" if epoch is not None else "validation"
    whole = list(task.batches(split, epoch=epoch))
    shards = [list(task.batches(split, epoch=epoch, shard=(index, count))) for index in range(count)]
    for batch, *parts in zip(whole, *shards, strict=True):
        for name in ("tokens", "lengths", "targets", "weights"):
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), batch[name])
        rows_before = np.cumsum([0, *(len(part["tokens"]) for part in parts)])[:-1]
        assert [part["first_row"] for part in parts] == rows_before.tolist()


@pytest.mark.parametrize("epoch", [None, 2])
def test_batches_go_on_from_any_number(epoch):
    task = prepared()
    for start in (1, 3):
        expected = islice(task.batches("train", epoch=epoch), start, None)
        for batch, same in zip(task.batches("train", epoch=epoch, start=start), expected, strict=True):
            np.testing.assert_equal(batch, same)


def test_auto_takes_the_mean_length_of_training_and_two_deviations():
    task = prepared()
    lengths = task._examples.lengths[task._examples.part("train")]
    assert task.max_tokens == int(lengths.mean() + 2 * lengths.std())
    assert any("tokens of a text" in note for note in task.notes)


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncation", ["pre", "post"])
def test_longer_texts_are_cut_and_shorter_ones_padded_where_asked(padding, truncation):
    task = prepared(max_tokens=3, padding=padding, truncation=truncation, masked=False)
    tokens, lengths = task._pad([np.array([4, 5, 6, 7]), np.array([8]), np.array([], int)], 3)
    assert tokens.tolist() == [
        [6, 7, 8] if truncation == "pre" else [5, 6, 7],
        [0, 0, 9] if padding == "pre" else [9, 0, 0],
        [0, 0, 0],
    ]
    assert lengths.tolist() == [3, 1, 0]


def test_a_validation_table_is_the_validation_part():
    other = [("great film", "+"), ("dull film", "-")]
    task = prepared(Tables(open_table(PAIRS), open_table(other)))
    assert texts_of(task, "validation") == ["dull film", "great film"]
    assert len(texts_of(task, "train")) == len(PAIRS)


def test_balanced_classes_weigh_the_same_in_training_and_not_in_evaluation():
    rare = PAIRS[:5] * 8 + PAIRS[5:10]
    task = prepared(rare, class_weights="balanced", validation_fraction=0.0)
    weight = np.zeros(2)
    for batch in task.batches("train", epoch=0):
        np.add.at(weight, batch["targets"], batch["weights"])
    assert weight[0] == pytest.approx(weight[1])
    assert weight.sum() == pytest.approx(len(rare))
    assert all((batch["weights"] == 1).all() for batch in task.batches("train"))


def test_what_is_no_classification_is_refused():
    with pytest.raises(SourceError, match="only one label"):
        prepared([("a", "x"), ("b", "x")])
    with pytest.raises(SourceError, match="which is not in training"):
        prepared(Tables(open_table(PAIRS), open_table([("film", "?"), ("fun", "-")])))


# Network and loss.


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_what_is_skipped_changes_nothing_and_every_weight_learns(cell, pooling, bidirectional):
    task = prepared(cell=cell, pooling=pooling, bidirectional=bidirectional, units=(4, 3))
    model = drawn(task)
    ids = tf.constant([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
    with tf.GradientTape() as tape:
        together = model(ids, tf.constant([5, 3]))
        total = tf.reduce_sum(together**2)
    alone = model(ids[1:, :3], tf.constant([3]))
    np.testing.assert_allclose(together[1:], alone, atol=1e-5)
    gradients = tape.gradient(total, model.trainable_variables)
    assert all(np.any(tf.convert_to_tensor(gradient)) for gradient in gradients)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_the_network_equals_kerass_own_layers(cell, pooling):
    task = prepared(cell=cell, pooling=pooling, bidirectional=True, units=(4, 3))
    model = drawn(task)
    arrays = {variable.path.split("/", 1)[1]: variable.numpy() for variable in model.variables}
    kind = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[cell]
    ids = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
    mask = ids > 0
    x = arrays["embedding/embeddings"][ids]
    for depth, units in enumerate((4, 3)):
        sequences = depth == 0 or pooling != "last"
        layer = keras.layers.Bidirectional(kind(units, return_sequences=sequences))
        layer.build(x.shape)
        names = [f"reader/layer_{depth}/", f"reader/backward_{depth}/"]
        layer.set_weights([a for name in names for key, a in arrays.items() if key.startswith(name)])
        x = np.asarray(layer(x, mask=mask))
    if pooling == "mean":
        x = (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    elif pooling == "max":
        x = np.where(mask[..., None], x, -np.inf).max(1)
    expected = x @ arrays["output/kernel"] + arrays["output/bias"]
    np.testing.assert_allclose(model(ids, tf.constant([5, 3])), expected, atol=1e-5)


@pytest.mark.parametrize("engine", ["native", "keras", "scratch"])
def test_padding_that_is_read_goes_through_every_engine_alike(engine):
    options = {"masked": False, "max_tokens": 9, "units": (5, 3)}
    ids = next(prepared(**options).batches("train", epoch=0))["tokens"]
    assert (ids == 0).any()
    model, reference = drawn(prepared(engine=engine, **options)), drawn(prepared(engine="keras", **options))
    np.testing.assert_allclose(model(ids), reference(ids), atol=1e-5)


@pytest.mark.parametrize("kind", SETS)
def test_the_loss_and_the_accuracy_are_the_judges_too(kind):
    source, changes = SETS[kind]
    task = prepared(source, pooling="mean", **changes)
    model = drawn(task, stddev=1.0)
    loss = weight = 0.0
    totals = {"right": 0.0, "texts": 0.0}
    for batch in task.batches("validation"):
        some, much, sums, state = task.loss(model, tensors(batch), ())
        assert state == ()
        loss, weight = loss + float(some), weight + float(much)
        totals = {name: totals[name] + float(sums[name]) for name in totals}
    judged = task.judge(model, "validation").figures
    measured = as_figures(task.metrics(Loss(loss, weight, totals)))
    assert measured["loss"] == pytest.approx(judged["loss"], rel=1e-5)
    assert measured["accuracy"] == pytest.approx(judged["accuracy"])
    assert judged["examples"] == weight == len(task._examples.part("validation"))


def test_the_losses_are_kerass():
    scores = np.array([[2.0], [-1.0]])
    truth = np.array([1, 1])
    binary, several = prepared(), prepared(TAGGED, label_separator="|")
    expected = keras.losses.BinaryCrossentropy(from_logits=True)(truth[:, None], scores)
    assert binary._labels.nats(scores, truth) / 2 == pytest.approx(float(expected), rel=1e-5)
    scores = np.array([[2.0, 0.5, -1.0], [-1.0, 0.1, 0.2]])
    hot = np.array([[1, 0, 1], [0, 0, 1]])
    expected = keras.losses.BinaryCrossentropy(from_logits=True)(hot, scores)
    assert several._labels.nats(scores, hot) / 2 == pytest.approx(float(expected), rel=1e-5)
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(truth, scores)
    assert prepared(QUEUES)._labels.nats(scores, truth) / 2 == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("count", [2, 3])
def test_with_dropout_the_losses_of_the_shards_add_up_to_that_of_the_global_batch(count):
    rates = {"word_dropout": 0.2, "embedding_dropout": 0.2, "dropout": 0.3, "output_dropout": 0.3}
    task = prepared(units=(6, 5), class_weights="balanced", **rates)
    model = drawn(task)

    def loss(shard):
        batch = tensors(next(task.batches("train", epoch=0, shard=shard)))
        return float(task.loss(model, batch, (), step=tf.constant(11))[0])

    assert sum(loss((index, count)) for index in range(count)) == pytest.approx(loss((0, 1)), rel=1e-5)


@pytest.mark.parametrize("rate", ["word_dropout", "embedding_dropout", "dropout", "output_dropout"])
def test_each_dropout_changes_with_the_step_and_is_off_in_evaluation(rate):
    task = prepared(units=(6, 5), **{rate: 0.5})
    model, batch = drawn(task), tensors(next(task.batches("train", epoch=0)))

    def loss(step=None):
        return float(task.loss(model, batch, (), step=None if step is None else tf.constant(step))[0])

    assert loss(3) == loss(3)
    assert len({loss(), loss(3), loss(4)}) == 3


def test_equal_seeds_build_equal_weights():
    tasks = (prepared(seed=seed, bidirectional=True, pooling="attention") for seed in (1, 1, 2))
    one, same, other = (task.build().get_weights() for task in tasks)
    for first, second, third in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(first, second)
        assert not first.any() or not np.array_equal(first, third)  # biases begin at zero


# Figures.


def test_the_figures_of_a_small_example_are_those_by_hand():
    truth = np.array([0, 0, 1, 1, 2])
    chosen = np.array([0, 1, 1, 1, 0])
    one_hot = np.eye(3, dtype=bool)
    assert metrics.confusion_matrix(truth, chosen, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    # F1 of the three classes: 1/2, 4/5, 0.
    assert metrics.macro_f1(one_hot[truth], one_hot[chosen]) == pytest.approx((0.5 + 0.8 + 0) / 3)
    has, scores = np.array([False, True, False, True]), np.array([0.1, 0.4, 0.4, 0.8])
    # Of four pairs three are in order, and one is a tie.
    assert metrics.roc_auc(has, scores) == pytest.approx(3.5 / 4)
    assert math.isnan(metrics.roc_auc(np.array([True, True]), scores[:2]))
    # Two decisions in one bin, sure to 0.91 and half of them right; one in another, sure to 0.5 and right.
    sure = np.array([0.905, 0.915, 0.5])
    error = metrics.calibration_error(np.array([True, False, True]), sure)
    assert error == pytest.approx((2 * 0.41 + 1 * 0.5) / 3)


def test_the_area_under_the_curve_is_the_one_by_ranks():
    random = np.random.default_rng(0)
    has = random.random(200) < 0.3
    scores = np.round(random.random(200) + 0.4 * has, 1)
    false, true = metrics.roc_curve(has, scores)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(metrics.roc_auc(has, scores))


@pytest.mark.parametrize("kind", SETS)
def test_a_judgement_names_the_surest_mistakes_and_is_drawn(kind, tmp_path):
    source, changes = SETS[kind]
    task = prepared(source, **changes)
    judgement = task.judge(drawn(task, stddev=1.0), "train")
    assert list(judgement.figures) == [
        "loss",
        "accuracy",
        "macro_f1",
        "roc_auc",
        "calibration_error",
        "examples",
    ]
    assert all(0 <= judgement.figures[name] <= 1 for name in list(judgement.figures)[1:-1])
    sure = [mistake.probability for mistake in judgement.mistakes]
    assert sure == sorted(sure, reverse=True)
    truth = dict(source)
    for mistake in judgement.mistakes:
        assert mistake.label == truth[mistake.text] != mistake.chosen
        assert mistake.place.startswith("<pairs>, row ")
    if judgement.confusion is not None:
        assert judgement.confusion.sum() == judgement.figures["examples"]
        right = np.trace(judgement.confusion) / judgement.confusion.sum()
        assert right == pytest.approx(judgement.figures["accuracy"])
    drawn_files = task.draw(judgement, tmp_path)
    assert len(drawn_files) == (2 if kind == "tags" else 3)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn_files)


# Use.


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("masked", [True, False])
def test_predictions_are_in_order_and_do_not_depend_on_their_company(kind, masked):
    source, changes = SETS[kind]
    task = prepared(source, masked=masked, **changes)
    model = drawn(task)
    texts = [text for text, _ in source[:9]]
    together = task.predict(model, texts)
    for text, prediction in zip(texts, together, strict=True):
        (alone,) = task.predict(model, [text])
        assert alone.label == prediction.label
        assert alone.probability == pytest.approx(prediction.probability, abs=1e-5)
    if kind == "tags":
        for prediction in together:
            likely = [name for name, p in prediction.probabilities.items() if p >= 0.5]
            assert prediction.label == "|".join(likely)
    else:
        for prediction in together:
            assert sum(prediction.probabilities.values()) == pytest.approx(1.0)
            assert prediction.probability == max(prediction.probabilities.values())
            assert prediction.probabilities[prediction.label] == prediction.probability


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_padding_that_all_texts_begin_with_is_read_once_and_predicts_the_same(cell):
    task = prepared(masked=False, max_tokens=40, cell=cell, units=[5, 4])
    model = drawn(task)
    texts = [text for text, _ in PAIRS]
    rows = [encode_text(task.encoder, text) for text in texts]
    tokens, lengths = task._pad(rows, 40)
    whole = task._labels.probabilities(task._scores(model, tokens, lengths))
    shared = [list(each.probabilities.values()) for each in task.predict(model, texts)]
    assert task._shares_padding
    np.testing.assert_allclose(shared, whole, atol=1e-6)
    assert np.ptp(whole[:, 0]) > 0.001  # the texts differ, so that equal ones would be seen


def test_an_empty_text_gets_the_shares_of_training_and_is_flagged():
    task = prepared(PAIRS[:5] * 6 + PAIRS[5:10] * 2, validation_fraction=0.0)
    nothing, something = task.predict(drawn(task), ["  \n", "great"])
    assert nothing.empty
    assert nothing.probabilities == {"+": 0.75, "-": 0.25}
    assert (nothing.label, nothing.probability, nothing.tokens) == ("+", 0.75, 0)
    assert not something.empty


def test_a_huge_text_is_cut_and_flagged():
    task = prepared(max_tokens=4)
    model = drawn(task)
    long, end = task.predict(model, ["dull " * 10_000 + "a great warm film", "a great warm film"])
    assert (long.cut, end.cut, long.tokens) == (True, False, 10_004)
    assert long.probability == pytest.approx(end.probability)


def test_what_is_no_list_of_texts_is_refused():
    task = prepared()
    with pytest.raises(ConfigError, match=r"texts is a string; give a list of texts, \[text\] for one"):
        task.predict(task.build(), "great")
    with pytest.raises(ConfigError, match="one of the texts is a int, not a string"):
        task.predict(task.build(), ["great", 3])


def test_neighbors_are_by_cosine():
    task = prepared()
    model = drawn(task)
    nearest, farthest = task.neighbors(model, "great", 3)
    symbols = task.encoder.symbols
    vectors = model.embedding.embeddings.numpy()[1:]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors[symbols.index(" great")]
    best = max((cosine, name) for cosine, name in zip(cosines, symbols, strict=True) if name != " great")
    assert nearest[0] == (best[1].strip(), pytest.approx(best[0], abs=1e-5))
    assert [cosine for _, cosine in nearest] == sorted((cosine for _, cosine in nearest), reverse=True)
    assert farthest[0][1] == pytest.approx(cosines.min(), abs=1e-5)
    with pytest.raises(EncodingError, match="'aardvark' is no token of this run's vocabulary"):
        task.neighbors(model, "aardvark")


def test_a_restored_vocabulary_predicts_the_same_without_data():
    task = prepared(QUEUES)
    other = Classifier(task.config)
    other.restore(task.vocabulary())
    model, same = drawn(task), drawn(other)
    assert other.predict(same, ["great", ""]) == task.predict(model, ["great", ""])
    assert other.vocabulary() == task.vocabulary()


@pytest.mark.parametrize(
    "damage",
    [
        {"labels": ["a"]},
        {"labels": ["a", "a"]},
        {"labels": "ab"},
        {"labels": ["a", ""]},
        {"labels": ["a", "\ud800"]},
        {"max_tokens": 0},
        {"max_tokens": 2**31},
        {"max_tokens": "auto"},
        {"prior": [0.5]},
        {"prior": [True, False]},
        {"prior": None},
        {"columns": ["text"]},
        {"encoder": {}},
    ],
    ids=str,
)
def test_a_damaged_vocabulary_is_refused(damage):
    task = prepared()
    with pytest.raises(RunError, match="the vocabulary is damaged"):
        Classifier(task.config).restore(task.vocabulary() | damage)
    with pytest.raises(RunError, match="the vocabulary is damaged"):
        Classifier(task.config).restore({})


# A training.


def test_one_trace_serves_batches_of_every_size(tmp_path):
    # A trace of its own for the first size would round differently, and a resumed run end with other weights.
    task = prepared()
    model = task.build()
    config = ostinato.TrainingConfig()
    optimizer = Optimizer(config, weights.names(model, model.trainable_variables), model.trainable_variables)
    train_step = make_train_step(task, model, optimizer, config)
    sizes = set()
    for batch in task.batches("train", epoch=0):
        train_step((as_tensors(batch),), ((),), tf.constant(0), tf.constant(0.1), tf.zeros(4))
        sizes.add(batch["tokens"].shape)
    assert len(sizes) > 2
    assert train_step.experimental_get_tracing_count() == 1


@pytest.fixture(scope="module")
def table_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "reviews.csv"
    path.write_text("review,sentiment\n" + "".join(f"{text},{label}\n" for text, label in PAIRS))
    return path


def start(out, source, on_event=None, init_from=None, **changes):
    settings = {"units": (6, 4), "embedding": 4, "batch": 8, "dropout": 0.2, "word_dropout": 0.1}
    settings |= {"bidirectional": True, "pooling": "max", "recurrent_dropout": 0.2}
    config = ClassifierConfig(**(settings | {"validation_fraction": 0.2, "test_fraction": 0.2} | changes))
    training = ostinato.TrainingConfig(epochs=6, learning_rate=0.02, evaluations=3, log_every=2)
    return ostinato.train(config, source, training=training, out=out, on_event=on_event, init_from=init_from)


def pictures_in(run, pattern="*"):
    found = {path.stem: path.read_bytes() for path in sorted((run / "report").glob(f"{pattern}.png"))}
    assert all(picture.startswith(b"\x89PNG") for picture in found.values())
    return found


def timeless(rows):
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "texts_per_second")}
        for row in rows
    ]


def test_a_training_learns_and_its_evaluations_are_complete(table_file, tmp_path):
    rates = {"dropout": 0.0, "word_dropout": 0.0, "recurrent_dropout": 0.0}
    run = start(tmp_path / "run", table_file, **rates)
    rows = run.directory.rows()
    train = [row["loss"] for row in rows if row["split"] == "train"]
    assert train[-1] < train[0]
    assert {"loss", "accuracy", "texts_per_second"} <= rows[-1].keys()
    assert ostinato.evaluate(tmp_path / "run") == ostinato.evaluate(tmp_path / "run", split="test")
    figures = ostinato.evaluate(tmp_path / "run", table_file)
    assert figures["examples"] == len(PAIRS)
    parts = [ostinato.evaluate(tmp_path / "run", split=part) for part in ("train", "validation", "test")]
    total = sum(part["loss"] * part["examples"] for part in parts)
    assert total == pytest.approx(figures["loss"] * len(PAIRS), rel=1e-5)
    assert [prediction.label for prediction in run.predict(["great", "dull"])] == ["+", "-"]


@pytest.mark.parametrize("step", [thorough(1), 6, thorough(17)])
def test_a_run_that_was_interrupted_and_resumed_equals_one_that_was_not(table_file, tmp_path, step):
    def stop(event):
        if isinstance(event, StepDone) and event.step == step:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        start(tmp_path / "run", table_file, on_event=stop)
    ostinato.resume(tmp_path / "run")
    start(tmp_path / "whole", table_file)
    run, whole = open_run(tmp_path / "run"), open_run(tmp_path / "whole")
    assert timeless(run.rows()) == timeless(whole.rows())
    np.testing.assert_equal(run.weights("last").groups, whole.weights("last").groups)
    drawn = pictures_in(tmp_path / "run", "*-validation")
    assert len(drawn) == 3
    assert drawn == pictures_in(tmp_path / "whole", "*-validation")


def test_a_training_that_ends_has_drawn_the_validation_part_with_the_best_weights_and_no_test_part(tmp_path):
    # Where validation says the opposite of what is learned, the last weights are not the best.
    opposite = [(text, "-" if label == "+" else "+") for text, label in PAIRS]
    run = start(tmp_path / "run", Tables(open_table(PAIRS), open_table(opposite)))
    last, _ = run.directory.newest_checkpoint()
    assert run.step < last.step
    drawn = pictures_in(tmp_path / "run")
    of_validation = ["confusion-validation", "reliability-validation", "roc-validation"]
    assert list(drawn) == sorted(["accuracy", "loss", *of_validation])
    for checkpoint, same in (("last", False), ("best", True)):
        judge(tmp_path / "run", split="validation", checkpoint=checkpoint)
        again = pictures_in(tmp_path / "run")
        assert (drawn["reliability-validation"] == again["reliability-validation"]) is same
    assert again == drawn
    assert ostinato.evaluate(tmp_path / "run", split="test")["examples"] > 0  # there is one to be left alone


def test_without_a_validation_part_a_training_draws_its_curves_only(table_file, tmp_path):
    start(tmp_path / "run", table_file, validation_fraction=0.0)
    assert list(pictures_in(tmp_path / "run")) == ["accuracy", "loss"]


def test_a_picture_that_cannot_be_written_is_told_and_loses_nothing(table_file, tmp_path):
    run = tmp_path / "run"

    def stand_in_the_way(event):
        (run / "report" / "confusion-validation.png").mkdir(parents=True, exist_ok=True)

    with pytest.raises(RunError, match=r"could not write .*report: .*; what was saved before is intact"):
        start(run, table_file, on_event=stand_in_the_way)
    assert ostinato.resume(run).step == ostinato.load(run).step > 0


def test_fine_tuning_starts_from_the_other_runs_weights_vocabulary_and_labels(table_file, tmp_path):
    base = start(tmp_path / "base", table_file)
    events = []
    more = [("a joy and great fun", "+"), ("dull and awful", "-")] * 10
    tuned = start(tmp_path / "tuned", more, on_event=events.append, init_from=tmp_path / "base", max_tokens=3)
    assert events[0].notes[-1] == f"starting from the weights of {tmp_path / 'base'}, step {base.step}"
    assert (tuned.task.encoder, tuned.task.labels) == (base.task.encoder, base.task.labels)
    assert (tuned.task.max_tokens, base.task.max_tokens > 3) == (3, True)
    with pytest.raises(SourceError, match="which is not in training"):
        start(tmp_path / "odd", [("a joy", "+"), ("dull", "?")] * 5, init_from=tmp_path / "base")
    assert not (tmp_path / "odd").exists()


def test_a_changed_table_is_refused(table_file, tmp_path):
    copy = tmp_path / "reviews.csv"
    copy.write_bytes(table_file.read_bytes())
    start(tmp_path / "run", copy)
    copy.write_text(copy.read_text() + "more,+\n")
    with pytest.raises(RunError, match="has changed since training began"):
        ostinato.evaluate(tmp_path / "run")
