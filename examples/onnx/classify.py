"""Classifies each line of standard input with a classifier in ONNX, without TensorFlow and ostinato.

    ostinato export runs/classify-001 model.onnx
    echo "A wonderful film." | python examples/onnx/classify.py model.onnx

Prints the label and its probability; of several labels all that are likelier than their thresholds.
"""

import argparse
import sys

import numpy as np
from texts import Encoder, grams, opened, run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a file that ostinato exported")
    session, words = opened(parser.parse_args().model)
    encoder, labels, most = Encoder(words["encoder"]), words["labels"], words["max_tokens"]
    for text in sys.stdin.read().splitlines():
        text = f" {text.strip()}" if encoder.spaced and text.strip() else text
        ids = [1 + each for each in encoder.encode(text)]  # 0 is padding
        read = ids[-most:] if words["truncation"] == "pre" else ids[:most]
        given: dict[str, object] = {"tokens": read}
        if words["masked"]:
            given["lengths"] = len(read)
        else:
            padding = [0] * (most - len(read))
            given["tokens"] = padding + read if words["padding"] == "pre" else read + padding
        if "ngrams" in words:
            given["grams"] = grams(text, words["ngrams"]) or [0]
        arrays = {name: np.array([value], np.int32) for name, value in given.items()}
        found = np.array(words["prior"]) if not ids else run(session, arrays)[0][0]
        if words["several"]:
            limits = words["thresholds"] or [0.5] * len(labels)
            chosen = np.flatnonzero(found >= limits)
            print(*(f"{labels[each]} {found[each]:.4f}" for each in chosen), sep=", ")
        else:
            print(labels[found.argmax()], f"{found.max():.4f}")


if __name__ == "__main__":
    main()
