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
_MEMORY = ("memory", "keys", "summary", "mask")


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
    networks = model.networks()
    states = tuple(
        replace(spec, name=network.prefix + spec.name.replace("/", "_"))
        for network in networks
        for spec in specs
    )

    def encoder(given: Sequence[tf.Tensor], _: Sequence[tf.Tensor]) -> Results:
        memory, state = model.read(given[0], given[1])
        return [*memory, *state], []

    def step(given: Sequence[tf.Tensor], state: Sequence[tf.Tensor]) -> Results:
        tokens, *memory = given
        features, after, weights = model.write(tokens, Memory(*memory), tuple(state))
        return [model.scores(features)[:, 0], weights[:, 0]], list(after)

    width = len(networks) * model.encoder.width
    keys = len(networks) * model.decoder.stack.width if model.decoder.attends else width
    vocabulary = words.to_json() | {"max_tokens": most_tokens}
    metadata = {"vocabulary": json.dumps(vocabulary, ensure_ascii=False)}
    source = ExportedInput("tokens", (None, None), "int32", (0, model.source_size))
    lengths = ExportedInput("lengths", (None,), "int32", (1, 9))
    read = (
        ExportedInput("token", (None, 1), "int32", (0, model.target_size)),
        ExportedInput("memory", (None, None, width), "float32", axis="source"),
        ExportedInput("keys", (None, None, keys), "float32", axis="source"),
        ExportedInput("summary", (None, width), "float32"),
        ExportedInput("mask", (None, None), "bool", axis="source"),
    )
    names = (*_MEMORY, *(state.name for state in states))
    return (
        Exported("", (source, lengths), (), names, encoder, metadata),
        Exported("step", read, states, ("logits", "attention"), step, metadata),
    )
