"""The translator beside the same network in plain Keras: learning, where its time goes, and translating.

    python benchmarks/translation.py PAIRS.tsv                 # some minutes
    python benchmarks/translation.py PAIRS.tsv --only translating --run runs/translate-001

`training` is target tokens a second of ostinato's training step, and of the same network in Keras' layers, on
the same batches of one shuffled epoch and from equal weights; both must first find the same loss and
gradients, without dropout. The plain one is what somebody at home with Keras writes: `mask_zero` on the
source's embedding, `keras.layers.Attention`, Adam with `global_clipnorm`, one `tf.function` for all sizes of
batches. It computes the logits of every position of a padded batch and weights its loss by the mask. The
decoder's layers need no mask, as the loss leaves out what they make of padding, and get none.

`shares` times the parts of ostinato's training step, each a compiled function of what the step gives it,
forward and backward, in turn with the whole step. The recurrence has the dropout between and within its
layers, the logits have the softmax and the loss, the optimizer has the norm and the clipping. The rest is
what is left: embeddings and their gradients, other dropout, the bridge, the call from Python.

`translating` is sentences a second of `predict` on the sources of the validation part, tokenising included. A
run trained for some minutes may write other lengths than one trained to its end, which `--run` names.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import truediv
from pathlib import Path
from typing import Any, NamedTuple

from comparison.machine import THREADS, environment, processor
from comparison.tables import check, check_table, report
from comparison.tensorflow_peer import TensorFlowPeer
from keras_fit import RESULTS, in_turn
from peers import versions

os.environ.update(environment("ostinato"))

import keras
import numpy as np
import tensorflow as tf

import ostinato
from ostinato.data.examples.pairs import prepare_pairs
from ostinato.data.examples.sentences import PAD
from ostinato.decoding.beam import Beam
from ostinato.layers.dropout import DropoutKey
from ostinato.runs import weights
from ostinato.tasks.base import Json
from ostinato.tasks.translator import RecurrentTranslator, Translator, TranslatorConfig
from ostinato.tasks.translator.data import TranslatorVocabulary, open_source, signature
from ostinato.training.optimizers import Optimizer
from ostinato.training.recipes import read_recipe
from ostinato.training.run import train
from ostinato.training.step import as_tensors, make_train_step

Tensors = dict[str, tf.Tensor]
ZERO: Any = tf.constant(0)
BATCHES, SHORT_TRAINING_MINUTES = 20, 3.0
WANTED_RATIOS = {"default": 1.3, "textbook": 1.5}
WANTED_SENTENCES = {1: 500, 5: 100}


class PlainKeras(keras.Model):
    """The network of a recipe, from Keras' layers. Raises SystemExit for settings that it lacks."""

    def __init__(self, config: TranslatorConfig, source_size: int, target_size: int):
        super().__init__()
        lacking = ("tied", "joint_vocabulary", "input_feeding", "lexical", "scheduled_sampling")
        more = config.attention == "additive" or config.seeds > 1
        if more or any(getattr(config, name) for name in lacking):
            raise SystemExit(f"the plain network has no {', '.join(lacking)}, seeds or additive attention")
        layers: Any = keras.layers
        self.config, self.target_size = config, target_size
        self.embed_source = layers.Embedding(source_size, config.embedding, mask_zero=True)
        self.readers = [self._recurrent(units, config.bidirectional) for units in config.units]
        parts = (2 if config.cell == "lstm" else 1) if config.bridged == "dense" else 0
        sizes = [units for units in config.decoder_sizes for _ in range(parts)]
        self.bridges = [layers.Dense(units, activation="tanh") for units in sizes]
        self.embed_target = layers.Embedding(target_size, config.embedding)
        self.writers = [self._recurrent(units) for units in config.decoder_sizes]
        if config.attention != "none":
            self.project = layers.Dense(config.decoder_sizes[-1], use_bias=False)
            self.attend = layers.Attention()
            self.combine = layers.Dense(config.features, activation="tanh", use_bias=False)
        self.output_layer = layers.Dense(target_size)
        self.drop_words = layers.Dropout(config.word_dropout, noise_shape=(None, None, 1))
        self.drop_entries = layers.Dropout(config.embedding_dropout)
        self.drop_between = layers.Dropout(config.dropout)
        last = config.dropout if config.output_dropout is None else config.output_dropout
        self.drop_features = layers.Dropout(last)

    def _recurrent(self, units: int, bidirectional: bool = False) -> Any:
        config, layers = self.config, {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
        options: Any = {"return_sequences": True, "return_state": True}
        options |= {"reset_after": config.reset_after} if config.cell == "gru" else {}
        layer = layers[config.cell](units, recurrent_dropout=config.recurrent_dropout, **options)
        return keras.layers.Bidirectional(layer) if bidirectional else layer

    def call(self, source: tf.Tensor, given: tf.Tensor, training: bool = False) -> Any:
        """Logits of the tokens after those given, shape (batch, time, vocabulary)."""
        x, mask, states = self.embed_source(source), self.embed_source.compute_mask(source), []
        x = self.drop_entries(self.drop_words(x, training=training), training=training)
        for depth, reader in enumerate(self.readers):
            x = self.drop_between(x, training=training) if depth else x
            x, *ended = reader(x, mask=mask, training=training)
            parts = len(ended) // (2 if self.config.bidirectional else 1)
            states.append([tf.concat(ended[part::parts], axis=-1) for part in range(parts)])
        y = self.drop_words(self.embed_target(given), training=training)
        y = self.drop_entries(y, training=training)
        if self.config.attention == "none":
            summary = tf.repeat(states[-1][0][:, tf.newaxis], tf.shape(given)[1], axis=1)
            y = tf.concat([y, summary], axis=-1)
        bridges = iter(self.bridges)
        for depth, (writer, state) in enumerate(zip(self.writers, states[-len(self.writers) :], strict=True)):
            y = self.drop_between(y, training=training) if depth else y
            state = [next(bridges)(part) for part in state] if self.bridges else state
            y, *_ = writer(y, initial_state=state, training=training)
        if self.config.attention != "none":
            context = self.attend([y, x, self.project(x)], mask=[None, mask])
            y = self.combine(tf.concat([context, y], axis=-1))
        return self.output_layer(self.drop_features(y, training=training))

    def loss_of(self, batch: Tensors) -> Any:
        """In training: the mean over the target tokens that are there."""
        given, nexts, losses = batch["target"][:, :-1], batch["target"][:, 1:], keras.losses
        logits, spread = self(batch["source"], given, training=True), self.config.label_smoothing
        if spread:
            wanted = tf.one_hot(nexts, self.target_size)
            nats = losses.categorical_crossentropy(wanted, logits, from_logits=True, label_smoothing=spread)
        else:
            nats = losses.sparse_categorical_crossentropy(nexts, logits, from_logits=True)
        there: Any = tf.cast(nexts != PAD, tf.float32)
        return tf.reduce_sum(nats * there) / tf.reduce_sum(there)

    def parameters(self) -> list[Any]:
        """Its variables, in the order of ostinato's `trainable_variables`."""
        readers = self.readers
        if self.config.bidirectional:
            readers = [*(each.forward_layer for each in readers), *(each.backward_layer for each in readers)]
        attending = [self.project, self.combine] if self.config.attention != "none" else []
        decoder = [self.embed_target, *self.writers, *attending, self.output_layer]
        layers = [*readers, *decoder, self.embed_source, *self.bridges]
        return [variable for layer in layers for variable in layer.trainable_variables]


def plain_copy(model: RecurrentTranslator, batch: Tensors) -> PlainKeras:
    """The plain network with the weights of ostinato's; the batch is what it is built with."""
    plain = PlainKeras(model.config, model.source_size, model.target_size)
    plain.loss_of(batch)
    for ours, theirs in zip(model.trainable_variables, plain.parameters(), strict=True):
        theirs.assign(ours)
    return plain


class Prepared(NamedTuple):
    """What a recipe trains.

    Attributes:
        task: of the recipe.
        vocabulary: of the pairs.
        training: how it is trained.
        batches: the first ones of an epoch.
    """

    task: Translator
    vocabulary: Json
    training: ostinato.TrainingConfig
    batches: list[Tensors]

    def model(self) -> RecurrentTranslator:
        """The network, which has the same weights every time."""
        return self.task.build(self.vocabulary)


def same_function(given: Prepared, title: str) -> None:
    """Sees that both find the same loss and gradients without dropout; SystemExit if they do not."""
    rates = [name for name in TranslatorConfig.model_fields if name.endswith("dropout")]
    undropped = Translator(given.task.config.model_copy(update=dict.fromkeys(rates, 0.0)))
    model, batch = undropped.build(given.vocabulary), given.batches[0]
    plain = plain_copy(model, batch)
    networks = (
        (lambda: truediv(*undropped.loss(model, batch, (), step=ZERO)[:2]), model.trainable_variables),
        (lambda: plain.loss_of(batch), plain.parameters()),
    )
    check_alike(networks, title)


def check_alike(networks: Sequence[tuple[Callable[[], Any], Any]], title: str) -> None:
    """Compares losses and gradients of two functions and their variables. SystemExit if they differ."""
    found = []
    for loss_of, variables in networks:
        with tf.GradientTape() as tape:
            loss = loss_of()
        norms = [tf.norm(tf.convert_to_tensor(each)) for each in tape.gradient(loss, variables)]
        found.append([float(each) for each in (loss, *norms)])
    if not np.allclose(*found, rtol=1e-3, atol=1e-6):
        raise SystemExit(f"{title}: loss and norms of gradients are {found[0]}, but with Keras {found[1]}")


def prepared(source: str, name: str) -> Prepared:
    """What a recipe trains on these pairs."""
    report(f"{name}: reading the pairs and compiling")
    recipe = read_recipe("translator", name)
    task = Translator(TranslatorConfig(**recipe.task))
    data = task.read(open_source(source))
    part = data.part("train")
    assert part is not None
    batches = [as_tensors(batch) for batch in islice(part.batches(epoch=0), BATCHES)]
    return Prepared(task, data.vocabulary, ostinato.TrainingConfig(**recipe.training), batches)


def ours_step(task: Translator, model: Any, config: ostinato.TrainingConfig) -> Callable[..., float]:
    """Learns from a batch as `ostinato.train` does."""
    optimizer = Optimizer(config, weights.names(model, model.trainable_variables), model.trainable_variables)
    step = make_train_step(task, model, signature(), optimizer)
    rate, no_signals = tf.constant(config.learning_rate, tf.float32), tf.zeros(4)
    return lambda batch, number: float(step((batch,), ((),), tf.constant(number), rate, no_signals).loss)


def keras_step(model: PlainKeras, config: ostinato.TrainingConfig) -> Callable[..., float]:
    """Learns from a batch as the guides of Keras do."""
    options = {"learning_rate": config.learning_rate, "global_clipnorm": config.clip}
    options |= {"weight_decay": config.weight_decay} if config.optimizer == "adamw" else {}
    optimizer: Any = keras.optimizers.get({"class_name": config.optimizer, "config": options})

    @tf.function(input_signature=[signature()])
    def step(batch):
        with tf.GradientTape() as tape:
            loss = model.loss_of(batch)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return lambda batch, number: float(step(batch))


def turn(call: Callable[..., Any], given: list[Any]) -> Callable[[], float]:
    """Runs a function of (what is given, its number) over a list; the seconds a call. The first is over."""

    def run() -> float:
        began = time.perf_counter()
        for number, each in enumerate(given):
            call(each, number)
        return (time.perf_counter() - began) / len(given)

    call(given[0], 0)
    return run


def training(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Target tokens a second of both."""
    for name in options.recipes:
        given = prepared(options.source, name)
        task, _, config, batches = given
        same_function(given, name)
        model = given.model()
        turns = {
            "ostinato": turn(ours_step(task, model, config), batches),
            "Keras": turn(keras_step(plain_copy(model, batches[0]), config), batches),
        }
        ms = in_turn(turns, options.rounds, f"{name}: training")
        tokens = float(np.concatenate([batch["target_lengths"] - 1 for batch in batches]).sum())
        positions = sum(int(tf.size(batch["target"][:, 1:])) for batch in batches)
        rates = {each: 1e3 * tokens / len(batches) / time for each, time in ms.items()}
        padding, ratio, least = 1 - tokens / positions, ms["Keras"] / ms["ostinato"], WANTED_RATIOS[name]
        yield check(f"{name}: padding of the targets", {"share": 100 * padding}, "%", None, "")
        yield check(f"{name}: training", rates, "target tokens/s", None, "")
        yield check(f"{name}: ostinato over Keras", {"ratio": ratio}, "×", ratio >= least, f"≥ {least:g} ×")


def shares(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """What the parts of ostinato's training step take of it."""
    for name in options.recipes:
        given = prepared(options.source, name)
        task, _, config, batches = given
        model = given.model()
        turns = part_turns(task, model, config, batches)
        turns["step"] = turn(ours_step(task, model, config), batches)
        ms = in_turn(turns, options.rounds, f"{name}: parts of a step")
        step = ms.pop("step")
        parts = {"recurrence": ms.pop("encoder") + ms.pop("decoder"), **ms}
        parts["rest"] = step - sum(parts.values())
        share = {each: 100 * time / step for each, time in parts.items()}
        yield check(f"{name}: a training step of ostinato", {"step": step, **parts}, "ms", None, "")
        yield check(f"{name}: shares of it", share, "%", None, "")


def part_turns(
    task: Translator, model: RecurrentTranslator, config: ostinato.TrainingConfig, batches: list[Tensors]
) -> dict[str, Callable[[], float]]:
    """Turns of the parts, given on each batch what they are given in the step."""
    encoder, decoder, key = model.encoder, model.decoder, DropoutKey(ZERO, ZERO, ZERO)
    stack, read, wrote, attended, scored = decoder.stack, [], [], [], []
    for batch in batches:
        given = batch["target"][:, :-1]
        memory, state = model.read(batch["source"], batch["source_lengths"])
        x: Any = decoder.embedding(given)
        if not decoder.attends:
            summary = tf.repeat(memory.summary[:, tf.newaxis], tf.shape(given)[1], axis=1)
            x = tf.concat([x, summary], axis=-1)
        read.append((model.source_embedding(batch["source"]), memory.mask))
        wrote.append((x, state))
        attended.append((stack(x, state)[0], memory.outputs, memory.mask))
        scored.append((decoder(given, memory, state)[0], batch))

    def attend(y: tf.Tensor, outputs: tf.Tensor, mask: tf.Tensor) -> Any:
        context, _ = decoder.attention(y, decoder.attention.keys(outputs), outputs, mask)
        return decoder.combine(tf.concat([context, y], axis=-1))

    def score(features: tf.Tensor, batch: Tensors) -> Any:
        network: Any = FeaturesGiven(decoder, features)
        return task.loss(network, batch, (), step=ZERO)[0]

    turns = {
        "encoder": both_passes(lambda x, mask: encoder(x, mask, key), [encoder], read),
        "decoder": both_passes(lambda x, state: stack(x, state, key), [stack], wrote),
        "logits": both_passes(score, [decoder.output_layer], scored),
        "optimizer": optimizer_turn(model, config),
    }
    if decoder.attends:
        turns["attention"] = both_passes(attend, [decoder.attention, decoder.combine], attended)
    return turns


class FeaturesGiven(NamedTuple):
    """Stands for a network in `Translator.loss`, which then is the logits and the loss alone."""

    decoder: Any
    features: tf.Tensor

    def __call__(self, *_: Any) -> tuple[tf.Tensor, None]:
        return self.features, None

    def scores_of_each(self, features: tf.Tensor) -> list[tf.Tensor]:
        return [self.decoder.scores(features)]


def both_passes(forward: Callable[..., Any], layers: list[Any], given: list[Any]) -> Callable[[], float]:
    """A turn of a compiled function's forward and backward pass, over a list of its arguments."""
    variables = [variable for layer in layers for variable in layer.trainable_variables]

    def specification(tensor: tf.Tensor) -> tf.TensorSpec:
        width = tensor.shape[-1:] if tensor.dtype.is_floating else ()
        return tf.TensorSpec((*[None] * (tensor.shape.rank - len(width)), *width), tensor.dtype)

    @tf.function(input_signature=tf.nest.map_structure(specification, given[0]))
    def run(*arguments):
        floating = [each for each in tf.nest.flatten(arguments) if each.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(floating)
            outputs = forward(*arguments)
        return tape.gradient(outputs, [*floating, *variables])

    return turn(lambda arguments, _: run(*arguments), given)


def optimizer_turn(model: RecurrentTranslator, config: ostinato.TrainingConfig) -> Callable[[], float]:
    """Clipping by the norm, and steps of the optimizer that move nothing: the learning rate is 0."""
    variables = model.trainable_variables
    optimizer = Optimizer(config, weights.names(model, variables), variables)

    @tf.function
    def run(gradients):
        clipped, _ = tf.clip_by_global_norm(gradients, config.clip or 1e9)
        optimizer.apply(clipped, tf.constant(0.0), ZERO)

    drawn = [tf.random.stateless_normal(each.shape, (0, 0)) for each in variables]
    return turn(lambda gradients, _: run(gradients), [drawn] * BATCHES)


def translating(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """Sentences a second of `predict`."""
    run = ostinato.load(options.run) if options.run else short_run(options, folder)
    texts = validation_sources(run, options.source)

    def translate(beam: Beam, _: int) -> None:
        run.predict(texts, beam=beam)

    turns = {str(size): turn(translate, [Beam(size=size)]) for size in WANTED_SENTENCES}
    ms = in_turn(turns, options.rounds, "translating")
    for size, least in WANTED_SENTENCES.items():
        title, rate = f"translating {len(texts):,} sentences, beam {size}", 1e3 * len(texts) / ms[str(size)]
        yield check(title, {"rate": rate}, "sentences/s", rate >= least, f"≥ {least}")


def short_run(options: argparse.Namespace, folder: Path) -> ostinato.TrainedRun:
    """A run of the first recipe, trained for some minutes."""
    report(f"{options.recipes[0]}: training for {SHORT_TRAINING_MINUTES:g} minutes")
    recipe = read_recipe("translator", options.recipes[0])
    settings = {**recipe.training, "epochs": None, "steps": None, "minutes": SHORT_TRAINING_MINUTES}
    training, out = ostinato.TrainingConfig(**settings), folder / "run"
    return train(TranslatorConfig(**recipe.task), options.source, training=training, out=out)


def validation_sources(run: ostinato.TrainedRun, source: str) -> list[str]:
    """The sentences to translate, as the run's settings divide the pairs."""
    words = TranslatorVocabulary.from_json(run.directory.vocabulary)
    config = TranslatorConfig(**run.directory.task_config)
    fractions = {name: getattr(config, name) for name in ("validation_fraction", "test_fraction")}
    examples = prepare_pairs(open_source(source), sentences=(words.source, words.target), **fractions)
    if not len(numbers := examples.part("validation").tolist()):
        raise SystemExit(f"the settings of {run.directory.path} keep no pairs for validation")
    return [examples.texts(number)[0] for number in numbers]


QUESTIONS = {"training": training, "shares": shares, "translating": translating}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the translator with a plain Keras one.")
    parser.add_argument("source", help="sentence pairs, one a line: source TAB target")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--recipes", nargs="+", choices=WANTED_RATIOS, default=list(WANTED_RATIOS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--run", type=Path, help="what translates; without it, one is trained shortly")
    parser.add_argument("--out", type=Path, default=RESULTS / "translation.json", metavar="FILE.json")
    options = parser.parse_args()
    checks: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OSTINATO_CACHE"] = str(Path(folder) / "cache")
        for name in options.only:
            checks[name] = list(QUESTIONS[name](options, Path(folder)))
    print(check_table([row for rows in checks.values() for row in rows]))
    machine, found = {"processor": processor(), "threads": THREADS}, versions(TensorFlowPeer.packages)
    results = {"machine": machine, "versions": found, "rounds": options.rounds, "checks": checks}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
