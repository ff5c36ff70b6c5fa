"""ostinato's recurrent layers beside those of Keras, PyTorch and JAX: time, ratios, share of the sgemm peak.

    python benchmarks/engine.py                                # all layers, all peers, about 4 minutes
    python benchmarks/engine.py --against keras,torch --layers lstm-32x35x28-256 --rounds 3
    python benchmarks/engine.py --checks                       # also twice the time, memory, steps, a model
    python benchmarks/engine.py --layers --checks              # only those
    python benchmarks/engine.py --from-json --plot FILE.png    # measures nothing: the last results once more

Each peer is a process that lives as long as the benchmark (`benchmarks/peers.py`, which also says what is
timed). They are measured in turn, round after round, so that a noisy minute hits all alike; a turn is the
median of what fits into 0.2 s, and a figure is the median over the rounds. A ratio is a peer's figure divided
by ostinato's: how many times faster ostinato is. While it is not its turn a process is stopped, so that none
of its threads can spin.

The peers are Keras on TensorFlow (`keras`), the same compiled by XLA (`keras-jit`), Keras on JAX
(`keras-jax`), `lax.scan` by hand (`jax-scan`), PyTorch as it comes (`torch`), and PyTorch with OpenMP threads
that sleep instead of spinning (`torch-passive`): many times slower on a quiet machine, but as many times
faster on one that others use too. Where torch's rounds differ much, the machine was not quiet.
"""

from __future__ import annotations

import argparse
import atexit
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from peers import MATMUL_SIZE, PEERS, STEPS, Layer

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
TURN_SECONDS = 0.2
PASSES = {"forward": "forward", "training": "forward + backward"}
RIVALS = tuple(name for name in PEERS if name not in ("ostinato", "old", "numpy"))
OLD_MEAN, OLD_WORST = 0.02, 0.05
MATMUL, MATMUL_PEERS = Layer("rnn", 1, 1, 1, 1), ("ostinato", "torch", "numpy")
MEBIBYTE = 1 << 20

# How many times faster than each peer ostinato is meant to be, forward + backward on two cores.
WANTED: dict[str, dict[str, float]] = {
    "lstm-32x35x28-256": {"keras": 3.5, "torch": 1.15, "keras-jax": 1.8},
    "gru-32x35x28-256": {"keras": 3.0, "torch": 1.5, "keras-jax": 1.2},
    "gru-before-32x35x28-256": {"keras": 3.0},
    "rnn-32x35x28-256": {"keras": 3.0, "torch": 1.15, "keras-jax": 1.2},
    "lstm-64x100x8-16": {"keras": 10.0, "torch": 3.0, "keras-jax": 3.0},
    "gru-64x544x8-16": {"keras": 10.0, "torch": 15.0, "keras-jax": 6.0},
    "lstm-20x35x650-650": {"keras": 2.2, "torch": 1.0, "keras-jax": 2.5},
    "gru-20x35x650-650": {"keras": 2.2, "torch": 1.2, "keras-jax": 1.1},
    "lstm-128x100x128-128": {"keras": 2.0, "torch": 1.1, "keras-jax": 1.9},
    "lstm-1x200x64-128": {"keras": 10.0, "torch": 1.2, "keras-jax": 2.0},
}
# The same for the forward pass alone, whatever the layer.
WANTED_FORWARD = {"keras": 1.2, "keras-jit": 1.2, "torch": 1.0, "keras-jax": 1.2}

LINEAR_IN_TIME = ("lstm-64x100x8-16", "lstm-32x250x28-256", "lstm-128x100x128-128")
MEMORY_LAYER, STEP_LAYER, MODEL_LAYER = "lstm-128x1000x128-128", "lstm-1x1x64-128", "lstm-32x35x28-256"


class Job(NamedTuple):
    """Something a worker can time."""

    peer: str
    what: str
    layer: Layer


