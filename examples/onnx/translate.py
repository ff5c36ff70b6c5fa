"""Translates each line of standard input with a translator in ONNX, without TensorFlow and ostinato.

ostinato export runs/translate-001 model.onnx         # writes model.step.onnx, too
echo "I am tired." | python examples/onnx/translate.py model.onnx --beam 5
"""

import argparse
import math
import sys
import unicodedata

import numpy as np
from texts import Encoder, opened

BOS, EOS, UNK = 1, 2, 3


def encoded(side, text):
    encoder, form = Encoder(side["encoder"]), side["unicode"]
    text = text if form == "none" else unicodedata.normalize(form.upper(), text)
    text = " ".join((text.lower() if side["lowercase"] else text).split())
    first = UNK if encoder.kind == "word" else UNK + 1
    return [
        first + each for each in encoder.encode(f" {text}" if encoder.spaced and text else text, unknown=-1)
    ]


def decoded(side, ids):
    encoder = Encoder(side["encoder"])
    first = UNK if encoder.kind == "word" else UNK + 1
    return encoder.decode([each - first for each in ids]).strip()


def search(step, memory, state, beam, limit):
    """The likeliest translation: finished ones stay in the beam, and all are compared by score."""
    held = [(0.0, [], False)]  # log-probability, ids, whether it has ended
    score = lambda log, ids: log / ((5 + len(ids)) / 6)  # noqa: E731
    for at in range(limit):
        last = np.array([[ids[-1] if ids else BOS] for _, ids, _ in held], np.int32)
        (logits, _, *after) = step.run(None, {"token": last, **repeated(memory, len(held)), **state})
        logits = logits - logits.max(-1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        logs[:, [0, BOS, UNK]] = -np.inf
        if at + 1 == limit:
            logs[:, np.arange(logs.shape[1]) != EOS] = -np.inf
        found = [(log, ids, True, row) for row, (log, ids, ended) in enumerate(held) if ended]
        for row in (row for row, (_, _, ended) in enumerate(held) if not ended):
            for token in np.argsort(-logs[row], kind="stable")[:beam]:
                log = held[row][0] + float(logs[row, token])
                found.append((log, [*held[row][1], int(token)], token == EOS, row))
        best = sorted(found, key=lambda each: -score(*each[:2]))[:beam]
        held = [each[:3] for each in best]
        state = dict(zip(state, (part[[each[3] for each in best]] for part in after), strict=True))
        if held[0][2] and all(
            ended or score(log, [0] * limit) <= score(*held[0][:2]) for log, _, ended in held
        ):
            break
    return [token for token in max(held, key=lambda each: score(*each[:2]))[1] if token != EOS]


def repeated(memory, rows):
    return {name: np.repeat(part, rows, axis=0) for name, part in memory.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a file that ostinato exported")
    parser.add_argument(
        "--beam", type=int, default=5, help="size of the beam; 1 takes the likeliest at each step"
    )
    options = parser.parse_args()
    encoder, words = opened(options.model)
    step, _ = opened(options.model.removesuffix(".onnx") + ".step.onnx")
    names = [each.name for each in encoder.get_outputs()]
    for text in sys.stdin.read().splitlines():
        ids = encoded(words["source"], text)[: words["max_tokens"]]
        if not any(each != UNK for each in ids):
            print(text if ids else "")
            continue
        given = {"tokens": np.array([ids], np.int32), "lengths": np.array([len(ids)], np.int32)}
        read = dict(zip(names, encoder.run(None, given), strict=True))
        memory = {name: read.pop(name) for name in ("memory", "keys", "summary", "mask")}
        limit = math.ceil(len(ids) * words["growth"]) + 11
        print(decoded(words["target"], search(step, memory, read, options.beam, limit)))


if __name__ == "__main__":
    main()
