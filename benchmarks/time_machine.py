"""The textbook's language model, trained by `ostinato train` and by a PyTorch script that does the same.

    python benchmarks/time_machine.py ../shared/data/timemachine.txt                # 2 x 500 epochs of each
    python benchmarks/time_machine.py ../shared/data/timemachine.txt --epochs 50 --rounds 3

The job is the recipe `d2l` with an LSTM of 256 units: 10,000 letters of The Time Machine as one-hot vectors,
32 rows of 35 steps, state carried from batch to batch, SGD with learning rate 1, gradients clipped to norm 1.
The weights are drawn as in the textbook's models from scratch: from N(0, 0.01²), with zero biases. Both read
the same batches in the same order, and both look at the loss of every step. The seconds are those of
training: building, tracing and checkpoints count, imports and reading the text do not. The perplexity is that
of the training text over the last epoch. The two take turns, each time in a new process.

Source: Zhang et al., Dive into Deep Learning, chapters 9 and 10.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ostinato.data.batches.windows import train_batches
from ostinato.data.sources.corpora import open_corpus
from ostinato.data.store.tokens import prepare_tokens

UNITS, BATCH, SEQ_LEN, LETTERS, STDDEV, LEARNING_RATE, CLIP, SEED = 256, 32, 35, 10_000, 0.01, 1.0, 1.0, 0
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def train_with_torch(source: str, epochs: int) -> dict[str, float]:
    """What one would write by hand. PyTorch's second bias is kept out, since Keras' LSTM has one."""
    torch: Any = importlib.import_module("torch")  # no type checker needs to find it
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    tokens = prepare_tokens(open_corpus(source), name="char", normalize="letters")
    ids, symbols = tokens.ids[:LETTERS], tokens.encoder.size

    began = time.perf_counter()
    lstm = torch.nn.LSTM(symbols, UNITS, batch_first=True)
    output_layer = torch.nn.Linear(UNITS, symbols)
    for name, parameter in [*lstm.named_parameters(), *output_layer.named_parameters()]:
        torch.nn.init.zeros_(parameter) if "bias" in name else torch.nn.init.normal_(parameter, std=STDDEV)
    lstm.bias_hh_l0.requires_grad_(False)
    parameters = [p for p in (*lstm.parameters(), *output_layer.parameters()) if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=LEARNING_RATE)
    loss_sum, steps = 0.0, 0
    for epoch in range(epochs):
        state, loss_sum, steps = None, 0.0, 0
        batches = train_batches(
            ids, batch=BATCH, seq_len=SEQ_LEN, sampling="sequential", seed=SEED, epoch=epoch
        )
        for inputs, targets in batches:
            x = torch.nn.functional.one_hot(torch.from_numpy(inputs).long(), symbols).float()
            outputs, state = lstm(x, state)
            state = tuple(part.detach() for part in state)
            logits = output_layer(outputs).flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets).long().flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            loss_sum += loss.item()
            steps += 1
    return {"seconds": time.perf_counter() - began, "perplexity": math.exp(loss_sum / steps)}


def train_with_ostinato(source: str, epochs: int, engine: str, folder: Path) -> dict[str, float]:
    """The command that a user would type."""
    command = [sys.executable, "-c", "from ostinato.cli import main; main()", "train", "lm", source]
    settings = ["--recipe", "d2l", "--cell", "lstm", "--epochs", str(epochs), "--engine", engine]
    settings += ["--init-stddev", str(STDDEV), "--seed", str(SEED)]
    last = result_of([*command, *settings, "--out", str(folder / "run"), "--overwrite", "--json"])["train"]
    return {"seconds": last["seconds"], "perplexity": last["perplexity"]}


def result_of(command: list[str]) -> Any:
    """Runs a command that prints one JSON object on standard output."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(THREADS)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"training failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the textbook's language model here and in PyTorch.")
    parser.add_argument("source", nargs="?", default="timemachine", help="the text, or the name of a corpus")
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--engine", default="native", help="what runs ostinato's LSTM")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "results" / "time_machine.json",
        metavar="FILE.json",
    )
    parser.add_argument("--torch", action="store_true", help="only train with PyTorch, once, and print JSON")
    options = parser.parse_args()
    if options.torch:
        return print(json.dumps(train_with_torch(options.source, options.epochs)))
    rounds: dict[str, list[dict[str, float]]] = {"ostinato": [], "PyTorch": []}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OSTINATO_CACHE"] = str(Path(folder) / "cache")
        for _ in range(options.rounds):
            rounds["ostinato"].append(
                train_with_ostinato(options.source, options.epochs, options.engine, Path(folder))
            )
            command = [sys.executable, __file__, options.source, "--epochs", str(options.epochs), "--torch"]
            rounds["PyTorch"].append(result_of(command))
    seconds = {name: statistics.median(one["seconds"] for one in each) for name, each in rounds.items()}
    print("| trained by | seconds | each round | perplexity |\n|---|---:|---:|---:|")
    for name, each in rounds.items():
        shown = ", ".join(f"{one['seconds']:.1f}" for one in each)
        perplexity = statistics.median(one["perplexity"] for one in each)
        print(f"| {name} | {seconds[name]:.1f} | {shown} | {perplexity:.3f} |")
    ratio = seconds["PyTorch"] / seconds["ostinato"]
    print(f"\n{options.epochs} epochs, {THREADS} threads: ostinato is {ratio:.2f} times as fast as PyTorch.")
    wanted = {"seconds": 120, "perplexity": 1.15, "ratio": 1.0}
    if options.epochs == 500:
        print(f"Wanted: at most {wanted['seconds']} s, perplexity at most {wanted['perplexity']}, faster.")
    results = {"epochs": options.epochs, "engine": options.engine, "threads": THREADS, "rounds": rounds}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results | {"ratio": ratio, "wanted": wanted}, indent=2) + "\n")


if __name__ == "__main__":
    main()