class Worker:
    """A peer in a process of its own, stopped except while it answers.

    Args:
        peer: a name from `PEERS`.
        engine: the engine of ostinato's layers.
        folder: where to keep what the process says on standard error.
        library: the library of the peer `old`: another build of the native engine.
    """

    def __init__(self, peer: str, engine: str, folder: Path, library: Path | None = None):
        self.peer = peer
        self._errors = folder / f"{peer}-{len(list(folder.iterdir()))}.txt"
        script = Path(__file__).with_name("peers.py")
        command = [sys.executable, script, peer, "--threads", str(THREADS), "--engine", engine]
        self._process: Any = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors.open("w"),
            env=environment(peer, library),
            text=True,
        )
        atexit.register(self.end)
        self.hello = self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        """The worker's answer; SystemExit if it died instead."""
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            last_lines = "\n".join(self._errors.read_text(errors="replace").splitlines()[-12:])
            raise SystemExit(f"{self.peer} died:\n{last_lines}")
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def end(self) -> None:
        atexit.unregister(self.end)
        self._process.kill()
        self._process.communicate()


def environment(peer: str, library: Path | None = None, threads: int = THREADS) -> dict[str, str]:
    """The environment of a worker: as many threads for each, and no setting that would hold one back."""
    variables = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OSTINATO_THREADS", "NPROC"):
        variables[name] = str(threads)
    variables |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    variables["KERAS_BACKEND"] = "jax" if peer == "keras-jax" else "tensorflow"
    if peer in ("keras-jax", "jax-scan"):
        variables["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={threads}"
    if peer == "old":
        variables["OSTINATO_LIBRARY"] = str(library)
    if peer == "torch-passive":
        variables["OMP_WAIT_POLICY"] = "passive"
    return variables


class Workers:
    """All workers of a benchmark, by peer.

    Args:
        peers: names from `PEERS`; those whose framework is not installed are left out and named.
        engine: the engine of ostinato's layers.
        old: the library of the peer `old`.
    """

    def __init__(self, peers: Iterable[str], engine: str, old: Path | None = None):
        self._folder = tempfile.TemporaryDirectory()
        self._engine = engine
        self._workers: dict[str, Worker] = {}
        self.missing: dict[str, str] = {}
        for peer in peers:
            worker = Worker(peer, engine, Path(self._folder.name), old)
            if "missing" in worker.hello:
                self.missing[peer] = worker.hello["missing"]
                worker.end()
            else:
                self._workers[peer] = worker

    def __contains__(self, peer: str) -> bool:
        return peer in self._workers

    def hello(self, key: str) -> dict[str, Any]:
        """What each peer said of itself (`versions` or `facts`)."""
        return {peer: worker.hello[key] for peer, worker in self._workers.items() if worker.hello[key]}

    def prepare(self, jobs: Sequence[Job]) -> list[Job]:
        """Compiles everything, and sees that all compute the same; gives the jobs there are.

        Raises:
            SystemExit: a peer's outputs or gradients are not ostinato's.
        """
        possible, ours = [], {}
        for job in jobs:
            if job.peer not in self:
                continue
            report(f"preparing {job.peer}: {job.what} {job.layer.name}")
            reply = self._workers[job.peer].ask(do="prepare", what=job.what, layer=job.layer.name)
            if "lacking" in reply:
                continue
            possible.append(job)
            expected = ours.setdefault((job.what, job.layer), reply["norms"])
            close = [abs(a - b) <= 2e-3 * abs(a) for a, b in zip(expected, reply["norms"], strict=True)]
            if job.what in PASSES and not all(close):
                raise SystemExit(
                    f"{job.layer.name}, {job.what}: the norms of outputs and gradients are {reply['norms']} "
                    f"with {job.peer}, but {expected} with ostinato"
                )
        return possible

    def measure(self, jobs: Sequence[Job], rounds: int) -> dict[Job, list[float]]:
        """Seconds of each job in each round; every other round goes backwards."""
        seconds: dict[Job, list[float]] = {job: [] for job in jobs}
        for number in range(rounds):
            for done, job in enumerate(jobs if number % 2 == 0 else jobs[::-1]):
                report(f"round {number + 1} of {rounds}: {done + 1} of {len(jobs)}")
                request = {"do": "time", "what": job.what, "layer": job.layer.name, "seconds": TURN_SECONDS}
                seconds[job].append(self._workers[job.peer].ask(**request)["seconds"])
        report("")
        return seconds

    def peak_memory(self, peer: str, what: str, layer: Layer) -> tuple[int, int]:
        """Bytes resident in a fresh process, at the most: with the data of a job, and after running it."""
        worker = Worker(peer, self._engine, Path(self._folder.name))
        before = worker.ask(do="prepare", what=what, layer=layer.name)["bytes"]
        worker.ask(do="time", what=what, layer=layer.name, seconds=0)
        peak = worker.ask(do="memory")["bytes"]
        worker.end()
        return before, peak


def report(text: str) -> None:
    """Shows how far it is, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def layer_jobs(layers: Sequence[Layer], rivals: Sequence[str]) -> list[Job]:
    return [Job(peer, what, layer) for layer in layers for what in PASSES for peer in ("ostinato", *rivals)]


def wanted(what: str, layer: Layer) -> dict[str, float]:
    """The least ratio to each peer; torch and JAX columns are for the GRU they have in common."""
    of_layer = WANTED.get(layer.name, {})
    if not of_layer:
        return {}
    if what == "training":
        least = of_layer
    else:
        least = {peer: r for peer, r in WANTED_FORWARD.items() if peer in of_layer or peer == "keras-jit"}
    return least | ({"torch-passive": least["torch"]} if "torch" in least else {})


def judge(layers: Sequence[Layer], seconds: dict[Job, list[float]], peak: float) -> list[dict[str, Any]]:
    """A row for each layer and pass: our figures, and the ratios with those that are wanted."""
    rows, ms = [], medians(seconds)
    for layer in layers:
        for what in PASSES:
            job = Job("ostinato", what, layer)
            ours = ms[job]
            gflops = layer.operations(what) / ours / 1e6
            theirs = [other for other in ms if other[1:] == job[1:] and other != job]
            ratios = {other.peer: ms[other] / ours for other in theirs}
            least = {peer: ratio for peer, ratio in wanted(what, layer).items() if peer in ratios}
            rows.append(
                {
                    "layer": layer.name,
                    "title": layer.title,
                    "pass": what,
                    "ms": ours,
                    "gflops": gflops,
                    "share_of_peak": gflops / peak,
                    "ratios": ratios,
                    "ratios_of_fastest_rounds": {
                        other.peer: min(seconds[other]) / min(seconds[job]) for other in theirs
                    },
                    "wanted": least,
                    "missed": [peer for peer, ratio in least.items() if ratios[peer] < ratio],
                }
            )
    return rows


def beside_old(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Whether this build of the engine takes as long as another: over all layers and passes, and in each."""
    ratios = {f"{row['title']}, {row['pass']}": 1 / row["ratios"]["old"] for row in rows}
    mean = math.exp(statistics.fmean(map(math.log, ratios.values())))
    (slowest, ratio) = max(ratios.items(), key=lambda item: item[1])
    limit = f"≤ {1 + OLD_MEAN} × the old"
    return [
        check(
            "time of this build ÷ the old: geometric mean",
            {"ostinato": mean},
            "×",
            mean <= 1 + OLD_MEAN,
            limit,
        ),
        check(
            f"the same: {slowest}", {"ostinato": ratio}, "×", ratio <= 1 + OLD_WORST, f"≤ {1 + OLD_WORST} ×"
        ),
    ]


def linear_in_time(workers: Workers, rounds: int) -> list[dict[str, Any]]:
    """Whether twice the time steps cost twice the time."""
    once = [Layer.parse(name) for name in LINEAR_IN_TIME]
    layers = [layer for short in once for layer in (short, short._replace(time=2 * short.time))]
    jobs = workers.prepare([Job("ostinato", "training", layer) for layer in layers])
    figures = medians(workers.measure(jobs, rounds))
    rows = []
    for short, long in zip(jobs[::2], jobs[1::2], strict=True):
        ratio = figures[long] / figures[short]
        title = f"{short.layer.title}, time doubled to {long.layer.time}: cost"
        rows.append(check(title, {"ostinato": ratio}, "×", ratio <= 2.05, "≤ 2.05 ×"))
    return rows


def memory(workers: Workers) -> list[dict[str, Any]]:
    """Peak resident memory of training, in fresh processes."""
    layer, start, peak = Layer.parse(MEMORY_LAYER), {}, {}
    for peer in ("ostinato", "keras"):
        report(f"memory of {peer}")
        start[peer], peak[peer] = workers.peak_memory(peer, "training", layer)
    report("")
    above = {peer: peak[peer] - start[peer] for peer in peak}
    return [
        check(
            f"{layer.title}, training: peak memory{name}",
            {peer: size / MEBIBYTE for peer, size in sizes.items()},
            "MiB",
            sizes["ostinato"] <= 0.6 * sizes["keras"],
            "≤ 0.6 × Keras'",
        )
        for name, sizes in (("", peak), (" above that with the data, before the first step", above))
    ]


def single_steps(workers: Workers, rounds: int) -> list[dict[str, Any]]:
    """One time step of one row, over and over in a `tf.while_loop`."""
    layer = Layer.parse(STEP_LAYER)
    jobs = workers.prepare([Job(peer, "step", layer) for peer in ("ostinato", "keras")])
    figures = medians(workers.measure(jobs, rounds))
    each = {job.peer: 1e3 * ms / STEPS for job, ms in figures.items()}
    title = f"{layer.title} in a tf.while_loop: an iteration"
    return [check(title, each, "µs", each["ostinato"] <= 60, "≤ 60 µs")]


def whole_model(workers: Workers, rounds: int) -> list[dict[str, Any]]:
    """A training step of the language model on our engine and on Keras' loop, and our layer alone."""
    layer = Layer.parse(MODEL_LAYER)
    alone = Job("ostinato", "training", layer)
    jobs = workers.prepare([*(Job(peer, "model", layer) for peer in ("ostinato", "keras")), alone])
    figures = medians(workers.measure(jobs, rounds))
    steps = {job.peer: figures[job] for job in jobs if job.what == "model"}
    outside = steps["ostinato"] - figures[alone]
    return [
        check(f"{layer.title}, language model: a whole training step", steps, "ms", None, ""),
        check("the same, less the layer alone", {"ostinato": outside}, "ms", outside <= 5, "≤ 5 ms"),
    ]


def check(title: str, figures: dict[str, float], unit: str, held: bool | None, limit: str) -> dict[str, Any]:
    return {"title": title, "figures": figures, "unit": unit, "held": held, "wanted": limit}


def medians(seconds: dict[Job, list[float]]) -> dict[Job, float]:
    """Milliseconds."""
    return {job: 1e3 * statistics.median(times) for job, times in seconds.items()}


def restless(seconds: dict[Job, list[float]]) -> list[str]:
    """The peers whose median round took half as long again as their fastest, in any layer."""
    return sorted({job.peer for job, times in seconds.items() if statistics.median(times) > 1.5 * min(times)})


def matmul_gflops(ms: dict[Job, float]) -> dict[str, float]:
    """The rate of each library's matrix product."""
    names = {"ostinato": "tensorflow"}
    return {
        names.get(job.peer, job.peer): 2 * MATMUL_SIZE**3 / figure / 1e6
        for job, figure in ms.items()
        if job.what == "matmul"
    }


def table(rows: Sequence[dict[str, Any]], rivals: Sequence[str]) -> str:
    """Markdown, one table for each pass. Bold is a ratio below the one wanted, which stands in brackets."""
    parts = []
    for what, title in PASSES.items():
        header = [title, "ms", "GFLOP/s", "of peak", *(f"× {peer}" for peer in rivals), "held"]
        lines = [header, ["---", *["---:"] * (len(header) - 2), "---"]]
        for row in rows:
            if row["pass"] != what:
                continue
            figures = [f"{row['ms']:.3g}", f"{row['gflops']:.1f}", f"{row['share_of_peak']:.0%}"]
            held = "yes" if not row["missed"] else "no: " + ", ".join(row["missed"])
            ratios = [ratio_cell(row, peer) for peer in rivals]
            lines.append([row["title"], *figures, *ratios, held if row["wanted"] else ""])
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts)


