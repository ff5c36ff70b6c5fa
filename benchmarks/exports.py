"""Exported files in ONNX Runtime: how fast beside Keras' own, and what eight bits cost a language model.

    python benchmarks/exports.py                                # speed, a minute
    python benchmarks/exports.py --run RUN --text FILE  # and bits per token with weights of eight bits

Times are medians of interleaved rounds on one thread, in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from comparison.machine import cpuinfo, processor, processor_slug

RESULTS = Path(__file__).parent / "results"
SHAPES = (
    ("GRU", 1, 200, 64, 128),
    ("LSTM", 1, 200, 64, 128),
    ("SimpleRNN", 1, 200, 64, 128),
    ("GRU", 8, 50, 32, 64),
)
_BATCH, _TIME = 16, 500


def session_of(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def speed(rounds: int) -> list[dict[str, Any]]:
    """Milliseconds of ostinato's and of Keras' export of one layer."""
    import keras

    import ostinato

    rows = []
    for cell, batch, steps, features, units in SHAPES:
        model = keras.Sequential(
            [keras.Input((None, features)), getattr(keras.layers, cell)(units, return_sequences=True)]
        )
        x = np.random.default_rng(0).normal(size=(batch, steps, features)).astype(np.float32)
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = Path(folder) / "ours.onnx", Path(folder) / "theirs.onnx"
            ostinato.export(model, ours)
            model.export(str(theirs), format="onnx", verbose=False)
            sessions = {"ostinato": session_of(ours), "keras": session_of(theirs)}
        runs = {name: [] for name in sessions}
        outputs = {}
        for _ in range(rounds):
            for name, session in sessions.items():
                given = {session.get_inputs()[0].name: x}
                began = time.perf_counter()
                (outputs[name],) = session.run(None, given)
                runs[name].append(time.perf_counter() - began)
        np.testing.assert_allclose(outputs["ostinato"], outputs["keras"], atol=1e-4)
        ms = {name: 1e3 * float(np.median(each)) for name, each in runs.items()}
        row = {
            "layer": f"{cell} {batch}x{steps}x{features}->{units}",
            **ms,
            "ratio": ms["keras"] / ms["ostinato"],
        }
        rows.append(row)
        times = "  ".join(f"{name} {value:7.2f} ms" for name, value in ms.items())
        print(f"{row['layer']:28} {times}  {row['ratio']:.1f} x")
    return rows


def cost_of_eight_bits(run: str, text: Path) -> dict[str, Any]:
    """Nats per token of a language model's files over the last tenth of a text, and their sizes."""
    import ostinato

    opened = ostinato.load(run)
    data = text.read_text()
    ids = opened.use._words.encoder.encode(data[len(data) * 9 // 10 :]).astype(np.int32)
    rows = len(ids) // _TIME // _BATCH * _BATCH
    ids = ids[: rows * _TIME + 1]
    found: dict[str, Any] = {}
    for name, quantize in (("float32", None), ("int8-weights", "int8-weights"), ("int8", "int8")):
        with tempfile.TemporaryDirectory() as folder:
            report = ostinato.export(run, Path(folder) / "lm.onnx", quantize=quantize)
            session = session_of(Path(folder) / "lm.onnx")
        inputs = ids[:-1].reshape(_BATCH, -1, _TIME).transpose(1, 0, 2)
        targets = ids[1:].reshape(_BATCH, -1, _TIME).transpose(1, 0, 2)
        state = {
            each.name: np.zeros((_BATCH, *each.shape[1:]), np.float32)
            for each in session.get_inputs()
            if each.name != "tokens"
        }
        nats = []
        for tokens, wanted in zip(inputs, targets, strict=True):
            logits, *after = session.run(None, {"tokens": tokens, **state})
            state = dict(zip(state, after, strict=True))
            logits = logits.astype(np.float64)
            logits -= logits.max(-1, keepdims=True)
            right = np.take_along_axis(logits, wanted[..., None], -1)[..., 0]
            nats.append(np.mean(np.log(np.exp(logits).sum(-1)) - right))
        found[name] = {"bits": float(np.mean(nats) / np.log(2)), "bytes": report.bytes}
        print(f"{name:14} {found[name]['bits']:.4f} bits per token, {report.bytes:,} bytes")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--run", help="the folder of a language model")
    parser.add_argument("--text", type=Path, help="its text; the last tenth is read")
    parser.add_argument("--out", type=Path, default=RESULTS / f"exports-{processor_slug(cpuinfo())}.json")
    options = parser.parse_args()
    results: dict[str, Any] = {"processor": processor(), "speed": speed(options.rounds)}
    if options.run:
        results["eight_bits"] = cost_of_eight_bits(options.run, options.text)
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
