"""The registry: names without heavy imports, and an encoder that is nothing but a class and an entry."""

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from ostinato.data.encoders import registry
from ostinato.data.encoders.base import Encoder, check
from ostinato.data.examples.labelled import prepare_examples
from ostinato.data.examples.pairs import prepare_pairs
from ostinato.data.sources.corpora import open_text
from ostinato.data.sources.pairs import open_pairs
from ostinato.data.sources.tables import open_table
from ostinato.data.store.tokens import prepare_tokens
from ostinato.errors import ConfigError


@dataclass(frozen=True)
class CaseEncoder(Encoder):
    """Only tells capitals from other characters: ids 1 and 0."""

    normalize: str = "none"
    name = "case"
    size, start, symbols = 2, 0, ["a", "A"]

    @classmethod
    def fit(cls, corpus, normalize, *, min_count, vocabulary_size):
        return cls(normalize)

    @classmethod
    def from_json(cls, data):
        return cls(check(data, {"name", "normalize"}))

    def to_json(self):
        return {"name": self.name, "normalize": self.normalize}

    def decode(self, ids):
        return "".join(self.symbols[i] for i in ids)

    def encode_chunks(self, corpus):
        return map(self._encode, corpus.chunks())

    def _encode(self, text, strict=False):
        return np.array([symbol.isupper() for symbol in text], self.dtype)

    def _lengths(self):
        return [1.0, 1.0]


@pytest.fixture
def case(monkeypatch):
    monkeypatch.setitem(registry.CLASSES, "case", CaseEncoder)


def test_the_names_are_in_their_order():
    assert registry.ENCODERS == ("char", "byte", "word", "bpe", "word_bpe")
    assert [registry.CLASSES[name].name for name in registry.ENCODERS] == list(registry.ENCODERS)


def test_a_name_is_checked_with_a_hint():
    for name in registry.ENCODERS:
        assert registry.check_encoder(name) == name
    with pytest.raises(
        ConfigError, match=r"one of char, byte, word, bpe, word_bpe, got 'subword'; did you mean 'bpe'"
    ):
        registry.check_encoder("subword")


def test_checking_a_name_imports_no_heavy_package():
    code = (
        "import sys; from ostinato.data.encoders.registry import check_encoder; check_encoder('bpe'); "
        "assert not {'tokenizers', 'tensorflow', 'keras'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.usefixtures("case", "cache")
def test_an_encoder_needs_a_class_and_an_entry_only():
    tokens = prepare_tokens(open_text("aBc DE"), name="case")
    assert tokens.ids.tolist() == [0, 1, 0, 0, 1, 1]
    assert registry.encoder_from_json(tokens.encoder.to_json()) == tokens.encoder == CaseEncoder()
    assert prepare_tokens(open_text("aBc DE"), encoder=tokens.encoder).ids.tolist() == tokens.ids.tolist()

    examples = prepare_examples(open_table([("Good", "yes"), ("bad", "no")]), "case")
    assert [examples.tokens(i).tolist() for i in range(2)] == [[1, 0, 0, 0], [0, 0, 0]]

    pairs = prepare_pairs(open_pairs([("Good day", "Tag")]), source_encoder="case", target_encoder="case")
    assert pairs.source(0).tolist() == [5, 4, 4, 4, 4, 4, 4, 4]
    assert pairs.source_sentences.decode(pairs.target(0)) == "Aaa"
