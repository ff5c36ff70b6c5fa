"""The translator's network: what is read and written at once is what is written step by step."""

import functools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from ostinato.layers.dropout import DropoutKey
from ostinato.tasks.translator import RecurrentTranslator, TranslatorConfig

from ...variants import one_each, thorough

SOURCE_SIZE, TARGET_SIZE, EMBEDDING = 9, 7, 5
BOS = 1
LENGTHS = [5, 2, 4]
NETWORKS = {
    "plain": {"attention": "none", "cell": "gru", "units": (4,)},
    "plain-shallower": {
        "attention": "none",
        "cell": "lstm",
        "units": (3, 4),
        "decoder_units": (5,),
        "bidirectional": True,
        "bridge": "dense",
    },
    "plain-deeper": {
        "attention": "none",
        "cell": "rnn",
        "units": (4,),
        "decoder_units": (3, 5),
        "bridge": "zeros",
        "tied": True,
    },
    "additive": {
        "attention": "additive",
        "cell": "gru",
        "units": (3,),
        "decoder_units": (6,),
        "bidirectional": True,
    },
    "additive-deeper": {
        "attention": "additive",
        "cell": "lstm",
        "units": (4,),
        "decoder_units": (3, 5),
        "bidirectional": True,
        "joint_vocabulary": True,
    },
    "additive-zeros": {
        "attention": "additive",
        "cell": "rnn",
        "units": (4, 3),
        "bridge": "zeros",
        "tied": True,
    },
    "additive-copy": {"attention": "additive", "cell": "lstm", "units": (4, 4), "bridge": "copy"},
    "multiplicative": {
        "cell": "gru",
        "units": (3, 4),
        "decoder_units": (6,),
        "bidirectional": True,
        "bridge": "dense",
    },
    "multiplicative-deeper": {"cell": "lstm", "units": (4,), "decoder_units": (4, 4)},
    "multiplicative-zeros": {
        "cell": "rnn",
        "units": (4, 3),
        "bidirectional": True,
        "bridge": "zeros",
        "tied": True,
        "joint_vocabulary": True,
    },
    "feeding": {"input_feeding": True, "cell": "gru", "units": (4, 4), "reset_after": False},
    "feeding-dense": {
        "input_feeding": True,
        "cell": "lstm",
        "units": (3,),
        "decoder_units": (5,),
        "bidirectional": True,
        "tied": True,
    },
    "multiplicative-lexical": {"cell": "lstm", "units": (4,), "bidirectional": True, "lexical": True},
    "additive-lexical": {"attention": "additive", "units": (4, 3), "lexical": True},
    "feeding-lexical": {"input_feeding": True, "units": (4,), "tied": True, "lexical": True},
    "multiplicative-ngrams": {
        "units": (4,),
        "lexical": True,
        "source_ngrams": 3,
        "ngram_rows": 23,
        "ngram_dropout": 0.4,
    },
    "feeding-zeros": {
        "input_feeding": True,
        "cell": "rnn",
        "units": (3, 3),
        "decoder_units": (4,),
        "bridge": "zeros",
        "joint_vocabulary": True,
    },
}
EVERY_NETWORK = pytest.mark.parametrize("name", NETWORKS)
ONE_OF_EACH = pytest.mark.parametrize("name", ["plain-shallower", "additive", "multiplicative", "feeding"])
# What is read at once, and what is read step by step.
ONE_OF_BOTH = pytest.mark.parametrize(
    "name", ["plain-shallower", thorough("additive"), thorough("multiplicative"), "feeding"]
)


def draw_weights(model: keras.Model) -> None:
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, seed=(1, number), stddev=0.5))


def built(name: str, **changes) -> RecurrentTranslator:
    """A network with every weight drawn from a normal distribution."""
    settings = {"attention": "multiplicative", "embedding": EMBEDDING} | NETWORKS[name] | changes
    config = TranslatorConfig(**settings)
    target_size = SOURCE_SIZE if config.joint_vocabulary else TARGET_SIZE
    model = RecurrentTranslator(config, SOURCE_SIZE, target_size)
    model(tf.ones((1, 1), tf.int32), tf.ones(1, tf.int32), tf.ones((1, 1), tf.int32))
    draw_weights(model)
    return model


network = functools.cache(built)


def sentences(rows: int = 3, time: int = 5, size: int = SOURCE_SIZE, seed: int = 1) -> tf.Tensor:
    return tf.random.stateless_uniform((rows, time), (seed, rows), 2, size, tf.int32)