def ratio_cell(row: dict[str, Any], peer: str) -> str:
    ratio, least = row["ratios"].get(peer), row["wanted"].get(peer)
    if ratio is None:
        return "–"
    shown = f"**{ratio:.2f}**" if peer in row["missed"] else f"{ratio:.2f}"
    return shown if least is None else f"{shown} ({least:g})"


def check_table(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| check | figures | wanted | held |", "|---|---|---|---|"]
    for row in rows:
        figures = ", ".join(f"{peer} {figure:.4g} {row['unit']}" for peer, figure in row["figures"].items())
        held = {True: "yes", False: "**no**", None: ""}[row["held"]]
        lines.append(f"| {row['title']} | {figures} | {row['wanted']} | {held} |")
    return "\n".join(lines)


def draw(rows: Sequence[dict[str, Any]], rivals: Sequence[str], path: Path) -> None:
    """Bars: how many times longer each peer takes than ostinato."""
    from matplotlib.figure import Figure

    palette = ("#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#cc79a7")
    colors = dict(zip(RIVALS, palette, strict=True))
    titles = list(dict.fromkeys(row["title"] for row in rows))
    height, width = 0.8 / len(rivals), 1.4 + len(titles) * (0.25 + 0.13 * len(rivals))
    figure = Figure(figsize=(11, width), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(PASSES), sharey=True)
    for axes, what in zip(panels, reversed(PASSES), strict=True):
        ratios = {row["title"]: row["ratios"] for row in rows if row["pass"] == what}
        for number, peer in enumerate(rivals):
            places = [place for place, title in enumerate(titles) if peer in ratios[title]]
            values = [ratios[titles[place]][peer] for place in places]
            bars = axes.barh(
                [place - 0.4 + (number + 0.5) * height for place in places],
                values,
                0.9 * height,
                color=colors[peer],
                label=peer,
            )
            axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=2, fontsize=7)
        axes.axvline(1, color="black", linewidth=1)
        axes.set_xscale("log")
        axes.set_xticks([0.5, 1, 2, 5, 10, 20, 50], ["½", "1", "2", "5", "10", "20", "50"])
        axes.minorticks_off()
        axes.margins(x=0.12)
        axes.set_title(PASSES[what])
        axes.set_xlabel("time, ostinato = 1")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(titles)), titles)
    panels[0].invert_yaxis()
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Which results were drawn can be read from the picture.
    shown = [{"title": row["title"], "pass": row["pass"], "ratios": row["ratios"]} for row in rows]
    figure.savefig(path, metadata={"Description": json.dumps(shown)})


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), "")


