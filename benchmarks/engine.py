"""ostinato's recurrent layers beside those of Keras, PyTorch, JAX, ONNX Runtime and OpenVINO.

    python benchmarks/engine.py                                # ten layers, all peers, one thread and all
    python benchmarks/engine.py --against keras,torch --layers lstm-32x35x28-256 --rounds 3 --threads 1
    python benchmarks/engine.py --draws 1,2,3,4                # forty layers more, drawn at random
    python benchmarks/engine.py --layers --draws 5 --add       # only those, added to the last results
    python benchmarks/engine.py --checks                       # also twice the time, memory, steps, a model
    python benchmarks/engine.py --from-json FILE.json --plot FILE.png    # measures nothing: prints and draws

Each peer is a process that lives as long as it is measured (`benchmarks/peers.py`, which also says what is
timed). With fewer threads than cores it is held to as many cores. Of each layer the peers are measured in
turn, round after round, so that a noisy minute hits all alike; a turn is the median of what fits into 0.2 s,
and a figure is the median over the rounds. A peer that needs more than 3 s for a layer has fewer rounds, but
three calls at least. A ratio is a peer's figure divided by ostinato's: how many times faster ostinato is.
Beside the forward pass of a peer that is not TensorFlow's, ostinato's figure is that of
`ostinato.fast_predict`, which is not, either; beside all others it is that of a layer in a `tf.function`.
While it is not its turn a process is stopped, so that none of its threads can spin.

The peers are Keras on TensorFlow (`keras`), the same compiled by XLA (`keras-jit`), Keras on JAX
(`keras-jax`), `lax.scan` by hand (`jax-scan`), PyTorch as it comes (`torch`), an ONNX model of the layer in
ONNX Runtime (`onnxruntime`) and in OpenVINO (`openvino`), both forward only, and PyTorch with OpenMP threads
that sleep instead of spinning (`torch-passive`): many times slower on a quiet machine, but as many times
faster on one that others use too. Where torch's rounds differ much, the machine was not quiet.

Results go to `results/engine-PROCESSOR.json`, whole after each layer.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comparison import checks, pictures
from comparison.claims import FAST_PREDICT, claims, judge, notes_on_drawn, of, threads_named
from comparison.layers import LAYERS, MATMUL_SIZE, Layer, draw
from comparison.machine import THREADS, cpuinfo, processor, processor_slug, results_file
from comparison.tables import check_table, claim_line, table
from comparison.workers import PASSES, Job, Workers, medians
from peers import PEERS

RIVALS = tuple(name for name in PEERS if name not in ("ostinato", FAST_PREDICT, "old", "numpy"))
MATMUL, MATMUL_PEERS = Layer("rnn", 1, 1, 1, 1), ("ostinato", "torch", "numpy")


def matmul_gflops(workers: Workers, rounds: int) -> dict[str, float]:
    """The rate of each library's matrix product."""
    jobs = workers.prepare([Job(peer, "matmul", MATMUL) for peer in MATMUL_PEERS])
    ms = medians(workers.measure(jobs, rounds))
    workers.forget()
    names = {"ostinato": "tensorflow"}
    return {names.get(job.peer, job.peer): 2 * MATMUL_SIZE**3 / each / 1e6 for job, each in ms.items()}


def measure(workers: Workers, layer: Layer, rivals: Sequence[str], rounds: int) -> dict[Job, list[float]]:
    """Seconds of each peer at both passes of a layer."""
    jobs = [Job(peer, what, layer) for what in PASSES for peer in ("ostinato", FAST_PREDICT, *rivals)]
    seconds = workers.measure(workers.prepare(jobs), rounds)
    workers.forget()
    return seconds


