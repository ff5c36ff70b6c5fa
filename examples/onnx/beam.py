"""Beam search with a translator's decoder in ONNX."""

import numpy as np
from texts import BOS, EOS, UNK, run


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