def targets(rows: int = 3, time: int = 4) -> tf.Tensor:
    return tf.concat([tf.fill((rows, 1), BOS), sentences(rows, time - 1, TARGET_SIZE, seed=2)], axis=1)


def total_nats(model, key: DropoutKey | None = None, rows: slice = slice(None)) -> tf.Tensor:
    """The loss of some rows of one batch, its source padded."""
    target = targets()[rows]
    features, _ = model(sentences()[rows], tf.constant(LENGTHS)[rows], target[:, :-1], key)
    return tf.reduce_sum(
        tf.nn.sparse_softmax_cross_entropy_with_logits(target[:, 1:], model.decoder.scores(features))
    )


def gradients_of(model) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        total = total_nats(model)
    found = tape.gradient(total, [weight.value for weight in model.trainable_variables])
    return [np.asarray(tf.convert_to_tensor(gradient)) for gradient in found]


# At once and step by step.


@pytest.mark.parametrize(("name", "hypotheses"), one_each(NETWORKS, [1, 2]))
def test_the_scores_of_a_whole_target_are_those_found_step_by_step(name, hypotheses):
    model, lengths = network(name), tf.constant(LENGTHS)
    target = targets(3 * hypotheses)
    source, every_length = (tf.repeat(part, hypotheses, axis=0) for part in (sentences(), lengths))
    features, weights = model(source, every_length, target)

    memory, state = model.read(sentences(), lengths)
    state = tuple(tf.repeat(part, hypotheses, axis=0) for part in state)
    assert len(state) == len(model.decoder.state_names)
    found = []
    for at in range(target.shape[1]):
        feature, state, looked = model.decoder(target[:, at : at + 1], memory, state)
        found.append((model.decoder.scores(feature[:, 0]), looked[:, 0]))
    scores, looked = (tf.stack(parts, axis=1) for parts in zip(*found, strict=True))
    np.testing.assert_allclose(scores, model.decoder.scores(features), atol=1e-4)
    np.testing.assert_allclose(looked, weights, atol=1e-5)


@EVERY_NETWORK
def test_a_sentence_is_translated_alone_as_it_is_padded_in_a_batch(name):
    model, source, target = (
        network(name),
        sentences(),
        targets(),
    )  # what stands in the padding does not matter
    features, weights = model(source, tf.constant(LENGTHS), target)
    there = tf.sequence_mask(LENGTHS, 5)[:, tf.newaxis]
    assert not np.any(np.where(there, 0.0, weights))
    if model.decoder.attends:
        np.testing.assert_allclose(tf.reduce_sum(weights, axis=-1), np.ones(target.shape), rtol=1e-5)
    for row, length in enumerate(LENGTHS):
        alone = model(source[row : row + 1, :length], tf.constant([length]), target[row : row + 1])
        np.testing.assert_allclose(features[row], alone[0][0], atol=1e-4)
        np.testing.assert_allclose(weights[row, :, :length], alone[1][0], atol=1e-4)


@EVERY_NETWORK
def test_every_weight_has_a_gradient(name):
    model = network(name)
    for weight, gradient in zip(model.trainable_variables, gradients_of(model), strict=True):
        assert np.isfinite(gradient).all()
        assert np.any(gradient), weight.path


