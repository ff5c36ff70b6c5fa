"""Translates each line of standard input with a translator in ONNX, without TensorFlow and ostinato.

ostinato export runs/translate-001 model.onnx         # writes model.step.onnx, too
echo "I am tired." | python examples/onnx/translate.py model.onnx --beam 5
"""

import argparse
import math
import sys

import numpy as np
from texts import BOS, EOS, UNK, Side, opened, run


def search(step, memory, state, beam, limit):
    """The likeliest translation: finished ones stay in the beam, and all are compared by score."""
    held = [(0.0, [], False)]  # log-probability, ids, whether it has ended
    for at in range(1, limit + 1):
        last = np.array([[ids[-1] if ids else BOS] for _, ids, _ in held], np.int32)
        read = {name: np.repeat(part, len(held), axis=0) for name, part in memory.items()}
        logits, _, *after = run(step, {"token": last, **read, **state})
        logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        logs[:, [0, BOS, UNK]] = -np.inf
        found = [(*each, row) for row, each in enumerate(held) if each[2]]
        for row, (log, ids, ended) in enumerate(held):
            for token in (
                [] if ended else np.argsort(-logs[row], kind="stable")[:beam] if at < limit else [EOS]
            ):
                found.append((log + float(logs[row, token]), [*ids, int(token)], token == EOS, row))
        found = sorted(found, key=lambda each: -score(*each[:2]))[:beam]
        held = [each[:3] for each in found]
        state = {name: part[[each[3] for each in found]] for name, part in zip(state, after, strict=True)}
        best = score(*held[0][:2])
        if held[0][2] and all(ended or score(log, [0] * limit) <= best for log, _, ended in held):
            break
    return [token for token in held[0][1] if token != EOS]


def score(log, ids):
    return log / ((5 + len(ids)) / 6)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a file that ostinato exported")
    parser.add_argument(
        "--beam", type=int, default=5, help="size of the beam; 1 takes the likeliest each time"
    )
    options = parser.parse_args()
    (encoder, words), (step, _) = opened(options.model), opened(options.model[:-5] + ".step.onnx")
    source, target = Side(words["source"]), Side(words["target"])
    for text in sys.stdin.read().splitlines():
        ids = source.encode(text)[: words["max_tokens"]]
        if all(each == UNK for each in ids):
            print(text if ids else "")
            continue
        given = {"tokens": np.array([ids], np.int32), "lengths": np.array([len(ids)], np.int32)}
        names = [each.name for each in encoder.get_outputs()]
        state = dict(zip(names, run(encoder, given), strict=True))
        memory = {name: state.pop(name) for name in ("memory", "keys", "summary", "mask")}
        limit = math.ceil(len(ids) * words["growth"]) + 11
        print(target.decode(search(step, memory, state, options.beam, limit)))


if __name__ == "__main__":
    main()
