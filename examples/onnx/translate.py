"""Translates each line of standard input with a translator in ONNX, without TensorFlow and ostinato.

ostinato export runs/translate-001 model.onnx         # writes model.step.onnx, too
echo "I am tired." | python examples/onnx/translate.py model.onnx --beam 5
"""

import argparse
import math
import sys

import numpy as np
from beam import search
from texts import UNK, Side, opened, run

MEMORY = ("memory", "keys", "summary", "words", "mask")
"""What every step reads of the encoder's results, where the file has it; the others are states."""


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
        memory = {name: state.pop(name) for name in MEMORY if name in state}
        limit = math.ceil(len(ids) * words["growth"]) + 11
        print(target.decode(search(step, memory, state, options.beam, limit)))


if __name__ == "__main__":
    main()
