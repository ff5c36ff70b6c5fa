"""Translators that are trained on a few sentences, and what they translate, alone and among others."""

import math

import numpy as np
import pytest
import tensorflow as tf

import ostinato
from ostinato.data.sentences import BOS, EOS, PAD, UNK
from ostinato.decoding.beam import Beam
from ostinato.errors import ConfigError, RunError
from ostinato.runs import checkpoints
from ostinato.runs.directory import open_run
from ostinato.tasks.translator import Translator, TranslatorConfig
from ostinato.tasks.translator.translations import FREE_TOKENS
from ostinato.training.events import StepDone

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
TARGETS = dict(PAIRS)
WORDS = {"source_encoder": "word", "target_encoder": "word"}


def train(out, source=PAIRS, *, epochs=1, on_event=None, init_from=None, **changes):
    settings = {"units": 24, "embedding": 24, "batch": 8, "lowercase": "source", **WORDS}
    training = ostinato.TrainingConfig(
        epochs=epochs, learning_rate=changes.pop("learning_rate", 0.02), evaluations=1
    )
    config = TranslatorConfig(**(settings | changes))
    return ostinato.train(config, source, training=training, out=out, on_event=on_event, init_from=init_from)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run that has learned its sentences, and kept two parts of them for validation and testing."""
    folder = tmp_path_factory.mktemp("learned")
    (folder / "pairs.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_CACHE", str(folder / "cache"))
        parts = {"validation_fraction": 0.1, "test_fraction": 0.1}
        # Validation, on sentences with words that training does not have, would choose an early checkpoint.
        train(folder / "run", folder / "pairs.tsv", epochs=30, **parts)
    return ostinato.load(folder / "run", checkpoint="last")


def untrained(source=PAIRS, **changes):
    """A task, and its model with every weight drawn from a normal distribution."""
    settings = {"units": 5, "embedding": 4, "validation_fraction": 0.0, **WORDS}
    task = Translator(TranslatorConfig(**(settings | changes)))
    task.prepare(source)
    model = task.build()
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(tf.random.stateless_normal(weight.shape, seed=(1, number), stddev=0.5))
    return task, model


def words(text):
    """As a vocabulary of words writes a text."""
    return text.replace("'", " '").replace("-", " -")