def layer_named(name: str) -> Layer:
    """A layer from the command line."""
    try:
        return Layer.parse(name)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{name} is no layer; one is called like lstm-32x35x28-256 (cell, batch x time x in, units)"
        ) from None


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare ostinato's layers with those of other frameworks.")

    def peers(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        if unknown := set(names) - set(RIVALS):
            raise argparse.ArgumentTypeError(
                f"there is no {', '.join(sorted(unknown))}, only {', '.join(RIVALS)}"
            )
        return names

    parser.add_argument(
        "--against", type=peers, default="keras,keras-jit,torch,keras-jax,jax-scan", metavar="PEER,PEER,…"
    )
    parser.add_argument(
        "--layers",
        type=layer_named,
        nargs="*",
        default=[Layer.parse(name) for name in WANTED],
        metavar="NAME",
        help="like lstm-32x35x28-256; cells are lstm, gru, gru-before, rnn; without a name, no layer",
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
        "--out",
        type=Path,
        default=Path(__file__).parent / "results" / "engine.json",
        metavar="FILE.json",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the ratios")
    parser.add_argument(
        "--from-json", action="store_true", help="measure nothing; print and draw what --out has"
    )
    return parser.parse_args()


def show_again(options: argparse.Namespace) -> None:
    """The tables and the picture of results that are there."""
    results = json.loads(options.out.read_text())
    rows = results["layers"]
    rivals = [peer for peer in options.against if any(peer in row["ratios"] for row in rows)]
    print(table(rows, rivals), check_table(results["checks"]), sep="\n\n")
    if options.plot:
        draw(rows, rivals, options.plot)


def main() -> None:
    options = parse_arguments()
    if options.from_json:
        return show_again(options)
    needed = ["ostinato", *options.against]
    if options.layers:
        needed += [peer for peer in MATMUL_PEERS if peer not in needed]
    if options.checks and "keras" not in needed:
        needed.append("keras")
    needed += ["old"] if options.old else []
    workers = Workers(needed, options.engine, options.old)
    if "ostinato" not in workers:
        raise SystemExit(f"ostinato does not load: there is no module {workers.missing['ostinato']}")
    for peer, module in workers.missing.items():
        print(f"{peer} is skipped: {module} is not installed", file=sys.stderr)
    rivals = [peer for peer in (*options.against, "old") if peer in workers]
    jobs, seconds, rows, checks = [], {}, [], []
    if options.layers:
        jobs = [Job(peer, "matmul", MATMUL) for peer in MATMUL_PEERS]
        jobs = workers.prepare([*jobs, *layer_jobs(options.layers, rivals)])
        seconds = workers.measure(jobs, options.rounds)
    rates = matmul_gflops(medians(seconds))
    if options.layers:
        rows = judge(options.layers, seconds, max(rates.values()))
        checks += beside_old(rows) if options.old else []
    if options.checks:
        checks += linear_in_time(workers, options.rounds)
        checks += single_steps(workers, options.rounds)
        checks += whole_model(workers, options.rounds)
        checks += memory(workers)
    versions, facts = workers.hello("versions"), workers.hello("facts")
    if rows:
        print(table(rows, rivals))
        wanted_count = sum(len(row["wanted"]) for row in rows)
        missed_count = sum(len(row["missed"]) for row in rows)
        shown = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
        print(
            f"\nGradients are with respect to inputs and weights. {THREADS} threads. GFLOP/s of a product of "
            f"{MATMUL_SIZE}² matrices: {shown}; the best is the peak. "
            f"{wanted_count - missed_count} of {wanted_count} wanted ratios (in brackets) hold."
        )
        if peers := restless(seconds):
            print(
                f"Not a quiet machine: rounds differed by half and more for {', '.join(peers)}. "
                "The ratios of the fastest rounds are in the JSON."
            )
    if checks:
        print(f"\n{check_table(checks)}")
    if options.plot and rows and rivals:
        draw(rows, rivals, options.plot)
    results = {
        "machine": {"processor": processor(), "threads": THREADS},
        "versions": versions,
        "engine": {"name": options.engine, **facts.get("ostinato", {})},
        "skipped": workers.missing,
        "rounds": options.rounds,
        "gradients_of": "inputs and weights",
        "matmul_gflops": rates,
        "layers": rows,
        "ms": [
            {**job._asdict(), "layer": job.layer.name, "rounds": [1e3 * time for time in times]}
            for job, times in seconds.items()
            if job.what != "matmul"
        ],
        "checks": checks,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