@ONE_OF_BOTH
def test_the_engines_agree_in_scores_and_gradients(name):
    native, in_keras = (built(name, engine=engine) for engine in ("native", "keras"))
    np.testing.assert_allclose(total_nats(native), total_nats(in_keras), rtol=1e-5)
    for one, other in zip(gradients_of(native), gradients_of(in_keras), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@ONE_OF_BOTH
def test_a_graph_computes_what_eager_code_does_whether_it_knows_the_sizes_or_not(name):
    model, key = built(name, dropout=0.3), DropoutKey(*map(tf.constant, (0, 3, 0)))
    unknown = [tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32)]
    expected, _ = model(sentences(), tf.constant(LENGTHS), targets(), key)
    for signature in (None, [*unknown, unknown[0]]):
        graph = tf.function(lambda *sides: model(*sides, key)[0], input_signature=signature)
        found = graph(sentences(), tf.constant(LENGTHS), targets())
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", [thorough("additive"), "feeding"])
def test_the_gradients_of_a_graphs_loop_over_the_steps_are_those_of_eager_code(name):
    model = network(name)
    weights = [weight.value for weight in model.trainable_variables]

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32)] * 2)
    def graph(source, target):
        features, _ = model(source, tf.constant(LENGTHS), target[:, :-1])
        scores = model.decoder.scores(features)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(target[:, 1:], scores)
        return [tf.convert_to_tensor(part) for part in tf.gradients(tf.reduce_sum(nats), weights)]

    for found, expected in zip(graph(sentences(), targets()), gradients_of(model), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


# Dropout.

RATES = ("word_dropout", "embedding_dropout", "dropout", "recurrent_dropout", "output_dropout")


@ONE_OF_EACH
def test_with_dropout_the_losses_of_the_shards_add_up_to_that_of_the_global_batch(name):
    model = built(name, layers=2, decoder_units=(6, 6), units=3, **dict.fromkeys(RATES, 0.3))

    def loss(step: int, rows: slice = slice(None)) -> float:
        return float(total_nats(model, DropoutKey(*map(tf.constant, (0, step, rows.start or 0))), rows))

    whole, shards = loss(4), loss(4, slice(0, 1)) + loss(4, slice(1, 3))
    assert shards == pytest.approx(whole, rel=1e-5)
    assert len({whole, loss(5), float(total_nats(model))}) == 3


@pytest.mark.parametrize("name", [thorough("plain"), "multiplicative"])
def test_every_dropout_is_drawn_at_a_site_of_its_own(name):
    model = built(name, units=(4, 4), decoder_units=(4, 4), bidirectional=True, **dict.fromkeys(RATES, 0.3))
    graph = tf.function(lambda: total_nats(model, DropoutKey(*map(tf.constant, (0, 3, 0)))))
    operations = graph.get_concrete_function().graph.get_operations()
    counters = [op.inputs[2].op for op in operations if op.type == "StatelessRandomUniformV2"]
    sites = [int(tf.get_static_value(counter.inputs[1])) for counter in counters]
    # Words and embeddings of both sides; between and within the layers of both; the features.
    assert len(sites) == 2 + 2 + (1 + 4) + (1 + 2) + 1
    assert len(set(sites)) == len(sites)


@pytest.mark.parametrize("name", ["additive", "feeding"])
def test_each_step_drops_others(name):
    model = built(name, output_dropout=0.5)
    memory, state = model.read(sentences(), tf.constant(LENGTHS))
    key = DropoutKey(*map(tf.constant, (0, 3, 0)))
    features, _, _ = model.decoder(targets(), memory, state, key)
    dropped = features.numpy() == 0
    assert 0.2 < dropped.mean() < 0.8
    assert all(not np.array_equal(dropped[:, at], dropped[:, 0]) for at in range(1, 4))


# Weights and states.


@pytest.mark.parametrize(
    "name", [name for name, options in NETWORKS.items() if options.get("joint_vocabulary")]
)
def test_a_joint_vocabulary_has_one_embedding(name):
    model = network(name)
    assert model.source_embedding is model.decoder.embedding
    paths = [weight.path for weight in model.weights]
    assert [path for path in paths if "embedding" in path] == ["translator/decoder/embedding/embeddings"]


@pytest.mark.parametrize("name", [name for name, options in NETWORKS.items() if options.get("tied")])
def test_a_tied_output_is_the_embedding_turned_around(name):
    model = network(name)
    lexical = model.config.lexical
    features = tf.random.stateless_normal((2, 3, (1 + lexical) * EMBEDDING), (1, 2))
    embedding = model.decoder.embedding.embeddings.numpy()
    expected = features.numpy()[..., :EMBEDDING] @ embedding.T + model.decoder.output_bias.numpy()
    if lexical:
        expected += features.numpy()[..., EMBEDDING:] @ model.decoder.lexical_output.numpy().T
    np.testing.assert_allclose(model.decoder.scores(features), expected, rtol=1e-4, atol=1e-5)
    assert not any("output/" in weight.path for weight in model.weights)


@EVERY_NETWORK
def test_the_decoder_begins_with_the_states_of_the_encoder_layer_that_is_as_far_from_the_top(name):
    model = network(name)
    config, specs = model.config, model.decoder.stack.states
    mask = tf.sequence_mask(LENGTHS, 5)
    x = model.source_embedding(sentences())
    if config.source_ngrams > 1:
        x += model.ngrams(sentences())
    _, states = model.encoder(x, mask=mask)
    _, state = model.read(sentences(), tf.constant(LENGTHS))
    depths = {(1, 1): [0], (2, 2): [0, 1], (2, 1): [1], (1, 2): [0, 0]}
    expected = []
    for depth in depths[len(config.units), len(config.decoder_sizes)]:
        parts = states[depth]
        if config.bidirectional:
            half = len(parts) // 2
            parts = [tf.concat(both, axis=1) for both in zip(parts[:half], parts[half:], strict=True)]
        expected += parts
    if config.bridged == "dense":
        expected = [bridge(part) for bridge, part in zip(model.bridges, expected, strict=True)]
    elif config.bridged == "zeros":
        expected = [tf.zeros((3, *spec.shape)) for spec in specs]
    if config.input_feeding:
        expected.append(tf.zeros((3, config.features)))
    assert len(model.bridges) == (len(specs) if config.bridged == "dense" else 0)
    for part, expected_part in zip(state, expected, strict=True):
        np.testing.assert_allclose(part, expected_part, atol=1e-6)


@ONE_OF_EACH
def test_the_first_call_warns_of_nothing_and_weights_are_called_by_their_places(name):
    config = TranslatorConfig(**({"embedding": EMBEDDING} | NETWORKS[name]))
    model = RecurrentTranslator(config, SOURCE_SIZE, TARGET_SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total_nats(model)
    paths = [weight.path for weight in model.weights]
    assert len(set(paths)) == len(paths)
    places = ("source_embedding", "encoder", "bridge_0", "bridge_1", "decoder")
    assert all(path.split("/")[:1] == ["translator"] and path.split("/")[1] in places for path in paths)
    parts = {path.split("/")[2] for path in paths if path.startswith("translator/decoder/")}
    attends = {"attention", "combine"} if config.attention != "none" else set()
    assert parts == {"embedding", "stack", "output"} | attends


def test_its_config_builds_it_again_with_the_same_weights():
    model = RecurrentTranslator(TranslatorConfig(units=(4,), embedding=5, seed=3), SOURCE_SIZE, TARGET_SIZE)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    assert copy.get_config() == model.get_config()
    assert float(total_nats(copy)) == float(total_nats(model))


# By hand.


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def gru_step(x, h, kernel, recurrent_kernel, bias):
    (xz, xr, xh), (hz, hr, hh) = (
        np.split(part @ matrix + row, 3)
        for part, matrix, row in ((x, kernel, bias[0]), (h, recurrent_kernel, bias[1]))
    )
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    return z * h + (1 - z) * np.tanh(xh + r * hh)


@pytest.mark.parametrize("lexical", [False, True])
@pytest.mark.parametrize("kind", ["additive", "multiplicative", "feeding"])
def test_a_gru_with_attention_equals_its_equations(kind, lexical):
    options = {
        "attention": "multiplicative" if kind == "feeding" else kind,
        "input_feeding": kind == "feeding",
        "lexical": lexical,
    }
    model = RecurrentTranslator(
        TranslatorConfig(cell="gru", units=(3,), embedding=EMBEDDING, **options), SOURCE_SIZE, TARGET_SIZE
    )
    total_nats(model)
    draw_weights(model)
    weights = {
        weight.path.removeprefix("translator/"): weight.numpy().astype(np.float64) for weight in model.weights
    }
    encoder, decoder = (
        [weights[f"{place}/layer_0/gru_cell/{part}"] for part in ("kernel", "recurrent_kernel", "bias")]
        for place in ("encoder", "decoder/stack")
    )
    source, target = sentences(1, 4)[0].numpy(), targets(1)[0].numpy()

    memory, h = [], np.zeros(3)
    for token in source:
        h = gru_step(weights["source_embedding/embeddings"][token], h, *encoder)
        memory.append(h)
    memory, scores, fed = np.array(memory), [], np.zeros(3)
    words = weights["source_embedding/embeddings"][source]

    def look(query):
        keys = memory @ weights["decoder/attention/memory/kernel"]
        if kind == "additive":
            hidden = np.tanh(query @ weights["decoder/attention/query/kernel"] + keys)
            fits = hidden @ weights["decoder/attention/score/kernel"][:, 0]
        else:
            fits = keys @ query
        return np.exp(fits) / np.exp(fits).sum()

    for token in target:
        x = weights["decoder/embedding/embeddings"][token]
        if kind == "additive":
            seen = look(h)
            context = seen @ memory
            h = gru_step(np.concatenate([x, context]), h, *decoder)
        else:
            h = gru_step(np.concatenate([x, fed]) if kind == "feeding" else x, h, *decoder)
            seen = look(h)
            context = seen @ memory
        fed = features = np.tanh(np.concatenate([context, h]) @ weights["decoder/combine/kernel"])
        if lexical:
            word = np.tanh(seen @ words)
            features = np.concatenate([fed, np.tanh(word @ weights["decoder/lexical/kernel"]) + word])
        scores.append(features @ weights["decoder/output/kernel"] + weights["decoder/output/bias"])

    features, _ = model(source[np.newaxis], tf.constant([4]), target[np.newaxis])
    np.testing.assert_allclose(model.decoder.scores(features)[0], scores, atol=1e-5)
