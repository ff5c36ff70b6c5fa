"""Continues each line of standard input with a language model in ONNX, without TensorFlow and ostinato.

    ostinato export runs/lm-001 model.onnx
    echo "ROMEO:" | python examples/onnx/language_model.py model.onnx --length 200

It takes the likeliest token at each step. Line breaks are printed as \\n.
"""

import argparse
import sys

import numpy as np
from texts import Encoder, opened, run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a file that ostinato exported")
    parser.add_argument("--length", type=int, default=200, help="tokens to write")
    parser.add_argument("--ids", action="store_true", help="print the ids instead")
    options = parser.parse_args()
    session, vocabulary = opened(options.model)
    lines = "lines" in vocabulary
    encoder = Encoder(vocabulary["encoder"] if lines else vocabulary)
    states = [each for each in session.get_inputs() if each.name != "tokens"]
    for prompt in sys.stdin.read().splitlines():
        ids = encoder.encode(prompt)
        read = [vocabulary["start"], *ids] if lines or not ids else ids
        state = {each.name: np.zeros((1, *each.shape[1:]), np.float32) for each in states}
        written = []
        while len(written) < options.length and (not written or written[-1] != vocabulary["end"]):
            logits, *after = run(session, {"tokens": np.array([read], np.int32), **state})
            state = dict(zip(state, after, strict=True))
            written.append(int(logits[0, -1].argmax()))
            read = written[-1:]
        if options.ids:
            print(*written)
            continue
        if written and written[-1] == vocabulary["end"]:
            written.pop()
        print((prompt + encoder.decode(written)).replace("\n", "\\n"))


if __name__ == "__main__":
    main()