def restless(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The peers whose median round took half as long again as their fastest, in any layer."""
    rounds = [each for row in rows for each in row["ms_of_rounds"].items()]
    return sorted({peer for peer, ms in rounds if statistics.median(ms) > 1.5 * min(ms)})


def text(results: dict[str, Any], rivals: Sequence[str]) -> str:
    """All results as Markdown: tables, the layers drawn one by one, checks, and what is claimed."""
    rows, drawn = results["layers"], results["drawn"]
    rivals = [peer for peer in rivals if any(peer in row["ratios"] for row in (*rows, *drawn))]
    parts = []
    for name, some in (("", rows), ("drawn, ", drawn)):
        for threads in sorted({row["threads"] for row in some}):
            for what, title in PASSES.items():
                parts.append(
                    table(f"{name}{title}, {threads_named(threads)}", of(some, threads, what), rivals)
                )
    for threads, rates in results["matmul_gflops"].items():
        shown = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
        parts.append(
            f"GFLOP/s of a product of {MATMUL_SIZE}² matrices, {threads_named(int(threads))}: {shown}; "
            "the best is the peak."
        )
    if drawn:
        parts.append(f"Seeds of the draws: {', '.join(map(str, results['draws']))}.\n{notes_on_drawn(drawn)}")
    if results["checks"]:
        parts.append(check_table(results["checks"]))
    if found := claims(rows, drawn):
        parts.append("\n".join(map(claim_line, found)))
    return "\n\n".join(parts)


def layer_named(name: str) -> Layer:
    """A layer from the command line."""
    try:
        return Layer.parse(name)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{name} is no layer; one is called like lstm-32x35x28-256 (cell, batch x time x in, units)"
        ) from None


def peers(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := set(names) - set(RIVALS):
        raise argparse.ArgumentTypeError(
            f"there is no {', '.join(sorted(unknown))}, only {', '.join(RIVALS)}"
        )
    return names


def counts_of_threads(text: str) -> list[int]:
    counts = sorted({int(each) for each in text.split(",")})
    if counts[0] < 1 or counts[-1] > THREADS:
        raise argparse.ArgumentTypeError(f"threads must be 1 to {THREADS}, got {text}")
    return counts


def seeds(text: str) -> list[int]:
    return [int(each) for each in text.split(",") if each]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare ostinato's layers with those of other frameworks.")
    parser.add_argument(
        "--against",
        type=peers,
        default=",".join(peer for peer in RIVALS if peer != "torch-passive"),
        metavar="PEER,PEER,…",
    )
    parser.add_argument(
        "--layers",
        type=layer_named,
        nargs="*",
        default=[Layer.parse(name) for name in LAYERS],
        metavar="NAME",
        help="like lstm-32x35x28-256; cells are lstm, gru, gru-before, rnn; without a name, no layer",
    )
    parser.add_argument(
        "--draws", type=seeds, default=[], metavar="SEED,SEED,…", help="ten layers at random for each seed"
    )
    parser.add_argument(
        "--threads", type=counts_of_threads, default=f"1,{THREADS}", metavar="N,N,…", help="one, and all"
    )
    parser.add_argument(
        "--old", type=Path, metavar="LIBRARY", help="also measure another build of the engine, and compare"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engine", default="native", help="what runs ostinato's layers")
    parser.add_argument(
        "--checks", action="store_true", help="also cost in time steps, memory, single steps, a whole model"
    )
    parser.add_argument(
        "--out", type=Path, default=results_file(), metavar="FILE.json", help="default: by the processor"
    )
    parser.add_argument("--add", action="store_true", help="keep what --out has of other layers")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw all ratios of the chosen layers")
    parser.add_argument("--small-plot", type=Path, metavar="FILE.png", help="draw four layers, three peers")
    parser.add_argument(
        "--from-json", type=Path, metavar="FILE.json", help="measure nothing; print and draw these results"
    )
    return parser.parse_args()


def show(results: dict[str, Any], options: argparse.Namespace, name: str) -> None:
    """Prints results and draws them."""
    print(text(results, (*options.against, "old")))
    rows = results["layers"]
    rivals = [peer for peer in options.against if any(peer in row["ratios"] for row in rows)]
    if options.plot and rivals:
        pictures.draw(rows, rivals, options.plot, name)
    if options.small_plot and rivals:
        pictures.draw_small(rows, options.small_plot, name)


def empty_results(options: argparse.Namespace) -> dict[str, Any]:
    """Results before anything is measured, or those of an earlier run."""
    if options.add and options.out.exists():
        return json.loads(options.out.read_text())
    return {
        "machine": {"processor": processor(), "slug": processor_slug(cpuinfo()), "threads": options.threads},
        "date": datetime.date.today().isoformat(),
        "versions": {},
        "engine": {"name": options.engine},
        "skipped": {},
        "rounds": options.rounds,
        "gradients_of": "inputs and weights",
        "matmul_gflops": {},
        "layers": [],
        "draws": [],
        "drawn": [],
        "checks": [],
        "claims": [],
    }


def replaced(rows: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with those of the same layer, threads and pass replaced."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["layer"], row["threads"], row["pass"], row.get("seed")

    keys = set(map(key, new))
    return [row for row in rows if key(row) not in keys] + new


def run(options: argparse.Namespace, threads: int, results: dict[str, Any]) -> list[str]:
    """Measures with one number of threads into `results`, written after each layer; what differed."""
    needed = dict.fromkeys(["ostinato", FAST_PREDICT, *options.against, *MATMUL_PEERS])
    needed |= {"keras": None} if options.checks else {}
    needed |= {"old": None} if options.old else {}
    workers = Workers(needed, options.engine, threads, options.old)
    if "ostinato" not in workers:
        raise SystemExit(f"ostinato does not load: there is no module {workers.missing['ostinato']}")
    for peer, module in workers.missing.items():
        print(f"{peer} is skipped: {module} is not installed", file=sys.stderr)
    rivals = [peer for peer in (*options.against, "old") if peer in workers]
    results["skipped"] |= workers.missing
    results["versions"] |= workers.hello("versions")
    facts = workers.hello("facts").get("ostinato", {})
    results["engine"] |= {key: value for key, value in facts.items() if key == "instruction_set"}
    rates = matmul_gflops(workers, options.rounds)
    results["matmul_gflops"][str(threads)] = rates
    drawn = [(layer, {"seed": seed}) for seed in options.draws for layer in draw(seed)]
    for layer, extra in [*((layer, {}) for layer in options.layers), *drawn]:
        seconds = measure(workers, layer, rivals, options.rounds)
        rows = [row | extra for row in judge(layer, threads, seconds, max(rates.values()))]
        kind = "drawn" if extra else "layers"
        results[kind] = replaced(results[kind], rows)
        results["claims"] = claims(results["layers"], results["drawn"])
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=2) + "\n")
    if options.checks and threads == max(options.threads):
        results["checks"] = checks.all_of(workers, options.rounds)
    workers.end()
    return workers.differing


def main() -> None:
    options = parse_arguments()
    if options.from_json:
        return show(json.loads(options.from_json.read_text()), options, options.from_json.name)
    results = empty_results(options)
    results["draws"] = sorted({*results["draws"], *options.draws})
    differing = [each for threads in options.threads for each in run(options, threads, results)]
    if options.old:
        results["checks"] += checks.beside_old(results["layers"] + results["drawn"])
    results["claims"] = claims(results["layers"], results["drawn"])
    show(results, options, options.out.name)
    if shaken := restless(results["layers"] + results["drawn"]):
        print(
            f"\nNot a quiet machine: rounds differed by half and more for {', '.join(shaken)}. "
            "The ratios of the fastest rounds are in the JSON."
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    if differing:
        raise SystemExit("\n".join(["left out, for they compute something else:", *differing]))


if __name__ == "__main__":
    main()
