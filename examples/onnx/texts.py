"""Texts to ids and back, by the vocabulary in an exported file. Needs NumPy; for BPE tokenizers, too."""

import json
import re
import unicodedata
import zlib

import numpy as np
import onnxruntime

BOS, EOS, UNK = 1, 2, 3
PIECES = re.compile(r" ?\w+| ?[^\w\s]|\s")


def opened(path):
    """A session of ONNX Runtime, and the vocabulary in the file's metadata."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session, json.loads(session.get_modelmeta().custom_metadata_map["ostinato.vocabulary"])


def run(session, given) -> list[np.ndarray]:
    """The outputs of a session, in their order."""
    return [np.asarray(each) for each in session.run(None, given)]


class Encoder:
    """The encoder of a vocabulary: characters, bytes, words or BPE."""

    def __init__(self, data):
        self.kind, self.normalize = data["name"], data["normalize"]
        self.spaced = self.kind in ("word", "bpe")
        if self.kind == "bpe":
            from tokenizers import Tokenizer

            self.bpe = Tokenizer.from_str(json.dumps(data["tokenizer"]))
        self.names = data.get("symbols") or ["<unk>", *data.get("words", [])]
        self.ids = {name: number for number, name in enumerate(self.names)}

    def encode(self, text, unknown=None):
        """The ids of a text; what the alphabet lacks is left out, or becomes `unknown`."""
        if self.normalize != "none":
            text = text.lower() if self.normalize == "lower" else re.sub("[^a-z]+", " ", text.lower())
        if self.kind == "byte":
            return list(text.encode())
        if self.kind == "bpe":
            return self.bpe.encode(text).ids
        if self.kind == "word":
            return [self.ids.get(piece, 0) for piece in PIECES.findall(text)]
        found = [self.ids.get(symbol, unknown) for symbol in text]
        return [each for each in found if each is not None]

    def decode(self, ids):
        """The text of ids."""
        if self.kind == "byte":
            return bytes(ids).decode(errors="replace")
        return self.bpe.decode(ids) if self.kind == "bpe" else "".join(self.names[each] for each in ids)


class Side:
    """One side of a translator: sentences to ids from 3 or 4 on, and back."""

    def __init__(self, data):
        self.encoder, self.form, self.lower = Encoder(data["encoder"]), data["unicode"], data["lowercase"]
        self.first = UNK if self.encoder.kind == "word" else UNK + 1

    def encode(self, text):
        text = text if self.form == "none" else unicodedata.normalize(self.form.upper(), text)
        text = " ".join((text.lower() if self.lower else text).split())
        text = f" {text}" if self.encoder.spaced and text else text
        return [self.first + each for each in self.encoder.encode(text, unknown=-1)]

    def decode(self, ids):
        return self.encoder.decode([each - self.first for each in ids]).strip()


def _mixed(number):
    """SplitMix64's finaliser."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


def grams(text, ngrams):
    """The ids of a text's n-grams: words and pairs of words, and characters within words."""
    text, found, spaced = text.lower(), set(), ngrams["spaced"]
    words = [zlib.crc32(word.encode()) for word in re.findall(r"\w+|[^\w\s]", text)] if spaced else []
    around = [" " if spaced and symbol.isspace() else symbol for symbol in f" {text} "]
    for codes, kind, sizes in ((words, 0, (1, 2)), (list(map(ord, around)), 1, (2, 5) if spaced else (1, 4))):
        for start in range(len(codes)):
            number = _mixed(codes[start] + 2 ** (40 + kind))
            for size in range(1, 1 + min(sizes[1], len(codes) - start)):
                if size > 1:
                    number = _mixed((number * 0x9E3779B97F4A7C15 + codes[start + size - 1]) % 2**64)
                part = around[start : start + size]
                if kind and spaced and (" " in part[1:-1] or set(part) == {" "}):
                    continue
                if size >= sizes[0]:
                    found.add(number >> 33 | kind << 31)
    known = {number: place + 1 for place, number in enumerate(ngrams["hashes"])}
    return sorted(known[number] for number in found if number in known)
