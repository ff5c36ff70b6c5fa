"""The translator's network for other programs: the encoder, and a step of the decoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import tensorflow as tf

from ostinato.cells.base import StateSpec
from ostinato.tasks.exported import Exported, ExportedInput
from ostinato.tasks.translator.data import TranslatorVocabulary
from ostinato.tasks.translator.decoder import Memory
from ostinato.tasks.translator.network import RecurrentTranslator

Results = tuple[list[tf.Tensor], list[tf.Tensor]]


def exported(
    model: RecurrentTranslator, words: TranslatorVocabulary, most_tokens: int
) -> tuple[Exported, ...]:
    """The encoder, and the part "step".

    The encoder gives the memory and the first state, whose names are those of the inputs of a step. A step
    reads one token of each translation, and gives the scores of the next, the weights of the attention and
    the next state.

    Args:
        model: the network.
        words: its vocabulary.
        most_tokens: of a source.
    """
    specs = [*model.decoder.stack.states]
    if model.config.input_feeding:
        specs.append(StateSpec("fed", (model.config.features,)))
    networks, memorized = model.networks(), _memorized(model)
    states = tuple(
        replace(spec, name=network.prefix + spec.name.replace("/", "_"))
        for network in networks
        for spec in specs
    )

    def encoder(given: Sequence[tf.Tensor], _: Sequence[tf.Tensor]) -> Results:
        memory, state = model.read(given[0], given[1])
        return [*(getattr(memory, field) for field in memorized), *state], []

    def step(given: Sequence[tf.Tensor], state: Sequence[tf.Tensor]) -> Results:
        tokens, *parts = given
        fields = dict(zip(memorized, parts, strict=True))
        memory = Memory(**({"words": fields["outputs"][:, :, :0]} | fields))
        features, after, weights = model.write(tokens, memory, tuple(state))
        return [model.scores(features)[:, 0], weights[:, 0]], list(after)

    vocabulary = words.to_json() | {"max_tokens": most_tokens}
    metadata = {"vocabulary": json.dumps(vocabulary, ensure_ascii=False)}
    source = ExportedInput("tokens", (None, None), "int32", (0, model.source_size))
    lengths = ExportedInput("lengths", (None,), "int32", (1, 9))
    token = ExportedInput("token", (None, 1), "int32", (0, model.target_size))
    names = (*(part.name for part in memorized.values()), *(state.name for state in states))
    return (
        Exported("", (source, lengths), (), names, encoder, metadata),
        Exported("step", (token, *memorized.values()), states, ("logits", "attention"), step, metadata),
    )


def _memorized(model: RecurrentTranslator) -> dict[str, ExportedInput]:
    """What a step reads of the encoder's results, by the fields of `Memory`, in their order."""
    config, count = model.config, len(model.networks())
    width = count * model.encoder.width
    keys = count * model.decoder.stack.width if model.decoder.attends else width
    read = {
        "outputs": ExportedInput("memory", (None, None, width), "float32", axis="source"),
        "keys": ExportedInput("keys", (None, None, keys), "float32", axis="source"),
        "summary": ExportedInput("summary", (None, width), "float32"),
    }
    if config.lexical:
        size = count * config.embedding
        read["words"] = ExportedInput("words", (None, None, size), "float32", axis="source")
    return read | {"mask": ExportedInput("mask", (None, None), "bool", axis="source")}
